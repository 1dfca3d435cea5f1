"""The same worker with this project's own gateway, on SQLite: what is measured is both of them together."""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.runtime_process import OURS, Running
from tests.support.gateway_process import GatewayProcess

BATCH = 500
LOOK_SECONDS = 0.01


class Own:
    """A gateway with one endpoint."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self._gateway = gateway

    @contextmanager
    def worker(self, kind: str, concurrency: int = 1) -> Iterator[Running]:
        environment = self._gateway.environment("e", SUBMODEL_LOG_LEVEL="WARN")
        with Running(OURS, environment, kind, concurrency) as running:
            yield running

    def queue(self, count: int) -> None:
        """Submit so many jobs that do nothing."""
        for _ in range(0, count, BATCH):
            self._gateway.call("POST", "e/run-batch", {"requests": [{"input": 0}] * min(BATCH, count)})

    def completed(self) -> int:
        count: int = self._gateway.call("GET", "e/health")["jobs"]["completed"]
        return count

    def runsync(self, asked: Any) -> Any:
        status = self._gateway.call("POST", "e/runsync?wait=60000", {"input": asked})
        if status["status"] != "COMPLETED":
            raise SystemExit(f"a job did not complete: {status}")
        return status

    def items(self, job_id: str) -> list[Any]:
        """What a job has streamed, from its first item; waits for one."""
        answer = self._gateway.call("GET", f"e/stream/{job_id}?wait=20000&offset=0")
        return [item["output"] for item in answer["stream"]]

    def run(self, asked: Any) -> str:
        job_id: str = self._gateway.call("POST", "e/run", {"input": asked})["id"]
        return job_id


@contextmanager
def own_gateway() -> Iterator[Own]:
    with tempfile.TemporaryDirectory() as folder, GatewayProcess(Path(folder)) as gateway:
        gateway.register("e")
        yield Own(gateway)


def drained(kind: str, concurrency: int, count: int) -> float:
    """Jobs per second of a queue that one worker empties."""
    with own_gateway() as own:
        own.queue(count)
        with own.worker(kind, concurrency):
            first = _wait(own, count // 10)
            began = time.perf_counter()
            _wait(own, count)
            return (count - first) / (time.perf_counter() - began)


def streamed(count: int) -> tuple[float, float]:
    """Items per second of one generator, from the request to its outcome; milliseconds until a first one is read."""
    with own_gateway() as own, own.worker("generator"):
        own.runsync(count // 10)
        firsts = []
        for _ in range(20):
            began = time.perf_counter()
            if own.items(own.run(1)) != [0]:
                raise SystemExit("the item is another one")
            firsts.append(1000 * (time.perf_counter() - began))
        began = time.perf_counter()
        own.runsync(count)
        return count / (time.perf_counter() - began), statistics.median(firsts)


def _wait(own: Own, count: int) -> int:
    while (completed := own.completed()) < count:
        time.sleep(LOOK_SECONDS)  # noqa: TID251  # a benchmark measures time
    return completed
