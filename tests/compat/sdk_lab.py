"""A gateway process and workers that run an unmodified SDK from its own environment, started as the operator would."""

import hashlib
import itertools
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from submodel.contract import legacy_env
from submodel_gateway.http.legacy import TOKEN
from tests.compat.environments import FORK
from tests.support.gateway_process import INTERNAL_TOKEN, WORKER_TOKEN, GatewayProcess
from tests.support.live_gateway import Http

HANDLER = Path(__file__).parent / "sdk_handler.py"
END_SECONDS = 40
PING_INTERVAL_MS = "1000"
"""The shortest that the SDKs know."""


@dataclass(frozen=True, slots=True)
class Abilities:
    """What an SDK can do as a worker; the defaults are those of the newest.

    `tells` is whether its requests say what it is and whether it runs a job, `prefix` that of its variables, `gives_up`
    what it logs when it could not deliver a result.
    """

    graceful: bool = True
    stops_jobs: bool = True
    asynchronous: bool = True
    streams: bool = True
    progress: bool = True
    leaves: bool = True
    keeps_output_of_failures: bool = True
    reports_failed_generators: bool = True
    tells: bool = True
    prefix: str = "RUNPOD_"
    gives_up: str = "Failed to return job results"


SDKS = {
    "runpod-1.12.0": Abilities(),
    "runpod-1.7.13": Abilities(stops_jobs=False),
    FORK: Abilities(stops_jobs=False, prefix="SUBMODEL_"),
    "runpod-1.6.2": Abilities(stops_jobs=False, graceful=False),
    "runpod-1.3.7": Abilities(stops_jobs=False, graceful=False, reports_failed_generators=False),
    "runpod-0.10.0": Abilities(
        stops_jobs=False,
        graceful=False,
        asynchronous=False,
        streams=False,
        progress=False,
        leaves=False,
        keeps_output_of_failures=False,
        tells=False,
        gives_up="Error while returning job result",
    ),
}
"""The SDKs that the tests run as workers, newest first."""


def until(what: str, holds: Callable[[], object], seconds: int = END_SECONDS) -> None:
    """Return as soon as `holds`; another process brings it about."""
    pause = threading.Event()
    for _ in range(seconds * 50):
        if holds():
            return
        pause.wait(0.02)
    raise AssertionError(f"it did not come about: {what}")


class SdkWorker:
    """A worker's process."""

    def __init__(self, command: list[str], environment: dict[str, str], folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        with self._log.open("ab") as log:
            # A session of its own, like a container: some SDKs ping from a process that outlives a killed parent.
            self.process = subprocess.Popen(
                command, env=environment, cwd=folder, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def terminate(self) -> None:
        """What a node sends first."""
        self.process.send_signal(signal.SIGTERM)

    def ended(self, seconds: float = END_SECONDS) -> int:
        """The exit code, once it has ended."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """End all of it at once."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(END_SECONDS)


class Lab:
    """One gateway, and endpoints with workers of one SDK; each worker has a folder of its own.

    Only one worker runs unless a test wants more: some SDKs keep a processor busy while they wait for jobs.
    """

    def __init__(self, gateway: GatewayProcess, python: Path, folder: Path, sdk: str) -> None:
        self.gateway = gateway
        self.able = SDKS[sdk]
        self.folder = folder
        self._python = python
        self._workers: list[SdkWorker] = []
        self._starts = itertools.count()
        self._serving = ""
        self._registered: set[str] = set()
        self._internal = Http(f"http://127.0.0.1:{gateway.internal_port}", INTERNAL_TOKEN)
        self._client = Http(f"http://127.0.0.1:{gateway.port}")

    def register(self, endpoint: str, **fields: Any) -> None:
        """Let the gateway know the endpoint."""
        token = {"revision": "1", "sha256": hashlib.sha256(WORKER_TOKEN.encode()).hexdigest()}
        registration = {"endpointId": endpoint, "epoch": "e", "generation": 1, "workerTokens": [token], **fields}
        self.operate("PUT", endpoint, registration)
        self._registered.add(endpoint)

    def serve(self, mode: str) -> str:
        """The endpoint `ns.<mode>`, whose worker runs now and is kept for the next test that wants it."""
        endpoint = f"ns.{mode}"
        if endpoint != self._serving:
            self.start(mode, endpoint)
            self._serving = endpoint
        return endpoint

    def start(
        self, mode: str, endpoint: str, worker: str = "w-1", *, beside: bool = False, key_in_urls: bool = False
    ) -> SdkWorker:
        """A worker of this endpoint; all others are killed unless it runs beside them.

        With `key_in_urls` they have the key, and the SDK finds another one in a file of its image.

        Where the SDK knows no asynchronous handlers, the blocking one does what the waiting one would.
        """
        if mode == "waiting" and not self.able.asynchronous:
            mode = "blocking"
        if not beside:
            self.kill_workers()
        if endpoint not in self._registered:
            self.register(endpoint)
        # What a killed process left in its file system is not there for the next one, as with a container's: some SDKs
        # keep a list of what they run, and one killed before it took a job off would never ask for another one.
        folder = self.folder / endpoint / f"{worker}-{next(self._starts)}"
        urls = ""
        if key_in_urls:
            urls = f"&{TOKEN}={WORKER_TOKEN}"
            (folder / ".runpod").mkdir(parents=True)
            (folder / ".runpod" / "config.toml").write_text('[default]\napi_key = "of the image"\n')
        base, prefix = f"http://127.0.0.1:{self.gateway.port}", self.able.prefix
        settings = legacy_env.settings(prefix, base, endpoint)
        environment = {
            "PATH": os.defpath,
            "HOME": str(folder),
            "PYTHONUNBUFFERED": "1",
            "MODE": mode,
            **legacy_env.DEFAULTS,
            **{name: value + urls * ("?" in value) for name, value in settings.items()},
            prefix + legacy_env.API_KEY: WORKER_TOKEN,
            prefix + legacy_env.POD_ID: worker,
            prefix + legacy_env.PING_INTERVAL: PING_INTERVAL_MS,
        }
        self._workers.append(SdkWorker([str(self._python), str(HANDLER)], environment, folder))
        return self._workers[-1]

    def kill_workers(self) -> None:
        """End all workers at once."""
        for worker in self._workers:
            worker.kill()
        self._workers.clear()
        self._serving = ""

    @property
    def newest(self) -> SdkWorker:
        """The worker that was started last."""
        return self._workers[-1]

    def presence(self, worker: str, phase: str) -> dict[str, str]:
        """A worker as the operator lists it."""
        return {"worker": worker, "uid": worker, "revision": "1", "phase": phase}

    def file(self, name: str) -> Path:
        """A file by which test and handler tell each other something."""
        return self.folder / name

    def run(self, endpoint: str, **input: Any) -> str:
        """Submit a job; returns its id."""
        id: str = self._client.ok("POST", f"/v2/{endpoint}/run", {"input": input})["id"]
        return id

    def status(self, endpoint: str, id: str) -> Any:
        return self._client.ok("GET", f"/v2/{endpoint}/status/{id}")

    def outcome(self, endpoint: str, id: str) -> Any:
        """The status of a job, once it is final."""
        status = self._client.ok("GET", f"/v2/{endpoint}/status-sync/{id}?wait=28000")
        if status["status"] in ("IN_QUEUE", "IN_PROGRESS"):
            status = self._client.ok("GET", f"/v2/{endpoint}/status-sync/{id}?wait=28000")
        assert status["status"] not in ("IN_QUEUE", "IN_PROGRESS"), (status, self.logs())
        return status

    def result(self, endpoint: str, **input: Any) -> Any:
        """Submit a job and wait for its end."""
        return self.outcome(endpoint, self.run(endpoint, **input))

    def stream(self, endpoint: str, id: str) -> list[Any]:
        """All streamed items of a job that has ended."""
        return [item["output"] for item in self._client.ok("GET", f"/v2/{endpoint}/stream/{id}?offset=0")["stream"]]

    def openai(self, endpoint: str, **body: Any) -> bytes:
        """What a client of OpenAI's API gets for this body."""
        return self._client.raw("POST", f"/v2/{endpoint}/openai/v1/chat/completions", body)

    def cancel(self, endpoint: str, id: str) -> Any:
        return self._client.ok("POST", f"/v2/{endpoint}/cancel/{id}")

    def operate(self, method: str, path: str, document: Any) -> None:
        """Say something as the operator."""
        self._internal.ok(method, f"/internal/v1/endpoints/{path}", document)

    def view(self, endpoint: str, worker: str = "w-1") -> Any:
        """What the gateway tells the operator about a worker; None when it does not know it."""
        snapshots = self._internal.ok("GET", "/internal/v1/snapshots")["endpoints"]
        workers = [each for snapshot in snapshots if snapshot["endpointId"] == endpoint for each in snapshot["workers"]]
        return next((each for each in workers if each["worker"] == worker), None)

    def logs(self) -> str:
        """The last words of all workers."""
        return "\n".join(worker.log[-1_500:] for worker in self._workers)

    def close(self) -> None:
        self.kill_workers()
        self._client.close()
        self._internal.close()
