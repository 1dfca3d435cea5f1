"""OpenAI's API in front of jobs: what passes, what is held, what fails, and what a client that leaves does."""

import json
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import urllib3

from tests.support.gateway_ports import TOKEN, Ports, register
from tests.support.live_gateway import LiveGateway
from tests.support.postgres import shared_server

CHAT = "/v2/ns.app/openai/v1/chat/completions"
STREAM = {"model": "m", "messages": [], "stream": True}
WHOLE = {"model": "m", "messages": []}


class Asker:
    """A client whose requests run in threads while the test speaks for the worker."""

    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self._threads = ThreadPoolExecutor(4)
        self._http = urllib3.PoolManager(retries=False, timeout=30)

    def ask(self, document: Any, path: str = CHAT, method: str = "POST") -> urllib3.BaseHTTPResponse:
        """The answer as soon as its head is there; its body can be read on."""
        body = None if document is None else json.dumps(document).encode()
        return self._http.request(method, self.ports.gateway.public + path, body=body, preload_content=False)

    def begin(self, document: Any, path: str = CHAT, method: str = "POST") -> Any:
        """The same as a future, and the job that a worker gets for it."""
        answer = self._threads.submit(self.ask, document, path, method)
        (job,) = self.ports.exchange(capacity=1, waitMs=20_000)["jobs"]
        return answer, job

    def close(self) -> None:
        self._http.clear()
        self._threads.shutdown()


@pytest.fixture
def asker(ports: Ports) -> Iterator[Asker]:
    opened = Asker(ports)
    yield opened
    opened.close()


def held(job: Any) -> dict[str, Any]:
    return {"id": job["id"], "token": job["token"]}


def status(asker: Asker, job: Any) -> str:
    return str(asker.ports.client.ok("GET", f"/v2/ns.app/status-sync/{job['id']}?wait=20000")["status"])


@pytest.mark.requirement("platform.openai")
def test_the_worker_gets_the_route_and_the_body_as_it_was_sent(asker: Asker) -> None:
    answer, job = asker.begin(WHOLE)
    assert job["input"] == {"openai_route": "/v1/chat/completions", "openai_input": WHOLE}
    asker.ports.exchange(results=[{**held(job), "output": {"id": "c-1"}}])
    got = answer.result()
    assert (got.status, got.headers["content-type"], got.json()) == (200, "application/json", {"id": "c-1"})


@pytest.mark.parametrize("base", ["/v1", "/v1/sl", "/api/v1/sl"])
def test_it_is_there_under_every_base(asker: Asker, base: str) -> None:
    answer, job = asker.begin(WHOLE, f"{base}/ns.app/openai/v1/completions")
    assert job["input"]["openai_route"] == "/v1/completions"
    asker.ports.exchange(results=[{**held(job), "output": {"id": "c-1"}}])
    assert answer.result().json() == {"id": "c-1"}


def test_a_request_without_a_body_has_no_input(asker: Asker) -> None:
    answer, job = asker.begin(None, "/v2/ns.app/openai/v1/models", "GET")
    assert job["input"] == {"openai_route": "/v1/models"}
    asker.ports.exchange(results=[{**held(job), "output": {"data": []}}])
    assert answer.result().json() == {"data": []}


def test_an_answer_that_was_yielded_is_the_body(asker: Asker) -> None:
    answer, job = asker.begin(WHOLE)
    asker.ports.exchange(chunks=[{**held(job), "seq": 1, "items": [{"id": "c-2"}]}])
    asker.ports.exchange(results=[{**held(job), "output": [{"id": "c-2"}]}])
    assert answer.result().json() == {"id": "c-2"}


@pytest.mark.requirement("platform.openai")
def test_a_stream_passes_byte_for_byte_as_it_comes(asker: Asker) -> None:
    answer, job = asker.begin(STREAM)
    pieces = ['data: {"a": "', 'caf\u00e9 \u6f22"}\n', "\ndata: {}\n\n: comment\r\n\r\n", "data: [DONE]\n\n"]
    asker.ports.exchange(chunks=[{**held(job), "seq": 1, "items": pieces[:1]}])
    got = answer.result()
    assert (got.status, got.headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
    assert got.read1() == pieces[0].encode()
    asker.ports.exchange(chunks=[{**held(job), "seq": 2, "items": pieces[1:3]}])
    assert got.read1() == (pieces[1] + pieces[2]).encode()
    asker.ports.exchange(chunks=[{**held(job), "seq": 4, "items": pieces[3:]}], results=[{**held(job), "output": []}])
    assert got.read() == pieces[3].encode()
    assert status(asker, job) == "COMPLETED"


@pytest.mark.requirement("platform.openai")
def test_documents_in_a_stream_are_framed(asker: Asker) -> None:
    answer, job = asker.begin(STREAM)
    asker.ports.exchange(chunks=[{**held(job), "seq": 1, "items": [[{"a": 1}, {"b": 2}], {"c": 3}]}])
    asker.ports.exchange(results=[{**held(job), "output": []}])
    assert answer.result().read() == b'data: {"a": 1}\n\ndata: {"b": 2}\n\ndata: {"c": 3}\n\ndata: [DONE]\n\n'


def test_a_stream_of_a_plain_function_is_its_output(asker: Asker) -> None:
    answer, job = asker.begin(STREAM)
    asker.ports.exchange(results=[{**held(job), "output": "data: {}\n\n"}])
    assert answer.result().read() == b"data: {}\n\n"


@pytest.mark.parametrize("document", [WHOLE, STREAM])
def test_a_failure_before_the_first_item_has_a_status_and_is_not_to_be_repeated(
    asker: Asker, document: dict[str, Any]
) -> None:
    answer, job = asker.begin(document)
    asker.ports.exchange(results=[{**held(job), "error": "{'message': 'too long', 'type': 'Bad', 'code': 400}"}])
    got = answer.result()
    assert (got.status, got.headers["x-should-retry"]) == (400, "false")
    assert got.json()["error"] == {"message": "too long", "type": "Bad", "param": None, "code": 400}


@pytest.mark.parametrize("document", [WHOLE, STREAM])
def test_a_failure_with_a_status_that_has_no_name_is_answered_with_it(asker: Asker, document: dict[str, Any]) -> None:
    answer, job = asker.begin(document)
    asker.ports.exchange(results=[{**held(job), "error": '{"message": "client closed request", "code": 499}'}])
    got = answer.result()
    assert (got.status, got.json()["error"]["code"]) == (499, 499)


def test_a_failure_within_a_stream_is_an_event_and_nothing_follows(asker: Asker) -> None:
    answer, job = asker.begin(STREAM)
    asker.ports.exchange(chunks=[{**held(job), "seq": 1, "items": ["data: {}\n\n"]}])
    asker.ports.exchange(results=[{**held(job), "error": "out of memory"}])
    *_, last = answer.result().read().strip().split(b"\n\n")
    assert json.loads(last.removeprefix(b"data: "))["error"]["message"] == "out of memory"


def lose(asker: Asker) -> None:
    gone = {"workers": [{"worker": "w-1", "reason": "evicted"}]}
    asker.ports.operator.ok("POST", "/internal/v1/endpoints/ns.app/workers/gone", gone)


def test_a_worker_that_is_lost_before_it_answered_leaves_no_trace(gateway: LiveGateway, asker: Asker) -> None:
    answer, _ = asker.begin(STREAM)
    lose(asker)
    second = Ports(gateway)
    (job,) = second.exchange(capacity=1, waitMs=20_000)["jobs"]
    assert job["attempt"] == 2
    second.exchange(chunks=[{**held(job), "seq": 1, "items": ["data: [DONE]\n\n"]}])
    second.exchange(results=[{**held(job), "output": []}])
    assert answer.result().read() == b"data: [DONE]\n\n"
    second.close()


def test_a_worker_that_is_lost_while_it_answers_ends_the_stream_and_the_job(asker: Asker) -> None:
    answer, job = asker.begin(STREAM)
    asker.ports.exchange(chunks=[{**held(job), "seq": 1, "items": ["data: {}\n\n"]}])
    got = answer.result()
    assert got.read1() == b"data: {}\n\n"
    lose(asker)
    rest = got.read()
    assert b"the worker was lost" in rest
    assert b"[DONE]" not in rest
    assert status(asker, job) == "CANCELLED"


def ask_and_leave(asker: Asker, document: Any, headers: Mapping[str, str]) -> Any:
    """The job of a client that hangs up as soon as the gateway has it."""
    before = newest(asker)
    with closing(HTTPConnection(urlsplit(asker.ports.gateway.public).netloc, timeout=30)) as connection:
        connection.request("POST", CHAT, json.dumps(document), headers)
        while (jobs := newest(asker)) == before:
            continue
    return jobs[0]


def newest(asker: Asker) -> list[dict[str, Any]]:
    jobs = asker.ports.client.ok("GET", "/v2/ns.app/requests?limit=1")["requests"]
    return [{"id": job["id"]} for job in jobs]


def test_a_client_that_leaves_a_held_request_cancels_its_job(asker: Asker) -> None:
    assert status(asker, ask_and_leave(asker, STREAM, {})) == "CANCELLED"


def test_a_client_with_an_idempotency_key_finds_its_job_again_after_it_left(asker: Asker) -> None:
    keyed, path = {"Idempotency-Key": "order-7"}, asker.ports.gateway.public + CHAT
    ask_and_leave(asker, WHOLE, keyed)
    (job,) = asker.ports.exchange(capacity=1, waitMs=20_000)["jobs"]
    asker.ports.exchange(results=[{**held(job), "output": {"id": "c-1"}}])
    again = urllib3.request("POST", path, body=json.dumps(WHOLE), headers=keyed, retries=False, timeout=30)
    assert (again.status, again.json()) == (200, {"id": "c-1"})


def test_a_client_that_leaves_a_stream_cancels_its_job(asker: Asker) -> None:
    answer, job = asker.begin(STREAM)
    asker.ports.exchange(chunks=[{**held(job), "seq": 1, "items": ["data: {}\n\n"]}])
    got = answer.result()
    got.read1()
    got.close()
    assert status(asker, job) == "CANCELLED"


def test_a_client_that_leaves_at_the_end_of_its_events_cancels_nothing(asker: Asker) -> None:
    answer, job = asker.begin(STREAM)
    asker.ports.exchange(chunks=[{**held(job), "seq": 1, "items": ["data: {}\n\n", "data: [DO", "NE]\n\n"]}])
    got = answer.result()
    assert got.read1().endswith(b"[DONE]\n\n")
    got.close()
    # Another request after the hang-up: the gateway has heard of it when this one is answered.
    asker.ports.client.ok("GET", "/v2/ns.app/health")
    asker.ports.exchange(results=[{**held(job), "output": []}])
    assert status(asker, job) == "COMPLETED"


@pytest.mark.requirement("platform.openai")
def test_models_in_the_manifest_are_told_without_a_worker(asker: Asker) -> None:
    register(asker.ports.gateway, "ns.cold", models=["parrot", "org/raven"])
    client, models = asker.ports.client, "/v2/ns.cold/openai/v1/models"
    assert [model["id"] for model in client.ok("GET", models)["data"]] == ["parrot", "org/raven"]
    assert client.ok("GET", f"{models}/org/raven")["object"] == "model"
    status, answer = client.call("GET", f"{models}/crow")
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert client.ok("GET", "/v2/ns.cold/health")["jobs"]["inQueue"] == 0


BAD = [
    ("POST", "/v2/unknown/openai/v1/completions", b"{}", 404, "does not exist"),
    ("POST", CHAT, b"{", 400, "not JSON"),
    ("POST", CHAT, b"[]", 400, "does not fit"),
    ("POST", CHAT, b'{"stream": "yes"}', 400, "stream"),
    ("DELETE", CHAT, b"", 405, "use GET or POST"),
    ("POST", CHAT, b'"' + b"x" * 20_971_520 + b'"', 413, "larger than"),
]


@pytest.mark.requirement("platform.openai")
@pytest.mark.parametrize(("method", "path", "body", "code", "sentence"), BAD)
def test_errors_have_the_shape_that_these_clients_read(
    asker: Asker, method: str, path: str, body: bytes, code: int, sentence: str
) -> None:
    got, answer = asker.ports.client.call(method, path, raw=body)
    assert (got, sorted(answer["error"])) == (code, ["code", "message", "param", "type"])
    assert sentence in answer["error"]["message"]


def test_files_are_refused_by_name(asker: Asker) -> None:
    url = f"{asker.ports.gateway.public}/v2/ns.app/openai/v1/audio/transcriptions"
    answer = urllib3.request("POST", url, fields={"file": ("a.wav", b"x")})
    assert (answer.status, "files cannot be uploaded" in answer.json()["error"]["message"]) == (400, True)


def test_a_worker_of_another_sdk_streams_as_well(asker: Asker) -> None:
    query = f"gpu=x&t={TOKEN}"
    answer = asker._threads.submit(asker.ask, STREAM)
    worker = asker.ports.worker
    job = worker.ok("GET", f"/v2/ns.app/job-take/w-legacy?{query}&job_in_progress=0")
    post = f"w-legacy/{job['id']}?{query}&isStream="
    for text in ("data: {}\n\n", "data: [DONE]\n\n"):
        worker.ok("POST", f"/v2/ns.app/job-stream/{post}false", {"output": text})
    worker.ok("POST", f"/v2/ns.app/job-done/{post}true", {"output": []})
    assert answer.result().read() == b"data: {}\n\ndata: [DONE]\n\n"


@pytest.mark.slow
def test_a_gateway_that_goes_down_sends_held_requests_elsewhere(tmp_path: Path) -> None:
    with LiveGateway(tmp_path) as gateway:
        ports = Ports(gateway)
        asker = Asker(ports)
        answer, job = asker.begin(STREAM)
        assert gateway.terminate() == 0
        got = answer.result()
        assert (got.status, got.headers["retry-after"]) == (503, "1")
        assert "going down" in got.json()["error"]["message"]
        asker.close()
        ports.close()
    with LiveGateway(tmp_path) as gateway:
        ports = Ports(gateway)
        assert ports.client.ok("GET", f"/v2/ns.app/status/{job['id']}")["status"] == "CANCELLED"
        ports.close()


def test_a_stream_is_told_that_no_worker_reaches_the_gateway_until_it_is_another(tmp_path: Path) -> None:
    with LiveGateway(tmp_path) as gateway:
        ports = Ports(gateway)
        asker = Asker(ports)
        answer, job = asker.begin(STREAM)
        ports.exchange(chunks=[{**held(job), "seq": 1, "items": ["data: {}\n\n"]}])
        got = answer.result()
        assert got.read1() == b"data: {}\n\n"
        gateway.process.send_signal(signal.SIGUSR2)
        assert "going down" in json.loads(got.read().strip().removeprefix(b"data: "))["error"]["message"]
        asker.close()
        ports.close()
    assert "given up" not in "".join(gateway.log)


@pytest.mark.slow
@pytest.mark.parametrize("document", [WHOLE, STREAM])
def test_what_runs_is_answered_by_a_gateway_that_leaves_where_another_one_serves(
    tmp_path: Path, document: dict[str, Any]
) -> None:
    with shared_server().database() as url, LiveGateway(tmp_path, SUBMODEL_GATEWAY_STORE=url) as gateway:
        ports = Ports(gateway)
        asker = Asker(ports)
        answer, job = asker.begin(document)
        queued = asker._threads.submit(asker.ask, document)
        while not ports.client.ok("GET", "/v2/ns.app/health")["jobs"]["inQueue"]:
            continue
        gateway.process.send_signal(signal.SIGUSR2)
        assert queued.result().status == 503
        assert not answer.done()
        ports.worker.close()  # its connection has ended with the process
        ports.exchange(results=[{**held(job), "output": {"id": "c-1"}}])
        got = answer.result()
        assert (got.status, b'{"id": "c-1"}' in got.read()) == (200, True)
        asker.close()
        ports.close()
