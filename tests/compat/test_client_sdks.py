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
    interpreter = required(sdk)
    before = told_completed(gateway)
    environment = {"HOME": str(tmp_path), "PATH": os.defpath}
    age = "newest" if sdk == SDKS[0] else "older"
    command = [str(interpreter), "-c", textwrap.dedent(PROGRAM), base_url(gateway.port), age]
    ran = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout.splitlines()[-1])
    assert told == {
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


def told_completed(gateway: GatewayProcess) -> int:
    health: dict[str, Any] = gateway.call("GET", f"{ENDPOINT}/health")
    return int(health["jobs"]["completed"])
