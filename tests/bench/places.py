"""What is measured, as processes of its own: gateways with workers, and the echo beside them."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.worker_process import WorkerProcess

ENDPOINT = "ns.bench"
INTERNAL_TOKEN = "operator"
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

    def cpu_seconds(self) -> float:
        """What it has used up."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

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
def gateway(store: str, workers: int, source: str = HANDLER, concurrency: int = CONCURRENCY) -> Iterator[Place]:
    """A gateway over `store`, with so many workers that have come up."""
    settings = {
        "PATH": os.defpath,
        "SUBMODEL_GATEWAY_LISTEN": "127.0.0.1:0",
        "SUBMODEL_GATEWAY_INTERNAL_LISTEN": "127.0.0.1:0",
        "SUBMODEL_GATEWAY_STORE": store,
        "SUBMODEL_GATEWAY_INTERNAL_TOKEN": INTERNAL_TOKEN,
        "SUBMODEL_GATEWAY_KEYS": "none",
    }
    command = [sys.executable, "-m", "submodel_gateway"]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process = subprocess.Popen(command, env=settings, stderr=subprocess.PIPE, text=True)
        stack.callback(_end, process)
        public, internal = _ports(process)
        _register(internal)
        for number in range(workers):
            environment = {
                "SUBMODEL_GATEWAY_URL": f"http://127.0.0.1:{public}",
                "SUBMODEL_ENDPOINT_ID": ENDPOINT,
                "SUBMODEL_WORKER_ID": f"w-{number}",
                "SUBMODEL_WORKER_TOKEN": WORKER_TOKEN,
                "SUBMODEL_CONCURRENCY": str(concurrency),
            }
            home = folder / f"w-{number}"
            home.mkdir()
            stack.enter_context(WorkerProcess(home, source, environment))
        while _ready(public) < workers:
            pass
        yield Place(public, process.pid)


def operate(port: int, method: str, path: str, document: Any) -> Any:
    """Say something as the operator."""
    url = f"http://127.0.0.1:{port}/internal/v1/{path}"
    headers = {"Authorization": f"Bearer {INTERNAL_TOKEN}"}
    with urllib.request.urlopen(
        urllib.request.Request(url, json.dumps(document).encode(), headers, method=method)
    ) as it:
        return json.loads(it.read())


def _register(internal: int) -> None:
    token = {"revision": "1", "sha256": hashlib.sha256(WORKER_TOKEN.encode()).hexdigest()}
    registration = {"endpointId": ENDPOINT, "epoch": "e", "generation": 1, "workerTokens": [token]}
    operate(internal, "PUT", f"endpoints/{ENDPOINT}", registration)


def _ready(port: int) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/{ENDPOINT}/health") as answer:
        ready: int = json.loads(answer.read())["workers"]["ready"]
        return ready


def _ports(process: "subprocess.Popen[str]") -> tuple[int, int]:
    assert process.stderr is not None
    for text in process.stderr:
        if found := re.search(r"listening public=\S+:(\d+) internal=\S+:(\d+)", text):
            return int(found[1]), int(found[2])
    raise AssertionError(f"the gateway ended with {process.wait()}")


def _end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.stderr is not None:
        process.stderr.close()
