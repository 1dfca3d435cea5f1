"""`python sdk_utilities.py PACKAGE`: what the utilities of an SDK make of the same arguments, as JSON by name.

Run by the interpreter of the SDK and by ours; it imports nothing else of this project.
"""

import contextlib
import importlib
import inspect
import io
import json
import os
import sys
from typing import Any


def outcome(function: Any, *arguments: Any, **named: Any) -> Any:
    """What a call gives, or the standard library's type of what it raises."""
    try:
        return function(*arguments, **named)
    except Exception as error:
        kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
        return f"raises {kind.__name__}"


def positive(value: int) -> bool:
    return value > 0


INPUTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "right": ({"x": 1}, {"x": {"type": int, "required": True}}),
    "missing": ({}, {"x": {"type": int, "required": True}}),
    "default": ({}, {"x": {"type": int, "required": False, "default": 5}}),
    "default of None": ({}, {"x": {"type": str, "required": False, "default": None}}),
    "no default": ({}, {"x": {"type": int, "required": False}}),
    "no required": ({"x": 1}, {"x": {"type": int}}),
    "no required, missing": ({}, {"x": {"type": int, "default": 1}}),
    "no type": ({"x": 1}, {"x": {"required": True}}),
    "unexpected": ({"x": 1, "y": 2}, {"x": {"type": int, "required": True}}),
    "wrong type": ({"x": "1"}, {"x": {"type": int, "required": True}}),
    "int for float": ({"x": 1}, {"x": {"type": float, "required": True}}),
    "bool for int": ({"x": True}, {"x": {"type": int, "required": True}}),
    "float for int": ({"x": 1.5}, {"x": {"type": int, "required": True}}),
    "None": ({"x": None}, {"x": {"type": int, "required": True}}),
    "type of the default": ({"x": "a"}, {"x": {"type": int, "required": False, "default": "b"}}),
    "constraints": ({"x": 1}, {"x": {"type": int, "required": True, "constraints": positive}}),
    "constraints not met": ({"x": 0}, {"x": {"type": int, "required": True, "constraints": positive}}),
    "several": ({"z": 1}, {"x": {"type": int, "required": True}, "y": {"type": str, "required": True}}),
    "rules are no dictionary": ({"x": 1}, {"x": 5}),
    "list": ({"x": [1]}, {"x": {"type": list, "required": True}}),
    "dict": ({"x": {}}, {"x": {"type": dict, "required": True}}),
}

DISPOSITIONS = [
    'attachment; filename="a b.png"',
    "attachment; filename=plain.txt",
    "inline",
    "",
]


def validated(package: str) -> Any:
    validate = importlib.import_module(f"{package}.serverless.utils.rp_validator").validate
    return {name: outcome(validate, dict(given), dict(schema)) for name, (given, schema) in INPUTS.items()}


def downloads(package: str) -> Any:
    module = importlib.import_module(f"{package}.serverless.utils.rp_download")
    sizes = [0, 1, 1024, 2**20, 2**20 + 1, 2**30, 2**30 + 1]
    return {
        "chunk sizes": [outcome(module.calculate_chunk_size, size) for size in sizes],
        "dispositions": [outcome(module.extract_disposition_params, text) for text in DISPOSITIONS],
        "private": [
            outcome(module.file, url)
            for url in (
                "http://127.0.0.1:9/x",
                "http://169.254.169.254/latest",
                "http://10.0.0.1/a",
                "file:///etc/passwd",
            )
        ],
    }


def uploads(package: str) -> Any:
    module = importlib.import_module(f"{package}.serverless.utils.rp_upload")
    urls = [
        "https://s3.eu-west-1.amazonaws.com",
        "https://ams3.digitaloceanspaces.com",
        "https://example.org",
        "https://s3.us-west-001.backblazeb2.com",
    ]
    with open("x.png", "wb") as file:
        file.write(b"PNG")
    places = [
        module.upload_image("job", "x.png"),
        module.upload_file_to_bucket("y.png", "x.png"),
        module.upload_in_memory_object("z.png", b"PNG"),
    ]
    return {
        "regions": [outcome(module.extract_region_from_url, url) for url in urls],
        "kept in": [os.path.dirname(place) for place in places],
        "kept": [os.path.exists(place) for place in places],
    }


def logged(package: str) -> Any:
    module = importlib.import_module(f"{package}.serverless.modules.rp_logger")
    logger = module.RunPodLogger()
    lines: dict[str, Any] = {}
    for endpoint in ("", "e"):
        os.environ["RUNPOD_ENDPOINT_ID"] = endpoint  # noqa: TID251 # the SDKs read it  # loggers read it at each line
        for level in ("debug", "info", "warn", "error", "trace"):
            for arguments in (("text",), ("text", "job")):
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    getattr(logger, level)(*arguments)
                lines[f"{endpoint} {level} {len(arguments)}"] = printed.getvalue()
    os.environ["RUNPOD_ENDPOINT_ID"] = ""  # noqa: TID251 # the SDKs read it
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        logger.secret("KEY", "abcdef")
        logger.info("x" * 5000)
    lines["more"] = printed.getvalue()
    lines["levels"] = [outcome(module.RunPodLogger().set_level, level) and level for level in ("LOUD", 99)]
    return lines


def measured(package: str) -> Any:
    module = importlib.import_module(f"{package}.serverless.utils.rp_debugger")
    module.clear_debugger_output()
    with module.LineTimer("a"):
        pass

    def work() -> int:
        return 5

    result = module.FunctionTimer(work)()
    points = module.Checkpoints()
    points.add("b")
    again = outcome(points.add, "b")
    early = outcome(points.stop, "b")
    output = module.get_debugger_output()
    return {
        "result": result,
        "keys": sorted(output),
        "names": [item["name"] for item in output["timestamps"]],
        "item": sorted(output["timestamps"][0]),
        "system": sorted(set(output["system_info"]) - {"submodel"}),
        "again": again,
        "early": early,
        "cleared": module.get_debugger_output()["timestamps"],
    }


def cached(package: str) -> Any:
    module = importlib.import_module(f"{package}.serverless.utils.rp_model_cache")
    resolve = module.resolve_model_cache_path_from_hugginface_repository
    return [outcome(resolve, name) for name in ("org/name", "org/name:rev", "name", "", "Org/Na.me_x:main")]


SIGNATURES = [
    "utils.rp_validator.validate",
    "utils.rp_download.download_files_from_urls",
    "utils.rp_download.file",
    "utils.rp_upload.upload_image",
    "utils.rp_upload.files",
    "utils.rp_upload.bucket_upload",
    "utils.rp_upload.upload_file_to_bucket",
    "utils.rp_upload.upload_in_memory_object",
    "utils.rp_cleanup.clean",
    "utils.rp_cuda.is_available",
    "utils.rp_volume_cache.VolumeCache.__init__",
    "utils.rp_volume_cache.VolumeCache.sync",
    "modules.rp_logger.RunPodLogger.info",
    "modules.rp_logger.RunPodLogger.log",
    "modules.rp_logger.RunPodLogger.secret",
    "modules.rp_progress.progress_update",
]


def signatures(package: str) -> Any:
    """Names and defaults of the arguments, by function."""
    found = {}
    for path in SIGNATURES:
        folder, module, *names = path.split(".")
        value: Any = importlib.import_module(f"{package}.serverless.{folder}.{module}")
        for name in names:
            value = getattr(value, name)
        found[path] = [
            [item.name, item.kind.name, repr(item.default) if item.default is not item.empty else ""]
            for item in inspect.signature(value).parameters.values()
        ]
    return found


CLIENTS = [
    f"{name}.{method}"
    for name in ("Endpoint", "AsyncioEndpoint", "AsyncioJob")
    for method in ("__init__", "run", "run_sync", "status", "output", "stream", "cancel", "health", "purge_queue")
]


def clients(package: str) -> Any:
    """Names of the arguments, by method; of those methods that the SDK has."""
    module = importlib.import_module(package)
    found = {}
    for path in CLIENTS:
        name, method = path.split(".")
        function = getattr(getattr(module, name), method, None)
        if function is not None:
            found[path] = list(inspect.signature(function).parameters)
    return found


def exports(package: str) -> Any:
    serverless = importlib.import_module(f"{package}.serverless")
    return [
        name
        for name in ("start", "progress_update", "register_fitness_check", "runpod_version", "VolumeCache")
        if not hasattr(serverless, name)
    ]


PARTS = {
    "validator": validated,
    "download": downloads,
    "upload": uploads,
    "logger": logged,
    "debugger": measured,
    "model cache": cached,
    "signatures": signatures,
    "exports": exports,
    "clients": clients,
}

if __name__ == "__main__":
    sys.stdout.write("\n" + json.dumps({name: part(sys.argv[1]) for name, part in PARTS.items()}, default=str))
