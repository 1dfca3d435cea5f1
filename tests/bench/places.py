"""What is measured, as processes of its own: gateways with workers, and the echo beside them."""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway
from tests.support.worker_process import WorkerProcess

ENDPOINT = "ns.bench"
BESIDE = "ns.beside"
"""Has workers of its own: what happens there touches the other by way of the gateway only."""

WORKER_TOKEN = "worker"
CONCURRENCY = 64
"""Jobs at once per worker."""

CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

HANDLER = """
    import submodel.serverless

    async def handler(job):
        given = job["input"]
        return "x" * given["size"] if isinstance(given, dict) and "size" in given else given

    submodel.serverless.start({"handler": handler})
"""

STREAMING = """
    import asyncio, time
    import submodel.serverless

    async def handler(job):
        items, pause = job["input"]
        begun = time.monotonic()
        for number in range(items):
            yield [number, time.monotonic()]
            await asyncio.sleep(max(0, begun + (number + 1) * pause - time.monotonic()))

    submodel.serverless.start({"handler": handler})
"""
"""Items with their number and the moment they were made, by the clock that all processes of the machine share."""


@dataclass(frozen=True)
class Place:
    """A server's process."""

    port: int
    pid: int
    workers: tuple[int, ...] = ()
    """Their process ids."""

    def cpu_seconds(self) -> float:
        """What it has used up."""
        return _cpu_seconds(self.pid)

    def workers_cpu_seconds(self) -> float:
        """What its workers have used up together."""
        return sum(map(_cpu_seconds, self.workers))

    def resident_mb(self) -> float:
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE_BYTES / 1e6


@contextmanager
def echo() -> Iterator[Place]:
    """The bare server."""
    command = [sys.executable, "-m", "tests.bench.echo"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Place(int(process.stdout.readline()), process.pid)
        finally:
            process.kill()


@contextmanager
def gateway(
    store: str, workers: int, source: str = HANDLER, concurrency: int = CONCURRENCY, *, beside: bool = False
) -> Iterator[Place]:
    """A gateway over `store`, with so many workers that have come up, and one of the endpoint `BESIDE` if asked for."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        settings = {"SUBMODEL_GATEWAY_STORE": store, "SUBMODEL_GATEWAY_QUEUE_LIMIT": "off"}
        running = stack.enter_context(LiveGateway(folder, **settings))
        public = int(running.public.rpartition(":")[2])
        with Http(running.internal, INTERNAL_TOKEN) as operator:
            for endpoint in (ENDPOINT, BESIDE):
                operator.ok("PUT", f"/internal/v1/endpoints/{endpoint}", _registration(endpoint))
        pids: list[int] = []
        for number, endpoint in enumerate([ENDPOINT] * workers + [BESIDE] * beside):
            environment = {
                "SUBMODEL_GATEWAY_URL": f"http://127.0.0.1:{public}",
                "SUBMODEL_ENDPOINT_ID": endpoint,
                "SUBMODEL_WORKER_ID": f"w-{number}",
                "SUBMODEL_WORKER_TOKEN": WORKER_TOKEN,
                "SUBMODEL_CONCURRENCY": str(concurrency),
            }
            home = folder / f"w-{number}"
            home.mkdir()
            pids.append(stack.enter_context(WorkerProcess(home, source, environment)).pid)
        while ready(public) < workers:
            pass
        yield Place(public, running.serving_pid(), tuple(pids))


@contextmanager
def publisher(port: int) -> Iterator[list[float]]:
    """Somebody who has results of 20 MB made at `BESIDE` and reads them; afterwards, the seconds of each."""
    seconds: list[float] = []
    command = [sys.executable, "-m", "tests.bench.publisher", str(port)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield seconds
        told, _ = process.communicate()
    assert process.returncode == 0, "results of 20 MB are not answered"
    seconds += map(float, told.split())


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS


def _registration(endpoint: str) -> dict[str, Any]:
    token = {"revision": "1", "sha256": hashlib.sha256(WORKER_TOKEN.encode()).hexdigest()}
    return {"endpointId": endpoint, "epoch": "e", "generation": 1, "workerTokens": [token]}


def ready(port: int) -> int:
    """How many workers of the endpoint wait for jobs, as the gateway on that port knows them."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/{ENDPOINT}/health") as answer:
        workers: int = json.loads(answer.read())["workers"]["ready"]
        return workers
