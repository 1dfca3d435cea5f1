"""What a type checker says of handlers that use the public names rightly, and of those that do not."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

PROGRAM = """
import submodel
from collections.abc import AsyncIterator, Iterator
from typing import Any
from submodel import AsyncioEndpoint, Endpoint
from submodel.serverless import Handler, Job, ServerlessConfig, progress_update, start
from submodel.serverless.utils import rp_validator

def function(job: Job) -> dict[str, str]:
    progress_update(job, {"percent": 50})
    return {"id": job["id"], "input": job["input"]["prompt"]}

def of_a_dict(job: dict[str, Any]) -> Any:
    return job["anything"]

def untyped(job):  # E: Function is missing a type annotation
    return job["input"]

async def coroutine(job: Job) -> str:
    return job["id"]

def generator(job: Job) -> Iterator[str]:
    yield job["id"]

async def async_generator(job: Job) -> AsyncIterator[str]:
    yield job["id"]

class Model:
    def __call__(self, job: Job) -> str:
        return job["id"]

start({"handler": function})
start({"handler": of_a_dict, "return_aggregate_stream": True})
start({"handler": untyped})
start({"handler": coroutine})
start({"handler": generator})
start({"handler": async_generator})
start({"handler": Model()})

async def fetch(session: Any, count: int) -> list[dict[str, Any]]:
    return [{"id": "1", "input": None}]

async def handle(session: Any, config: dict[str, Any], job: dict[str, Any]) -> None:
    await config["handler"](job)

start({"handler": coroutine, "jobs_fetcher": fetch, "jobs_fetcher_timeout": 5, "jobs_handler": handle})
start({"handler": coroutine, "jobs_fetcher": function})  # E: Incompatible types
start({"handler": lambda job: job["input"]})
config: ServerlessConfig = {"handler": function}
submodel.serverless.start(config)
chosen: Handler = function
also: submodel.Handler = chosen

def of_nothing() -> str:
    return ""

def of_two(job: Job, model: str) -> str:
    return model

def typo(job: Job) -> Any:
    return job["inputs"]  # E: TypedDict "Job" has no key "inputs"

start({})  # E: Missing key "handler" for TypedDict "ServerlessConfig"
start({"handler": of_nothing})  # E: Incompatible types
start({"handler": of_two})  # E: Incompatible types
start({"handler": "function"})  # E: Incompatible types
start({"handler": function, "return_aggregate_steam": True})  # E: Extra key "return_aggregate_steam"
start({"handler": function, "return_aggregate_stream": "yes"})  # E: Incompatible types
start(function)  # E: incompatible type

with Endpoint("default.mine") as endpoint:
    text: str = endpoint.run({"prompt": "hi"}).status()
    number: int = endpoint.run({"prompt": "hi"}).status()  # E: Incompatible types in assignment
    endpoint.runs({})  # E: has no attribute "runs"

async def ask() -> None:
    async with AsyncioEndpoint("default.mine") as endpoint:
        job = await endpoint.run({})
        async for item in job.stream():
            print(item)
        job.status().upper()  # E: has no attribute "upper"

submodel.RunPodLogger().info("text", "job")
checked: dict[str, Any] = rp_validator.validate({}, {})
submodel.nothing  # E: Module has no attribute "nothing"
submodel.serverless.strat  # E: Module has no attribute "strat"
version: str = submodel.serverless.runpod_version
submodel.errors.JobFailed, submodel.serverless.VolumeCache, submodel.http_client.SyncClientSession
"""


def test_right_uses_pass_and_wrong_ones_are_named(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), file.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    found = {
        int(line): text for line, text in re.findall(r"^program\.py:(\d+): error: (.*)$", ran.stdout, re.MULTILINE)
    }
    expected = {
        number: text for number, line in enumerate(PROGRAM.splitlines(), 1) if (text := line.partition("# E: ")[2])
    }
    assert set(found) == set(expected), ran.stdout
    assert {number: text for number, text in expected.items() if text not in found[number]} == {}, ran.stdout
