"""Both clients of the job API behind one face, so that a test of behaviour runs with each, and what they talk to."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import submodel
from tests.support.gateway_process import GatewayProcess
from tests.support.live_gateway import INTERNAL_TOKEN, Http
from tests.support.worker_process import WorkerProcess

ENDPOINT = "ns.e"
"""Served by the workers of `start_worker`."""

HANDLER = """
    import asyncio, os
    import submodel.serverless

    async def handler(job):
        asked = job["input"]
        if asked.get("fail"):
            raise ValueError("the handler's own words")
        for number in range(asked.get("items", 0)):
            yield {"number": number}
        while asked.get("gate") and not os.path.exists(asked["gate"]):
            await asyncio.sleep(0.005)
        for number in range(asked.get("items", 0), asked.get("items", 0) + asked.get("more", 0)):
            yield {"number": number}

    submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""
"""Streams `items` numbers, waits until the file `gate` exists, streams `more`; or fails."""

_numbers = count(1)


def numbers(*expected: int) -> list[dict[str, int]]:
    """What the handler streams."""
    return [{"number": number} for number in expected]


class JobFace(Protocol):
    """A job of either client."""

    @property
    def id(self) -> str: ...
    @property
    def attempt(self) -> int | None: ...
    def status(self) -> str: ...
    def output(self, timeout: float = 0) -> Any: ...
    def stream(self) -> Iterator[Any]: ...
    def cancel(self) -> dict[str, Any]: ...


class ClientFace(Protocol):
    """An endpoint of either client."""

    def run(self, request_input: Any) -> JobFace: ...
    def run_sync(self, request_input: Any, timeout: float = 20) -> Any: ...
    def job(self, job_id: str) -> JobFace: ...
    def health(self, timeout: float = 3) -> dict[str, Any]: ...
    def purge_queue(self, timeout: float = 3) -> dict[str, Any]: ...
    def close(self) -> None: ...


class BlockingJob:
    """`submodel.Job`."""

    def __init__(self, job: submodel.Job) -> None:
        self._job = job
        self.status = job.status
        self.output = job.output
        self.stream = job.stream
        self.cancel = job.cancel

    @property
    def id(self) -> str:
        return self._job.job_id

    @property
    def attempt(self) -> int | None:
        return self._job.attempt


class BlockingClient:
    """`submodel.Endpoint`."""

    def __init__(self, endpoint_id: str, api_key: str | None = None) -> None:
        self._endpoint = submodel.Endpoint(endpoint_id, api_key)
        self.run_sync = self._endpoint.run_sync
        self.health = self._endpoint.health
        self.purge_queue = self._endpoint.purge_queue
        self.close = self._endpoint.close

    def run(self, request_input: Any) -> JobFace:
        return BlockingJob(self._endpoint.run(request_input))

    def job(self, job_id: str) -> JobFace:
        return BlockingJob(self._endpoint.job(job_id))


class AsyncioJobFace:
    """`submodel.AsyncioJob`, each call run to its end."""

    def __init__(self, job: submodel.AsyncioJob, runner: asyncio.Runner) -> None:
        self._job = job
        self._runner = runner

    @property
    def id(self) -> str:
        return self._job.job_id

    @property
    def attempt(self) -> int | None:
        return self._job.attempt

    def status(self) -> str:
        return self._runner.run(self._job.status())

    def output(self, timeout: float = 0) -> Any:
        return self._runner.run(self._job.output(timeout))

    def stream(self) -> Iterator[Any]:
        items = self._job.stream()

        async def following() -> list[Any]:
            async for item in items:
                return [item]
            return []

        while found := self._runner.run(following()):
            yield from found

    def cancel(self) -> dict[str, Any]:
        return self._runner.run(self._job.cancel())


class AsyncioClient:
    """`submodel.AsyncioEndpoint`, each call run to its end on one loop."""

    def __init__(self, endpoint_id: str, api_key: str | None = None) -> None:
        self._runner = asyncio.Runner()
        self._endpoint = submodel.AsyncioEndpoint(endpoint_id, api_key=api_key)

    def run(self, request_input: Any) -> JobFace:
        return AsyncioJobFace(self._runner.run(self._endpoint.run(request_input)), self._runner)

    def run_sync(self, request_input: Any, timeout: float = 20) -> Any:
        return self._runner.run(self._endpoint.run_sync(request_input, timeout))

    def job(self, job_id: str) -> JobFace:
        return AsyncioJobFace(self._endpoint.job(job_id), self._runner)

    def health(self, timeout: float = 3) -> dict[str, Any]:
        return self._runner.run(self._endpoint.health(timeout))

    def purge_queue(self, timeout: float = 3) -> dict[str, Any]:
        return self._runner.run(self._endpoint.purge_queue(timeout))

    def close(self) -> None:
        self._runner.run(self._endpoint.close())
        self._runner.close()


Kind = type[BlockingClient] | type[AsyncioClient]

CLIENTS: dict[str, Kind] = {
    "Endpoint": BlockingClient,
    "AsyncioEndpoint": AsyncioClient,
}


def start_worker(folder: Path, gateway: GatewayProcess, worker: str = "w-1") -> WorkerProcess:
    """A worker of `ENDPOINT` that runs `HANDLER`."""
    return WorkerProcess(folder, HANDLER, gateway.environment(ENDPOINT, SUBMODEL_WORKER_ID=worker))


@contextmanager
def serving(folder: Path) -> Iterator[GatewayProcess]:
    """A gateway with a worker of `ENDPOINT`."""
    with GatewayProcess(folder) as gateway:
        gateway.register(ENDPOINT)
        with start_worker(folder, gateway):
            yield gateway


def new_endpoint(gateway: GatewayProcess) -> str:
    """The id of an endpoint that nobody else knows, without workers."""
    endpoint = f"ns.waiting-{next(_numbers)}"
    gateway.register(endpoint)
    return endpoint


def base_url(port: int) -> str:
    """Of a gateway, or of a proxy in front of one."""
    return f"http://127.0.0.1:{port}/v2"


def worker_is_gone(gateway: GatewayProcess, worker: str) -> None:
    """What the operator tells the gateway when a worker's pod has ended: its jobs are free again."""
    gone = {"workers": [{"worker": worker, "reason": "killed"}]}
    with Http(f"http://127.0.0.1:{gateway.internal_port}", INTERNAL_TOKEN) as operator:
        operator.ok("POST", f"/internal/v1/endpoints/{ENDPOINT}/workers/gone", gone)
