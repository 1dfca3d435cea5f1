"""A small hosted platform for worker tests: its dialect over real HTTP, with faults on demand."""

import json
import threading
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support.scripted_server import Asked, Reply, ScriptedServer

WAIT_SECONDS = 60.0
WORKER = "w-1"


class ScriptedPlatform:
    """Serves one endpoint to one worker; a context manager."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.queue: list[dict[str, Any]] = []
        self.results: dict[str, Any] = {}
        self.deliveries: list[str] = []
        """Jobs in the order in which their results were taken, repetitions among them."""

        self.chunks: dict[str, list[Any]] = {}
        self.progress: dict[str, Any] = {}
        self.stops: list[str] = []
        self.pings: list[dict[str, str]] = []
        self.faults: dict[str, list[int]] = {}
        """Statuses that the next requests of an operation get; 0 takes it and breaks the connection."""

        self.asked: list[tuple[str, dict[str, str]]] = []
        """Operation and header fields of every request."""

        self._open = True
        self._server = ScriptedServer(self._answer)

    def __enter__(self) -> Self:
        self._server.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        with self.changed:
            self._open = False
            self.changed.notify_all()
        self._server.__exit__()

    def environment(self, **more: str) -> dict[str, str]:
        """What a worker of this platform is started with."""
        base = f"{self._server.url}/v2/e"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?gpu=A",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?gpu=A",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=A",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?gpu=A",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_POD_ID": WORKER,
            "RUNPOD_AI_API_KEY": "key",
            "RUNPOD_ENDPOINT_ID": "e",
            **more,
        }

    def submit(self, job_id: str, job_input: Any = None) -> None:
        with self.changed:
            self.queue.append({"id": job_id, "input": job_input})
            self.changed.notify_all()

    def stop(self, job_id: str) -> None:
        with self.changed:
            self.stops.append(job_id)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], Any]) -> None:
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_SECONDS), f"waited in vain; last: {self.asked[-5:]}"

    def result(self, job_id: str) -> Any:
        self.wait_for(lambda: job_id in self.results)
        return self.results[job_id]

    def _answer(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        operation, worker, *job = parts.path.removeprefix("/v2/e/").split("/")
        assert worker == WORKER, asked.path
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert query["gpu"] == "A", asked.path
        with self.changed:
            self.asked.append((operation, asked.headers))
            fault = self.faults[operation].pop(0) if self.faults.get(operation) else 200
            self.changed.notify_all()
            if fault not in (0, 200):
                return Reply(fault)
            reply = self._do(operation, unquote(job[0]) if job else "", query, asked.body)
            self.changed.notify_all()
        return Reply(200, b"", {"Content-Length": "9"}, cut=True) if fault == 0 else reply

    def _do(self, operation: str, job: str, query: dict[str, str], body: bytes) -> Reply:
        if operation in ("job-take", "job-take-batch"):
            self.changed.wait_for(lambda: self.queue or not self._open, WAIT_SECONDS)
            size = int(query.get("batch_size", "1"))
            taken, self.queue = self.queue[:size], self.queue[size:]
            return Reply(200, json.dumps(taken).encode()) if taken else Reply(204)
        if operation == "job-stop":
            self.changed.wait_for(lambda: self.stops or not self._open, WAIT_SECONDS)
            stops, self.stops = self.stops, []
            return Reply(200, json.dumps({"jobsToStop": stops}).encode()) if stops else Reply(204)
        if operation == "ping":
            self.pings.append(query)
            return Reply(200, b"{}")
        posted = json.loads(body)
        if operation == "job-stream":
            self.chunks.setdefault(job, []).append(posted["output"])
        elif posted.get("status") == "IN_PROGRESS":
            self.progress[job] = posted["output"]
        else:
            self.deliveries.append(job)
            self.results.setdefault(job, {**posted, "isStream": query["isStream"]})
        return Reply(200, b"{}")
