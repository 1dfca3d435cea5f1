"""The gateway's two ports over real HTTP: shapes, statuses and sentences."""

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.gateway_ports import TOKEN, Ports, register, registration
from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway


@pytest.mark.requirement("client.base.v2", "client.run", "client.status", "client.status200")
def test_a_job_goes_from_run_to_its_result(ports: Ports) -> None:
    accepted = ports.client.ok("POST", "/v2/ns.app/run", {"input": {"n": 1}, "foo": 5})
    assert accepted["status"] == "IN_QUEUE"
    (job,) = ports.exchange(capacity=1)["jobs"]
    assert (job["id"], job["input"], job["extra"]) == (accepted["id"], {"n": 1}, {"foo": 5})
    progress = {"id": job["id"], "token": job["token"], "value": "half"}
    ports.exchange(progress=[progress])
    status = ports.client.ok("GET", f"/v2/ns.app/status/{job['id']}")
    assert (status["status"], status["output"], status["workerId"]) == ("IN_PROGRESS", "half", "w-1")
    result = {"id": job["id"], "token": job["token"], "output": {"ok": True}, "executionMs": 12}
    ports.exchange(results=[result])
    for method in ("GET", "POST"):
        status = ports.client.ok(method, f"/v2/ns.app/status/{job['id']}")
        assert status["output"] == {"ok": True}
        assert (status["status"], status["executionTime"], status["retries"]) == ("COMPLETED", 12, 0)
        assert isinstance(status["delayTime"], int)


@pytest.mark.requirement("client.runsync")
def test_runsync_returns_the_result_of_a_worker_that_waits(ports: Ports) -> None:
    with ThreadPoolExecutor(2) as pool:
        polled = pool.submit(ports.exchange, capacity=1, waitMs=20_000)
        answered = pool.submit(ports.client.ok, "POST", "/v2/ns.app/runsync?wait=20000", {"input": None})
        (job,) = polled.result()["jobs"]
        assert job["id"].startswith("sync-")
        assert job["input"] is None
        ports.exchange(results=[{"id": job["id"], "token": job["token"], "error": "boom"}])
        status = answered.result()
    assert (status["status"], status["error"]) == ("FAILED", "boom")


@pytest.mark.requirement("client.runsync", "client.status.sync")
def test_runsync_that_waited_in_vain_returns_the_id(ports: Ports) -> None:
    status = ports.client.ok("POST", "/v2/ns.app/runsync?wait=1", {"input": 1})
    assert status["status"] == "IN_QUEUE"
    assert ports.client.ok("GET", f"/v2/ns.app/status-sync/{status['id']}?wait=1")["status"] == "IN_QUEUE"


@pytest.mark.requirement("client.stream.shape", "client.stream.last", "client.stream.once")
def test_a_stream_is_read_in_order_and_ends_with_its_state(ports: Ports) -> None:
    id = ports.client.ok("POST", "/v2/ns.app/run", {"input": 1})["id"]
    (job,) = ports.exchange(capacity=1)["jobs"]
    held = {"id": id, "token": job["token"]}
    ports.exchange(chunks=[{**held, "seq": 1, "items": ["a", {"b": 1}]}])
    first = ports.client.ok("GET", f"/v2/ns.app/stream/{id}")
    assert first["stream"] == [{"output": "a"}, {"output": {"b": 1}}]
    assert ports.client.ok("POST", f"/v2/ns.app/stream/{id}?wait=1")["stream"] == []
    ports.exchange(chunks=[{**held, "seq": 3, "items": [None]}], results=[{**held, "output": [1]}])
    last = ports.client.ok("GET", f"/v2/ns.app/stream/{id}")
    assert (last["status"], last["stream"]) == ("COMPLETED", [{"output": None}])
    again = ports.client.ok("GET", f"/v2/ns.app/stream/{id}?offset=1")
    assert (again["stream"], again["offset"], again["attempt"]) == ([{"output": {"b": 1}}, {"output": None}], 3, 1)


@pytest.mark.requirement("client.cancel", "client.purge")
def test_cancel_and_purge_answer_what_they_did(ports: Ports) -> None:
    ids = [ports.client.ok("POST", "/v2/ns.app/run", {"input": 1})["id"] for _ in range(3)]
    cancelled = ports.client.ok("POST", f"/v2/ns.app/cancel/{ids[0]}", {})
    assert (cancelled["id"], cancelled["status"]) == (ids[0], "CANCELLED")
    assert ports.client.ok("GET", f"/v2/ns.app/cancel/{ids[0]}")["status"] == "CANCELLED"
    assert ports.client.ok("POST", "/v2/ns.app/purge-queue") == {"removed": 2, "status": "completed"}


@pytest.mark.requirement("client.health")
def test_health_always_has_eleven_integers(ports: Ports) -> None:
    health = ports.client.ok("GET", "/v2/ns.app/health")
    assert list(health["jobs"]) == ["completed", "failed", "inProgress", "inQueue", "retried"]
    assert list(health["workers"]) == ["idle", "initializing", "ready", "running", "throttled", "unhealthy"]
    assert all(type(value) is int for part in health.values() for value in part.values())


def test_the_root_says_what_this_is(ports: Ports) -> None:
    assert "SubModel" in ports.client.ok("GET", "/")["service"]


BAD_REQUESTS = [
    ("POST", "/v2/ns.app/run", b"hello", 400, "not JSON"),
    ("POST", "/v2/ns.app/run", b"", 400, "the body is empty"),
    ("POST", "/v2/ns.app/run", b"{}", 400, '"input" is missing'),
    ("POST", "/v2/ns.app/run", b'{"input":1,"webhook":"http://a.example/"}', 400, "use https"),
    ("POST", "/v2/ns.app/run", b'{"input":1,"policy":{"ttl":1}}', 400, "policy.ttl"),
    ("POST", "/v2/ns.app/run", b'{"input":"' + b"x" * 10_485_760 + b'"}', 413, "larger than 10485760 bytes"),
    ("POST", "/v2/ns.app/runsync?wait=soon", b'{"input":1}', 400, "wait"),
    ("POST", "/v2/ns.app/runsync?wait=-1", b'{"input":1}', 400, "wait"),
    ("POST", "/v2/ns.app/runsync?wait=99999999999999999999", b'{"input":1}', 400, "wait"),
    ("POST", f"/v2/ns.app/runsync?wait={'0' * 11}{'9' * 6000}", b'{"input":1}', 400, "wait"),
    ("GET", "/v2/ns.app/stream/x?offset=a", b"", 400, "offset"),
    ("GET", "/v2/ns.app/requests?limit=0", b"", 400, "give a whole number from 1 to"),
    ("GET", "/v2/ns.app/run", b"", 405, "use POST"),
    ("DELETE", "/v2/ns.app/status/x", b"", 405, "use GET or POST"),
    ("POST", "/v2/unknown/run", b'{"input":1}', 404, "endpoint 'unknown' does not exist"),
    ("GET", "/v2/unknown/health", b"", 404, "endpoint 'unknown' does not exist"),
    ("GET", "/v2/ns.app/status/unknown", b"", 404, "job 'unknown' does not exist"),
    ("GET", "/v2/ns.app/stream/unknown", b"", 404, "job 'unknown' does not exist"),
    ("POST", "/v2/ns.app/cancel/unknown", b"", 404, "job 'unknown' does not exist"),
    ("GET", "/v2/ns.app/status/%FF%00", b"", 404, "does not exist"),
    ("GET", "/v2/ns.app/nothing", b"", 404, "nothing at this path"),
    ("GET", "/favicon.ico", b"", 404, "nothing at this path"),
    ("GET", f"/v2/ns.app/status/{'x' * 257}", b"", 404, "ids have at most 256 characters"),
    ("POST", f"/v2/ns.app/workers/{'w' * 257}/exchange", b"{}", 404, "ids have at most 256 characters"),
    ("GET", "/internal/v1/snapshots", b"", 404, "nothing at this path"),
    ("POST", "/v2/ns.app/workers/w/exchange", b"{}", 401, "Authorization: Bearer"),
]


@pytest.mark.parametrize(("endpoint", "status"), [("ns.app", 401), ("unknown", 401)])
def test_an_exchange_that_may_not_be_is_refused_before_its_body_is_read(
    ports: Ports, endpoint: str, status: int
) -> None:
    address = urlsplit(ports.gateway.public)
    head = f"POST /v2/{endpoint}/workers/w/exchange HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer wrong\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=5) as connection:
        connection.sendall(f"{head}Content-Length: 60000000\r\n\r\n".encode())
        assert connection.recv(64).startswith(f"HTTP/1.1 {status} ".encode())


@pytest.mark.requirement("client.errors", "platform.sizes")
@pytest.mark.parametrize(("method", "path", "body", "status", "sentence"), BAD_REQUESTS)
def test_a_bad_request_gets_its_status_and_a_sentence(
    ports: Ports, method: str, path: str, body: bytes, status: int, sentence: str
) -> None:
    got, answer = ports.client.call(method, path, raw=body)
    assert (got, list(answer)) == (status, ["error"])
    assert sentence in answer["error"]


def test_a_body_without_a_length_is_bounded_too(ports: Ports) -> None:
    parts = urlsplit(ports.gateway.public)
    with socket.create_connection((parts.hostname, parts.port), timeout=20) as raw:
        raw.sendall(b"POST /v2/ns.app/run HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        part = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
        for _ in range(11):
            raw.sendall(part)
        assert raw.recv(100).startswith(b"HTTP/1.1 413")


BAD_EXCHANGES = [
    ({"request": 1, "phase": "ready"}, "session"),
    ({"session": "s", "request": 1, "phase": "asleep"}, "phase"),
    ({"session": "s", "request": 1, "phase": "ready", "capacity": -1}, "capacity"),
    ({"session": "s", "request": 1, "phase": "ready", "results": [{"id": "x"}]}, r"results"),
]


@pytest.mark.parametrize(("message", "field"), BAD_EXCHANGES)
def test_a_bad_exchange_is_refused_with_its_field(ports: Ports, message: dict[str, Any], field: str) -> None:
    status, answer = ports.worker.call("POST", "/v2/ns.app/workers/bad/exchange", message)
    assert status == 400
    assert field in answer["error"]


def test_a_worker_with_a_wrong_token_is_told(ports: Ports) -> None:
    with Http(ports.gateway.public, "wrong") as stranger:
        message = {"session": "s", "request": 1, "phase": "ready"}
        status, answer = stranger.call("POST", "/v2/ns.app/workers/w/exchange", message)
    assert status == 401
    assert "bearer token" in answer["error"]


def test_the_internal_port_wants_its_token_and_the_probes_do_not(ports: Ports) -> None:
    with Http(ports.gateway.internal) as stranger:
        assert stranger.call("GET", "/internal/v1/snapshots")[0] == 401
        assert stranger.call("GET", "/internal/v1/nothing")[0] == 401
        alive = stranger.ok("GET", "/healthz")
        assert alive == {"status": "alive", "version": version("submodel-runtime")} == stranger.ok("GET", "/livez")
        ready = stranger.ok("GET", "/readyz")
        assert (ready["status"], [each["store"] for each in ready["stores"]]) == ("ready", ["1"])
        assert ready["stores"][0].keys() == {"store", "movedAtMs", "tookMs"}
        assert stranger.call("GET", "/v2/ns.app/health")[0] == 404


def test_an_older_push_is_refused(ports: Ports) -> None:
    older = registration("ns.app", generation=0)
    status, answer = ports.operator.call("PUT", "/internal/v1/endpoints/ns.app", older)
    assert status == 409
    assert "generation 0" in answer["error"]


def test_the_operator_hears_of_a_job_without_a_worker(ports: Ports) -> None:
    register(ports.gateway, "ns.cold")
    since = ports.operator.ok("GET", "/internal/v1/snapshots")["version"]
    with ThreadPoolExecutor(1) as pool:
        poll = pool.submit(ports.operator.ok, "GET", f"/internal/v1/snapshots?since={since}&waitMs=20000")
        ports.client.ok("POST", "/v2/ns.cold/run", {"input": 1})
        snapshots = {snapshot["endpointId"]: snapshot for snapshot in poll.result()["endpoints"]}
    assert snapshots["ns.cold"]["queued"] == 1
    ports.operator.ok("DELETE", "/internal/v1/endpoints/ns.cold")


def test_presence_drain_and_undrain_are_accepted(ports: Ports) -> None:
    worker = {"worker": "w-1", "uid": "u", "revision": "r1", "phase": "Running"}
    base = "/internal/v1/endpoints/ns.app"
    ports.operator.ok("PUT", f"{base}/workers", {"workers": [worker]})
    ports.operator.ok("POST", f"{base}/drain", {"workers": ["w-1"]})
    assert ports.exchange()["drain"]
    ports.operator.ok("POST", f"{base}/undrain", {"workers": ["w-1"]})
    assert "drain" not in ports.exchange()
    ports.operator.ok("POST", f"{base}/workers/gone", {"workers": [{"worker": "w-9", "reason": "oom"}]})
    assert ports.operator.call("POST", "/internal/v1/endpoints/no/drain", {"workers": []})[0] == 404


def test_neither_bodies_nor_tokens_reach_the_log(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, SUBMODEL_GATEWAY_LOG_LEVEL="DEBUG") as gateway:
        ports = Ports(gateway)
        ports.client.ok("POST", "/v2/ns.app/run", {"input": "private-payload"})
        ports.client.call("POST", "/v2/ns.app/run", raw=b'{"input": "private-payload"')
        ports.exchange(capacity=1)
        ports.close()
        assert gateway.terminate() == 0
    log = "".join(gateway.log)
    assert json.dumps("private-payload")[1:-1] not in log
    assert TOKEN not in log
    assert INTERNAL_TOKEN not in log
