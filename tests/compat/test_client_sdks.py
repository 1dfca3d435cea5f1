"""Unmodified SDKs of others work as clients against a real gateway and a worker of ours."""

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.environments import required
from tests.support.client_world import ENDPOINT, base_url, numbers, start_worker
from tests.support.gateway_process import GatewayProcess

SDKS = ("runpod-1.12.0", "runpod-1.7.13", "runpod-1.6.2")
OLD_SDKS = ("runpod-1.3.7", "runpod-0.10.0")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

PROGRAM = """
    import asyncio, json, sys, aiohttp, runpod

    runpod.api_key = "key"
    runpod.endpoint_url_base = sys.argv[1]
    endpoint = runpod.Endpoint("ns.e")
    job = endpoint.run({"items": 2})
    told = {"stream": list(job.stream()), "status": job.status(), "output": job.output()}
    told["run_sync"] = endpoint.run_sync({"items": 1}, timeout=30)
    waiting = endpoint.run({"gate": "never"})
    told["cancel"] = waiting.cancel()["status"]
    try:
        told["stream of a cancelled job"] = list(waiting.stream())
    except Exception as error:
        told["stream of a cancelled job"] = type(error).__name__
    failing = endpoint.run({"fail": True})
    told["failed output"] = failing.output(timeout=30)
    told["failed"] = failing.status()
    told["health"] = endpoint.health()["jobs"]["completed"]
    told["purge"] = endpoint.purge_queue()["removed"]

    async def main():
        async with aiohttp.ClientSession() as session:
            endpoint = runpod.AsyncioEndpoint("ns.e", session)
            job = await endpoint.run({"items": 1})
            told["asyncio"] = [await job.output(timeout=30), await job.status()]
            job = await endpoint.run({"gate": "never"})
            told["asyncio cancel"] = (await job.cancel())["status"]
            if sys.argv[2] != "newest":
                return
            job = await endpoint.run({"items": 2})
            told["asyncio stream"] = [item async for item in job.stream()]
            told["asyncio health"] = sorted(await endpoint.health())
            told["asyncio purge"] = (await endpoint.purge_queue())["removed"]

    asyncio.run(main())
    print(json.dumps(told))
"""


OLD_PROGRAM = """
    import asyncio, json, sys, aiohttp, runpod

    runpod.api_key = "key"
    runpod.endpoint_url_base = sys.argv[1]
    endpoint = runpod.Endpoint("ns.e")
    job = endpoint.run({"items": 2})
    told = {"output": job.output(timeout=30), "status": job.status()}
    told["run_sync"] = endpoint.run_sync({"items": 1})
    if hasattr(job, "cancel"):
        told["cancel"] = endpoint.run({"gate": "never"}).cancel()["status"]
        told["health"] = sorted(endpoint.health())
        told["purge"] = endpoint.purge_queue()["removed"]
        failing = endpoint.run({"fail": True})
        told["failed"] = [failing.output(timeout=30), failing.status()]

    async def main():
        async with aiohttp.ClientSession() as session:
            job = await runpod.AsyncioEndpoint("ns.e", session).run({"items": 1})
            told["asyncio"] = [await job.output(), await job.status()]

    asyncio.run(main())
    print(json.dumps(told))
"""


NEWEST = {"asyncio stream": numbers(0, 1), "asyncio health": ["jobs", "workers"], "asyncio purge": 0}
"""What the older ones cannot do anywhere: their streams never end, and these two ask no address."""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder) as gateway:
        gateway.register(ENDPOINT)
        with start_worker(folder, gateway):
            yield gateway


@pytest.mark.requirement("client.sdk.runpod", "client.base.v2", "client.stream.cancelled")
@pytest.mark.parametrize("sdk", SDKS)
def test_a_client_of_the_hosted_platform_needs_the_base_url_only(
    sdk: str, gateway: GatewayProcess, tmp_path: Path
) -> None:
    before = told_completed(gateway)
    age = "newest" if sdk == SDKS[0] else "older"
    assert told_by(sdk, PROGRAM, tmp_path, base_url(gateway.port), age) == {
        "stream": numbers(0, 1),
        "status": "COMPLETED",
        "output": numbers(0, 1),
        "run_sync": numbers(0),
        "cancel": "CANCELLED",
        "stream of a cancelled job": "HTTPError",
        "failed output": None,
        "failed": "FAILED",
        "health": before + 2,
        "purge": 0,
        "asyncio": [numbers(0), "COMPLETED"],
        "asyncio cancel": "CANCELLED",
        **(NEWEST if age == "newest" else {}),
    }


@pytest.mark.requirement("client.sdk.runpod", "client.base.v2")
@pytest.mark.parametrize("sdk", OLD_SDKS)
def test_the_first_clients_of_the_hosted_platform_work_with_what_they_know(
    sdk: str, gateway: GatewayProcess, tmp_path: Path
) -> None:
    told = told_by(sdk, OLD_PROGRAM, tmp_path, base_url(gateway.port))
    oldest = sdk == OLD_SDKS[-1]
    if oldest:
        synchronous = told.pop("run_sync")
        assert (synchronous["status"], synchronous["output"]) == ("COMPLETED", numbers(0)), "it shows the whole answer"
    assert told == {
        "output": numbers(0, 1),
        "status": "COMPLETED",
        "asyncio": [numbers(0), "COMPLETED"],
        **({} if oldest else {"run_sync": numbers(0), "cancel": "CANCELLED", "health": ["jobs", "workers"]}),
        **({} if oldest else {"purge": 0, "failed": [None, "FAILED"]}),
    }


def told_by(sdk: str, program: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """The document that a program prints when the environment of an SDK runs it."""
    command = [str(required(sdk)), "-W", "ignore", "-c", textwrap.dedent(program), *arguments]
    environment = {"HOME": str(folder), "PATH": os.defpath}
    ran = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    told: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return told


def told_completed(gateway: GatewayProcess) -> int:
    health: dict[str, Any] = gateway.call("GET", f"{ENDPOINT}/health")
    return int(health["jobs"]["completed"])
