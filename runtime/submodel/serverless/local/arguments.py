"""The command line of a handler's file, in both spellings: `--rp_serve_api` and `--sm_serve_api`. Pure.

What is not understood is the handler's own and stays.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from submodel.errors import ConfigurationError

_PREFIXES = ("__rp_", "__sm_", "__test_input")
"""Of the names of options, whatever stands between their words: nobody else's begin like this."""

LOG_LEVELS = ("NOTSET", "TRACE", "DEBUG", "INFO", "WARN", "ERROR")


@dataclass(frozen=True)
class Arguments:
    """What the command line says."""

    log_level: str | None = None
    debugger: bool = False
    serve_api: bool = False
    api_port: int = 8000
    api_concurrency: int = 1
    api_host: str = "localhost"
    reload: bool = True
    test_input: str | None = None
    """JSON text, or `@` and the path of a file that holds it."""

    def as_config(self, prefix: str) -> dict[str, Any]:
        """What handlers find in `config["rp_args"]` (`prefix` is `rp`) and in `config["sm_args"]`."""
        named = {
            "log_level": self.log_level,
            "debugger": self.debugger,
            "serve_api": self.serve_api,
            "api_port": self.api_port,
            "api_concurrency": self.api_concurrency,
            "api_host": self.api_host,
        }
        return {f"{prefix}_{name}": value for name, value in named.items()} | {"test_input": self.test_input}


def parse(argv: Sequence[str]) -> tuple[Arguments, list[str]]:
    """What the arguments say, and those that are the handler's own.

    Raises:
        ConfigurationError: a log level that does not exist.
        SystemExit: 2 for a value that cannot be used, 0 after `--help`.
    """
    found, rest = parser().parse_known_args(list(argv))
    if found.log_level is not None:
        found.log_level = _log_level(found.log_level)
    return Arguments(**vars(found)), rest


def looks_like_ours(argument: str) -> bool:
    """Whether an argument that is no option of ours was meant to be one, such as `--test-input`."""
    return argument.replace("-", "_").startswith(_PREFIXES)


def parser() -> argparse.ArgumentParser:
    """The parser, from which the reference of the options is made as well."""
    made = argparse.ArgumentParser(prog="python handler.py", description="Run a handler on this machine.")
    add = made.add_argument
    add("--test_input", dest="test_input", metavar="JSON", help='run one job: {"input": …}, or @FILE that holds it')
    add(*_both("serve_api"), dest="serve_api", action="store_true", help="serve the handler over HTTP, with a page")
    add(*_both("api_host"), dest="api_host", default=Arguments.api_host, metavar="HOST", help="where to listen")
    add(*_both("api_port"), dest="api_port", default=Arguments.api_port, type=_port, metavar="PORT", help="0: any free")
    add(
        *_both("api_concurrency"),
        dest="api_concurrency",
        default=Arguments.api_concurrency,
        type=_at_least_one,
        metavar="N",
        help="jobs at once, if the handler is asynchronous",
    )
    add(*_both("no_reload"), dest="reload", action="store_false", help="go on as it is when a source changes")
    add(*_both("log_level"), dest="log_level", metavar="LEVEL", help=", ".join(LOG_LEVELS))
    add(*_both("debugger"), dest="debugger", action="store_true", help="add measured times to outputs")
    return made


def job_of(text: str, source: str) -> dict[str, Any]:
    """The job that a JSON text describes; its id is `local_test` unless it has one.

    Raises `ConfigurationError` with `source`, which says where the text is from.
    """
    try:
        job = json.loads(text)
    except ValueError as error:
        file = f"; a file is named with an @: @{text}" if text.endswith(".json") else ""
        raise ConfigurationError(f"{source} is not JSON: {error}{file}") from error
    if not isinstance(job, dict):
        raise ConfigurationError(f'{source} must be an object like {{"input": …}}, not {type(job).__name__}')
    if job.get("input") is None:
        raise ConfigurationError(f'{source}: Job has no input parameter. Unable to run. Give {{"input": …}}.')
    return {**job, "id": str(job.get("id") or "local_test")}


def _both(name: str) -> tuple[str, str]:
    return f"--rp_{name}", f"--sm_{name}"


def _log_level(text: str) -> str:
    level = {"WARNING": "WARN"}.get(text.upper(), text.upper())
    if level not in LOG_LEVELS:
        raise ConfigurationError(f"--rp_log_level {text!r} must be one of {', '.join(LOG_LEVELS)}")
    return level


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() else -1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} to {most}")
        return number

    return read


_port = _whole(0, 65535)
_at_least_one = _whole(1, 10_000)
