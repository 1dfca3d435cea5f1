"""Every name under which handlers of the hosted platforms import."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import submodel
from submodel import serverless

PAGE = Path(__file__).parents[3].joinpath("docs/reference/handler-utilities.md").read_text(encoding="utf-8")
UTILS = ["cleanup", "cuda", "debugger", "download", "model_cache", "ssrf", "upload", "validator", "volume_cache"]
MODULES = ["logger", "progress"]
PATHS = [*(f"utils.{{}}_{name}" for name in UTILS), *(f"modules.{{}}_{name}" for name in MODULES)]

SURFACE = {
    "utils.rp_validator": ["validate"],
    "utils.rp_download": [
        "calculate_chunk_size",
        "download_files_from_urls",
        "extract_disposition_params",
        "file",
        "parse_content_length",
        "SSRFError",
    ],
    "utils.rp_upload": [
        "bucket_upload",
        "extract_region_from_url",
        "files",
        "get_boto_client",
        "upload_file_to_bucket",
        "upload_image",
        "upload_in_memory_object",
    ],
    "utils.rp_cleanup": ["clean"],
    "utils.rp_debugger": [
        "Checkpoints",
        "FunctionTimer",
        "LineTimer",
        "clear_debugger_output",
        "get_debugger_output",
    ],
    "utils.rp_cuda": ["is_available"],
    "utils.rp_model_cache": ["resolve_model_cache_path_from_hugginface_repository"],
    "utils.rp_volume_cache": ["VolumeCache"],
    "utils": ["download_files_from_urls", "upload_file_to_bucket", "upload_in_memory_object"],
    "modules.rp_logger": ["RunPodLogger", "SubModelLogger"],
    "modules.rp_progress": ["progress_update"],
}


@pytest.mark.requirement("handler.names")
@pytest.mark.parametrize("path", PATHS)
def test_a_module_has_both_names_and_they_hold_the_same_things(path: str) -> None:
    own = importlib.import_module(f"submodel.serverless.{path.format('sm')}")
    hosted = importlib.import_module(f"submodel.serverless.{path.format('rp')}")
    assert hosted.__all__
    assert all(getattr(own, name) is getattr(hosted, name) for name in hosted.__all__)


@pytest.mark.requirement("handler.names")
@pytest.mark.parametrize("path", SURFACE)
def test_a_module_has_its_documented_names(path: str) -> None:
    module = importlib.import_module(f"submodel.serverless.{path}")
    assert [name for name in SURFACE[path] if not callable(getattr(module, name))] == []


def test_the_page_lists_what_there_is() -> None:
    rows = re.findall(r"^\| `(rp_\w+)` \| (.*) \|$", PAGE, re.MULTILINE)
    listed = {f"utils.{module}": sorted(re.findall(r"`(\w+)`", names)) for module, names in rows}
    assert listed == {path: sorted(names) for path, names in SURFACE.items() if path.startswith("utils.")}


def test_the_handler_on_the_page_validates_its_input() -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    names: dict[str, Any] = {}
    exec(program, names)
    assert names["handler"]({"input": {"prompt": "hi"}}) == {"prompt": "hi", "steps": 20}
    assert names["handler"]({"input": {"steps": 99}}) == {
        "error": ["prompt is a required input.", "steps does not meet the constraints."]
    }


def test_modules_are_reached_as_attributes() -> None:
    assert callable(submodel.serverless.utils.rp_validator.validate)
    assert callable(submodel.serverless.utils.sm_cleanup.clean)
    assert serverless.modules.rp_progress.progress_update is serverless.progress_update
    assert serverless.VolumeCache is serverless.utils.rp_volume_cache.VolumeCache
    assert serverless.runpod_version == submodel.__version__
    assert submodel.Handler is serverless.Handler
    assert submodel.ServerlessConfig is serverless.ServerlessConfig
    for holder in (submodel, serverless, serverless.utils):
        with pytest.raises(AttributeError, match="has no attribute 'rp_nothing'"):
            holder.rp_nothing  # noqa: B018 # reading is what is tried


@pytest.mark.requirement("handler.names")
def test_the_package_offers_the_documented_names() -> None:
    names = ["AsyncioEndpoint", "AsyncioJob", "Endpoint", "Job", "RunPodLogger", "SubModelLogger"]
    assert [name for name in names if not isinstance(getattr(submodel, name), type)] == []
    assert {*names, "api_key", "endpoint_url_base", "serverless", "http_client"} <= set(dir(submodel))


def loaded_after(code: str) -> set[str]:
    """Modules of a fresh interpreter after `code`, those of the bare interpreter excluded."""
    program = (
        f"import sys, json; before = set(sys.modules); {code}; print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(ran.stdout))


def test_importing_the_worker_loads_none_of_this() -> None:
    loaded = loaded_after("import submodel.serverless")
    assert {name for name in loaded if name.startswith("submodel")} == {
        "submodel",
        "submodel.serverless",
    }
    started = loaded_after("import submodel.serverless.__main__")
    beyond = ("submodel.client", "submodel.http_client", "submodel.serverless.utils", "submodel.serverless.modules")
    assert [name for name in started if name.startswith(beyond)] == []


def test_the_synchronous_client_needs_no_library_and_no_worker() -> None:
    loaded = loaded_after("import submodel; submodel.Endpoint('ns.e').close()")
    assert not loaded & {"aiohttp", "asyncio", "boto3", "requests", "urllib3", "submodel.serverless", "msgspec"}


def test_the_utilities_need_no_library() -> None:
    loaded = loaded_after("import submodel.serverless.utils.rp_upload, submodel.serverless.utils.rp_download")
    assert not loaded & {"aiohttp", "boto3", "botocore", "requests", "urllib3", "submodel.client"}
