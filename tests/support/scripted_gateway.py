"""A small gateway for worker tests: the exchange over real HTTP, with faults on demand.

It works on plain dicts, so that the spelling of the wire is checked without the contract's models, and it counts a
lease as lost by the same rule as the gateway (missing from two requests that could have listed it).
"""

import itertools
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.free_ports import free_port

JsonObject = dict[str, Any]
WAIT_SECONDS = 60.0


class ScriptedGateway:
    """Serves one endpoint (`e`) to any number of workers; a context manager."""

    def __init__(self, port: int = 0, lease_ms: int = 45_000) -> None:
        self.lease_ms = lease_ms
        self.changed = threading.Condition()
        self.requests: list[JsonObject] = []
        self.answers: dict[tuple[str, int], JsonObject] = {}
        self.queue: list[JsonObject] = []
        self.leases: dict[str, JsonObject] = {}
        """By job id: token, number of the request it was handed out to, times it was missing."""

        self.results: dict[str, JsonObject] = {}
        self.chunks: dict[str, list[Any]] = {}
        self.progress: dict[str, Any] = {}
        self.released: list[str] = []
        self.lost: list[str] = []
        self.refusals: dict[str, str] = {}
        """Job id -> reason with which its next result or chunks are refused, once."""

        self.policy: JsonObject = {}
        """The limits of each job."""

        self.stops: list[str] = []
        self.drain = False
        self.status = 200
        self.status_of_results = 0
        """Status that the next request with a result gets, once; what it carries is not applied."""

        self.status_of_several = 200
        """Status that each request with more than one result gets, instead of being applied."""

        self.unauthorized = 0
        self.lose_answers = 0
        """How many requests are applied and then closed without an answer."""

        self._attempts = itertools.count(1)
        self._open = True
        self._server = ThreadingHTTPServer(("127.0.0.1", port or free_port()), _handler(self))
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    def restarted(self) -> "ScriptedGateway":
        """The next one on the port of one that was killed, which knows its leases and chunks."""
        following = ScriptedGateway(port=self.port)
        following.leases, following.chunks = self.leases, self.chunks
        return following

    def __enter__(self) -> "ScriptedGateway":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def kill(self) -> None:
        """End abruptly: every connection breaks and the port refuses."""
        with self.changed:
            if not self._open:
                return
            self._open = False
            self.changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self, **more: str) -> dict[str, str]:
        """What a worker of this gateway is started with."""
        return {
            "SUBMODEL_GATEWAY_URL": self.url,
            "SUBMODEL_ENDPOINT_ID": "e",
            "SUBMODEL_WORKER_ID": "w-1",
            "SUBMODEL_WORKER_TOKEN": "secret",
            **more,
        }

    # For tests:

    def submit(self, job_id: str, job_input: Any = None, **extra: Any) -> None:
        with self.changed:
            self.queue.append({"id": job_id, "input": job_input, "extra": extra})
            self.changed.notify_all()

    def change(self, **attributes: Any) -> None:
        """Set attributes and wake held requests."""
        with self.changed:
            for name, value in attributes.items():
                setattr(self, name, value)
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Wait until `condition` holds; fails the test when it does not within `WAIT_SECONDS`."""
        with self.changed:
            assert self.changed.wait_for(condition, WAIT_SECONDS), f"waited in vain; last: {self.requests[-3:]}"

    def result(self, job_id: str) -> JsonObject:
        self.wait_for(lambda: job_id in self.results)
        return self.results[job_id]

    def wait_phase(self, phase: str) -> None:
        self.wait_for(lambda: any(request["phase"] == phase for request in self.requests))

    def wait_running(self, job_id: str) -> None:
        self.wait_for(lambda: any(job_id in _ids(request, "running") for request in self.requests))

    def fault(self, request: JsonObject) -> int:
        """The status that this request gets instead of an answer; 200 for none."""
        with self.changed:
            status = self.status
            if status == 200 and self.status_of_results and request.get("results"):
                status, self.status_of_results = self.status_of_results, 0
            if status == 200 and len(request.get("results", ())) > 1:
                status = self.status_of_several
            if status != 200:
                self.requests.append(request)
                self.changed.notify_all()
            return status

    # The exchange:

    def exchange(self, request: JsonObject) -> JsonObject | None:
        """The answer, or None to break the connection."""
        key = request["session"], request["request"]
        with self.changed:
            if self._ended():
                return None
            self.requests.append(request)
            if key in self.answers:
                self.changed.notify_all()
                return self.answers[key]
            answer: JsonObject = {"leaseMs": self.lease_ms, "refused": self._apply(request)}
            self.changed.notify_all()
            if self.lose_answers:
                self.lose_answers -= 1
                self.answers[key] = answer
                return None
            hold = request.get("waitMs", 0) / 1000
            self.changed.wait_for(lambda: self._ended() or answer["refused"] or self._news(request), hold)
            if self._ended():
                return None
            if self.drain:
                answer["drain"] = True
            answer["stop"], self.stops = self.stops, []
            answer["jobs"] = [] if self.drain else self._hand_out(request)
            self.answers[key] = answer
            return answer

    def _ended(self) -> bool:
        return not self._open

    def _news(self, request: JsonObject) -> bool:
        draining = request["phase"] == "draining"
        return bool(self.stops or self.drain != draining or (self.queue and request.get("capacity")))

    def _apply(self, request: JsonObject) -> list[JsonObject]:
        refused: dict[str, str] = {}
        for chunk in request.get("chunks", []):
            if reason := self._refusal_of_cargo(chunk):
                refused[chunk["id"]] = reason
                continue
            so_far = self.chunks.setdefault(chunk["id"], [])
            known = len(so_far) - chunk["seq"] + 1  # what came before a gateway died without an answer comes again
            assert known >= 0, f"chunk out of order: {chunk}"
            assert chunk["items"][:known] == so_far[chunk["seq"] - 1 :][: len(chunk["items"])], f"another item: {chunk}"
            so_far.extend(chunk["items"][known:])
        for progress in request.get("progress", []):
            self.progress[progress["id"]] = progress["value"]
        for result in request.get("results", []):
            if reason := self._refusal_of_cargo(result):
                refused[result["id"]] = reason
                continue
            assert result["id"] not in self.results, f"a second result: {result}"
            self.results[result["id"]] = result
            del self.leases[result["id"]]
        for item in request.get("released", []):
            self.released.append(item["id"])
            self.leases.pop(item["id"], None)
        for item in request.get("running", []):
            if reason := self._refusal(item):
                refused[item["id"]] = reason
        self._count_missing(request)
        return [{"id": job_id, "reason": reason} for job_id, reason in refused.items()]

    def _refusal_of_cargo(self, item: JsonObject) -> str | None:
        return self.refusals.pop(item["id"], None) or self._refusal(item)

    def _refusal(self, item: JsonObject) -> str | None:
        """A heartbeat is only ever refused because its lease is gone."""
        lease = self.leases.get(item["id"])
        return None if lease and lease["token"] == item["token"] else "stale"

    def _count_missing(self, request: JsonObject) -> None:
        listed = set(_ids(request, "running"))
        for job_id, lease in self.leases.items():
            known = lease["request"] < request["request"] and lease["request"] not in request.get("unanswered", [])
            if known and job_id not in listed:
                lease["missing"] += 1
                if lease["missing"] == 2:
                    self.lost.append(job_id)

    def _hand_out(self, request: JsonObject) -> list[JsonObject]:
        capacity = request.get("capacity", 0)
        taken, self.queue = self.queue[:capacity], self.queue[capacity:]
        for job in taken:
            job |= {"token": f"{next(self._attempts)}-n", "policy": self.policy}
            self.leases[job["id"]] = {"token": job["token"], "request": request["request"], "missing": 0}
        return taken


def _ids(request: JsonObject, field: str) -> list[str]:
    return [item["id"] for item in request.get(field, [])]


def _handler(gateway: ScriptedGateway) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        wbufsize = -1

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers["Authorization"] != "Bearer secret":
                gateway.change(unauthorized=gateway.unauthorized + 1)
                self._answer(401, b"unknown token")
                return
            assert self.path == "/v2/e/workers/w-1/exchange"
            request = json.loads(body)
            if (status := gateway.fault(request)) != 200:
                self._answer(status, b"not now")
                return
            answer = gateway.exchange(request)
            if answer is None:
                self.close_connection = True
            else:
                self._answer(200, json.dumps(answer).encode())

        def _answer(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except ConnectionError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            return

    return Handler
