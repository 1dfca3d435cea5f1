"""The handlers of the compatibility tests, run by the SDK under test: `MODE` says which, a job's input what it does.

| Input | What the handler does |
|---|---|
| `begun` | makes this file first |
| `progress` | reports this value |
| `exit` | leaves the process with this code, unless the job comes a second time |
| `until` | goes on when this file is there; makes `<until>.stopped` when it is stopped meanwhile |
| `fail` | raises this text |
| `odd` | returns or yields `bytes`, or a `nan` |
| `size` | returns a text of this length |
| `reply` | returns this; a generator yields its items, also those in `openai_input` |
"""

import asyncio
import importlib
import os
import sys
import time
from pathlib import Path
from typing import Any

import runpod  # type: ignore[import-not-found]  # it is in another environment

PAUSE_SECONDS = 0.02


def there(file: str) -> bool:
    return Path(file).exists()


def make(file: str) -> None:
    Path(file).touch()


def tell_progress(job: dict[str, Any], value: Any) -> None:
    """Some releases, and so the fork, have the function without its documented name."""
    update = getattr(runpod.serverless, "progress_update", None)
    if update is None:
        update = importlib.import_module("runpod.serverless.modules.rp_progress").progress_update
    update(job, value)


def begin(job: dict[str, Any]) -> dict[str, Any]:
    """The part before any waiting; returns the input."""
    asked: dict[str, Any] = job["input"]
    if "begun" in asked:
        make(asked["begun"])
    if "progress" in asked:
        tell_progress(job, asked["progress"])
    if "exit" in asked and not job["id"].endswith("-a2"):
        sys.exit(asked["exit"])
    return asked


def reply(job: dict[str, Any]) -> Any:
    asked = job["input"]
    if "fail" in asked:
        raise ValueError(asked["fail"])
    if "size" in asked:
        return "x" * asked["size"]
    odd = {"bytes": b"bytes", "nan": [float("nan"), float("inf")]}
    return odd[asked["odd"]] if "odd" in asked else asked.get("reply", job)


def blocking(job: dict[str, Any]) -> Any:
    asked = begin(job)
    while "until" in asked and not there(asked["until"]):
        time.sleep(PAUSE_SECONDS)  # noqa: TID251  # a blocking handler is what this is about
    return reply(job)


async def waiting(job: dict[str, Any]) -> Any:
    asked = begin(job)
    while "until" in asked and not there(asked["until"]):
        try:
            await asyncio.sleep(PAUSE_SECONDS)  # noqa: TID251  # the test's word comes as a file
        except asyncio.CancelledError:
            make(f"{asked['until']}.stopped")
            raise
    return reply(job)


def generating(job: dict[str, Any]) -> Any:
    yield from job["input"].get("openai_input", job["input"])["reply"]
    if "fail" in job["input"]:
        raise ValueError(job["input"]["fail"])


async def generating_async(job: dict[str, Any]) -> Any:
    for item in job["input"]["reply"]:
        yield item


MODES: dict[str, dict[str, Any]] = {
    "blocking": {"handler": blocking},
    "waiting": {"handler": waiting},
    "generating": {"handler": generating},
    "aggregating": {"handler": generating_async, "return_aggregate_stream": True},
    "concurrent": {
        "handler": waiting,
        "concurrency_modifier": lambda present: 3,
        "concurrency_controller": lambda: False,  # the word of 1.3: whether the worker has enough to do
    },
    "refreshing": {"handler": blocking, "refresh_worker": True},
}

if __name__ == "__main__":
    runpod.serverless.start(MODES[os.environ["MODE"]])  # noqa: TID251  # nothing else reaches a worker's process
