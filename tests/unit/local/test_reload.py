"""Which command starts a process over, and which files it depends on (pure)."""

import json
import os
import sys

import pytest

from submodel.errors import ConfigurationError
from submodel.serverless.local.options import realtime
from submodel.serverless.local.reload import LAUNCHER, command_of, sources

AGAIN = ["-m", LAUNCHER]


@pytest.mark.parametrize(
    ("started_with", "command"),
    [
        (["handler.py", "--rp_serve_api"], [*AGAIN, "-f", "handler.py", "--rp_serve_api"]),
        (["-u", "-X", "dev", "a/handler.py", "-m", "x"], ["-u", "-X", "dev", *AGAIN, "-f", "a/handler.py", "-m", "x"]),
        (["-W", "error", "-m", "my.handler", "x"], ["-W", "error", *AGAIN, "-m", "my.handler", "x"]),
        (["-u", *AGAIN, "-f", "handler.py", "x"], ["-u", *AGAIN, "-f", "handler.py", "x"]),
    ],
)
def test_the_same_file_or_module_is_run_with_the_same_arguments(started_with: list[str], command: list[str]) -> None:
    assert command_of(["python", *started_with]) == [sys.executable, *command]


@pytest.mark.parametrize("started_with", [["-c", "code"], ["-"], [], ["-i"]])
def test_a_program_without_a_file_cannot_be_started_over(started_with: list[str]) -> None:
    assert command_of(["python", *started_with]) is None


def test_the_users_own_sources_are_watched() -> None:
    own = {"__main__": "/app/handler.py", "mine.deep": "/app/mine/deep.py"}
    others = {
        "json": json.__file__,
        "os": os.__file__,
        "submodel.errors": "/app/submodel/errors.py",
        "numpy": "/venv/lib/python3.11/site-packages/numpy/__init__.py",
        "fast": "/app/fast.so",
    }
    assert {str(path) for path in sources(own | others)} == set(own.values())


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"RUNPOD_REALTIME_PORT": "http"}, "REALTIME_PORT='http' must be a whole number up to 65535"),
        ({"SUBMODEL_REALTIME_PORT": "80", "RUNPOD_REALTIME_CONCURRENCY": "-1"}, "REALTIME_CONCURRENCY='-1'"),
        ({"SUBMODEL_REALTIME_PORT": "80", "SUBMODEL_DRAIN_SECONDS": "soon"}, "DRAIN_SECONDS='soon'"),
    ],
)
def test_a_realtime_setting_that_cannot_be_used_is_named(environ: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        realtime(environ)
