"""The development server, in a process of its own, over HTTP."""

import json
import queue
import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import submodel
from submodel.errors import JobCancelled, JobFailed
from tests.support.free_ports import free_port
from tests.support.local_server import LocalServer
from tests.support.scripted_server import Asked, Reply, ScriptedServer

SOURCE = '''
    import asyncio, os, sys, threading
    import submodel

    gates = {name: asyncio.Event() for name in ("a", "b")}

    async def handler(job):
        """Does what it is told.

        And more.
        """
        what = job["input"]
        kind = what.get("kind") if isinstance(what, dict) else None
        if kind == "stream":
            return stream(what["items"])
        if kind == "held":
            return held(job)
        if kind == "meet":
            gates[what["mine"]].set()
            await gates[what["other"]].wait()
        if kind == "raise":
            raise ValueError("wrong")
        if kind == "error":
            return {"error": "no", "step": 2}
        if kind == "nothing":
            return {}
        if kind == "wait":
            submodel.serverless.progress_update(job, {"percent": 50})
            await asyncio.Event().wait()
        return dict(job)

    def stream(items):
        yield from items

    async def held(job):
        yield "first"
        await asyncio.Event().wait()

    submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
'''
LINE = ("--rp_serve_api", "--rp_api_port", "0", "--rp_api_concurrency", "4")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("local")
    folder.joinpath("test_input.json").write_text('{"input": {"prompt": "sample"}}')
    with LocalServer(folder, SOURCE, *LINE) as running:
        yield running


def begun(server: LocalServer, job_id: str) -> str:
    """The status of a job once it is not in the queue any more."""
    while (status := server.ask("GET", f"/status/{job_id}")[1]["status"]) == "IN_QUEUE":
        continue
    return str(status)


@pytest.mark.requirement("handler.desk.api")
def test_runsync_gives_the_job_with_its_output(server: LocalServer) -> None:
    status, job = server.ask("POST", "/runsync", {"input": {"a": [1]}, "extra": "é"})
    assert status == 200
    assert job["status"] == "COMPLETED"
    assert re.fullmatch(r"test-[0-9a-f-]{36}", job["id"])
    assert job["output"] == {"id": job["id"], "input": {"a": [1]}, "extra": "é"}
    assert isinstance(job["executionTime"], int)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("error", {"status": "FAILED", "error": "no", "output": {"step": 2}}),
        ("nothing", {"status": "COMPLETED"}),
    ],
)
def test_the_outcome_is_that_of_a_worker(server: LocalServer, kind: str, expected: dict[str, Any]) -> None:
    status, job = server.ask("POST", "/runsync", {"input": {"kind": kind}})
    assert status == 200
    assert {name: value for name, value in job.items() if name in ("status", "error", "output")} == expected


def test_an_exception_has_the_shape_that_clients_parse(server: LocalServer) -> None:
    job = server.ask("POST", "/runsync", {"input": {"kind": "raise"}})[1]
    report = json.loads(job["error"])
    assert report["error_type"] == "<class 'ValueError'>"
    assert report["error_message"] == "wrong"


@pytest.mark.requirement("handler.desk.api")
def test_a_job_of_run_is_read_by_get_and_again(server: LocalServer) -> None:
    job_id = server.run({"a": 1})
    assert server.job(job_id)["status"] == "COMPLETED"
    assert server.ask("GET", f"/status/{job_id}")[1]["output"]["input"] == {"a": 1}
    assert server.ask("GET", f"/status/{job_id}")[0] == 200


@pytest.mark.requirement("handler.desk.api")
def test_a_post_to_status_waits_for_the_end(server: LocalServer) -> None:
    job_id = server.run({"kind": "meet", "mine": "a", "other": "b"})
    assert server.ask("GET", f"/status/{job_id}")[1]["status"] in ("IN_QUEUE", "IN_PROGRESS")
    server.run({"kind": "meet", "mine": "b", "other": "a"})
    assert server.ask("POST", f"/status/{job_id}")[1]["status"] == "COMPLETED"


@pytest.mark.requirement("handler.desk.api")
def test_a_stream_is_read_as_a_whole_by_post_and_piece_by_piece_by_get(server: LocalServer) -> None:
    job_id = server.run({"kind": "stream", "items": ["a", {"b": 1}]})
    items = [{"output": "a"}, {"output": {"b": 1}}]
    status, found = server.ask("POST", f"/stream/{job_id}")
    assert (status, found["status"], found["stream"]) == (200, "COMPLETED", items)
    assert server.ask("GET", f"/stream/{job_id}?offset=1")[1]["stream"] == items[1:]
    assert server.ask("GET", f"/stream/{job_id}")[1]["stream"] == items
    assert server.ask("GET", f"/stream/{job_id}")[1]["stream"] == []


def test_a_stream_shows_items_while_the_handler_runs_until_it_is_cancelled(server: LocalServer) -> None:
    job_id = server.run({"kind": "held"})
    found = server.ask("GET", f"/stream/{job_id}?wait=20000")[1]
    assert (found["status"], found["stream"]) == ("IN_PROGRESS", [{"output": "first"}])
    assert server.ask("GET", f"/stream/{job_id}?wait=1")[1]["stream"] == []
    assert server.ask("GET", f"/cancel/{job_id}")[1]["status"] == "CANCELLED"
    assert server.ask("POST", f"/cancel/{job_id}")[1]["status"] == "CANCELLED"


def test_progress_is_the_output_while_the_job_runs(server: LocalServer) -> None:
    job_id = server.run({"kind": "wait"})
    while "output" not in (found := server.ask("GET", f"/status/{job_id}")[1]):
        continue
    assert found["output"] == {"percent": 50}
    assert "output" not in server.ask("POST", f"/cancel/{job_id}")[1]


def test_jobs_beyond_the_concurrency_wait_and_can_be_purged(server: LocalServer) -> None:
    running = [server.run({"kind": "wait"}) for _ in range(4)]
    for job_id in running:
        begun(server, job_id)
    waiting = [server.run({}) for _ in range(2)]
    assert server.ask("GET", "/health")[1]["jobs"]["inQueue"] == 2
    assert server.ask("POST", "/purge-queue")[1] == {"removed": 2, "status": "completed"}
    assert [server.job(job_id)["status"] for job_id in waiting] == ["CANCELLED"] * 2
    for job_id in running:
        server.ask("POST", f"/cancel/{job_id}")
    assert server.ask("POST", "/runsync", {"input": 1})[1]["status"] == "COMPLETED"


def test_requests_lists_the_newest_first(server: LocalServer) -> None:
    ids = [server.run(number) for number in range(3)]
    assert [job["id"] for job in server.ask("GET", "/requests?limit=3")[1]["requests"]] == ids[::-1]


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "sentence"),
    [
        ("POST", "/run", b"{", 400, "not a JSON object"),
        ("POST", "/runsync", {}, 400, "input is missing"),
        ("POST", "/run", {"input": 1, "policy": 5}, 400, "policy must be an object"),
        ("POST", "/run", {"input": 1, "policy": {"executionTimeout": 1}}, 400, "policy.executionTimeout must be"),
        ("GET", "/run", None, 405, "use POST"),
        ("GET", "/status/none", None, 404, "there is no job none"),
        ("POST", "/cancel/none", None, 404, "there is no job none"),
        ("GET", "/stream/none?wait=x", None, 400, "wait must be a whole number"),
        ("GET", "/nothing", None, 404, "there is nothing at /nothing"),
        ("PUT", "/v2/a.b/nothing", None, 404, "there is nothing at /v2/a.b/nothing"),
        ("POST", "/a.b/realtime", {"input": 1}, 422, "send"),
        ("GET", "/a.b/realtime", None, 405, "use POST"),
    ],
)
def test_what_cannot_be_served_is_refused_with_a_sentence(
    server: LocalServer, method: str, path: str, body: Any, status: int, sentence: str
) -> None:
    got, found = server.ask(method, path, body)
    assert got == status
    assert sentence in found["error"]


def test_pages_of_others_and_names_from_elsewhere_are_refused(server: LocalServer) -> None:
    assert server.ask("POST", "/run", {"input": 1}, Origin="http://example.org")[0] == 403
    assert server.ask("GET", "/health", Host="example.org")[0] == 403
    assert server.ask("POST", "/run", {"input": 1}, Origin=f"http://127.0.0.1:{server.port}")[0] == 200


def test_bodies_that_are_too_large_or_of_unknown_length_are_refused(server: LocalServer) -> None:
    assert server.raw("POST", "/run", b"", **{"Content-Length": str(21 * 2**20)})[0] == 413
    assert server.raw("POST", "/run", b"0\r\n\r\n", **{"Transfer-Encoding": "chunked"})[0] == 411
    assert server.ask("POST", "/run", {"input": "x" * (11 * 2**20)})[0] == 413


@pytest.mark.requirement("handler.realtime")
def test_a_realtime_request_gets_what_the_handler_gave(server: LocalServer) -> None:
    assert server.ask("POST", "/a.b/realtime", {"id": "mine", "input": 1}) == (
        200,
        {"output": {"id": "mine", "input": 1}},
    )
    stream = {"id": "x", "input": {"kind": "stream", "items": [1, 2]}}
    assert server.ask("POST", "/a.b/realtime", stream)[1] == {"output": [1, 2]}


def test_the_page_is_one_file_that_loads_nothing_else(server: LocalServer) -> None:
    status, headers, body = server.raw("GET", "/")
    page = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert not re.findall(r"(?:src|href)=|@import|url\(", page.replace("image.src", ""))
    assert server.raw("GET", "/docs")[1]["Location"] == "/"
    assert server.raw("HEAD", "/")[2] == b""


def test_the_page_is_told_what_it_shows(server: LocalServer) -> None:
    facts = server.ask("GET", "/handler")[1]
    assert facts["name"] == "handler"
    assert facts["kind"] == "coroutine"
    assert facts["about"] == "Does what it is told."
    assert facts["sample"] == {"prompt": "sample"}
    assert facts["concurrency"] == 4


def test_clients_use_it_like_a_gateway(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submodel, "endpoint_url_base", f"http://127.0.0.1:{server.port}/v2", raising=False)
    with submodel.Endpoint("any.name") as endpoint:
        assert endpoint.run_sync({"a": 1}, timeout=20)["input"] == {"a": 1}
        job = endpoint.run({"kind": "stream", "items": ["x", "y"]})
        assert list(job.stream()) == ["x", "y"]
        assert job.output(20) == ["x", "y"]
        with pytest.raises(JobFailed):
            endpoint.run_sync({"kind": "raise"}, timeout=20)
        held = endpoint.run({"kind": "wait"})
        held.cancel()
        with pytest.raises(JobCancelled):
            held.output(20)
        assert endpoint.health()["workers"]["ready"] == 1


BLOCKING = """
    import os, sys, submodel
    from threading import Event
    def handler(job):
        if job["input"] == "leave":
            sys.exit(7)
        if job["input"] == "vanish":
            os._exit(8)
        while not os.path.exists("go"):
            Event().wait(0.01)
        return job["input"]
    submodel.serverless.start({"handler": handler})
"""


def test_a_handler_that_blocks_does_not_keep_the_server_from_answering(tmp_path: Path) -> None:
    with LocalServer(tmp_path, BLOCKING, *LINE) as server:
        jobs = [server.run(number) for number in range(2)]
        assert begun(server, jobs[0]) == "IN_PROGRESS"
        tmp_path.joinpath("go").touch()
        assert [server.job(job_id)["output"] for job_id in jobs] == [0, 1]


def test_a_handler_that_blocks_ends_when_its_job_is_cancelled(tmp_path: Path) -> None:
    with LocalServer(tmp_path, BLOCKING, *LINE) as server:
        blocked, waiting = server.run(1), server.run("leave")
        assert begun(server, blocked) == "IN_PROGRESS"
        assert server.ask("POST", f"/cancel/{blocked}")[1]["status"] == "CANCELLED"
        assert server.job(waiting)["status"] == "FAILED", "its turn has come"


def test_the_first_signal_lets_running_jobs_end_and_cancels_what_waits(tmp_path: Path) -> None:
    source = """
        import asyncio, os, submodel
        async def handler(job):
            print("running", flush=True)
            while not os.path.exists("go"):
                await asyncio.sleep(0.01)
            return "done"
        submodel.serverless.start({"handler": handler})
    """
    with LocalServer(tmp_path, source, "--rp_serve_api", "--rp_api_port", "0") as server:
        running, waiting = server.run(1), server.run(2)
        server.wait_for_log("running")
        server.signal(signal.SIGINT)
        server.wait_for_log("Leaving")
        assert server.job(waiting)["status"] == "CANCELLED"
        assert server.ask("POST", "/run", {"input": 1})[0] == 503
        tmp_path.joinpath("go").touch()
        assert server.job(running)["output"] == "done"
        assert server.exit_code() == 0


@pytest.mark.parametrize(("way", "code"), [("leave", 7), ("vanish", 8)])
def test_a_handler_that_ends_the_process_ends_the_server_after_its_answer(tmp_path: Path, way: str, code: int) -> None:
    with LocalServer(tmp_path, BLOCKING, *LINE) as server:
        job = server.ask("POST", "/runsync", {"input": way})[1]
        assert job["status"] == "FAILED"
        assert server.exit_code() == code


def test_a_port_that_is_taken_ends_with_1_and_a_sentence(tmp_path: Path, server: LocalServer) -> None:
    second = LocalServer(tmp_path, BLOCKING, "--sm_serve_api", "--sm_api_port", str(server.port))
    with pytest.raises(AssertionError, match="--rp_api_port chooses another"), second:
        pass
    assert second.exit_code() == 1


@pytest.mark.requirement("handler.realtime")
def test_realtime_requests_run_side_by_side(tmp_path: Path) -> None:
    environment = {"RUNPOD_REALTIME_PORT": str(free_port()), "RUNPOD_ENDPOINT_ID": "mine"}
    with LocalServer(tmp_path, SOURCE, environment=environment) as server, ThreadPoolExecutor(2) as pool:
        assert server.ask("POST", "/other/realtime", {"id": "1", "input": 1})[0] == 404
        jobs = [{"id": x, "input": {"kind": "meet", "mine": x, "other": y}} for x, y in ("ab", "ba")]
        answers = list(pool.map(lambda job: server.ask("POST", "/mine/realtime", job), jobs))
        assert [answer[1]["output"]["id"] for answer in answers] == ["a", "b"]
        assert server.end(signal.SIGTERM) == 0


@pytest.mark.requirement("handler.realtime")
def test_a_realtime_concurrency_is_a_bound(tmp_path: Path) -> None:
    environment = {"SUBMODEL_REALTIME_PORT": str(free_port()), "RUNPOD_REALTIME_CONCURRENCY": "1"}
    with LocalServer(tmp_path, SOURCE, environment=environment) as server:
        running, waiting = server.run({"kind": "wait"}), server.run({})
        begun(server, running)
        assert server.ask("GET", f"/status/{waiting}")[1]["status"] == "IN_QUEUE"
        server.ask("POST", f"/cancel/{running}")
        assert server.job(waiting)["status"] == "COMPLETED"


@pytest.mark.parametrize("job_input", [1, {"kind": "raise"}])
@pytest.mark.requirement("handler.desk.webhook")
def test_a_webhook_hears_of_each_outcome(server: LocalServer, job_input: Any) -> None:
    heard: queue.SimpleQueue[Asked] = queue.SimpleQueue()

    def answer(asked: Asked) -> Reply:
        heard.put(asked)
        return Reply()

    with ScriptedServer(answer) as receiver:
        job = server.job(server.run(job_input, webhook=f"{receiver.url}/hook"))
        told = heard.get(timeout=20)
        assert (told.method, told.path) == ("POST", "/hook")
        assert json.loads(told.body) == job


def test_the_entry_of_the_worker_image_serves_a_file_too(tmp_path: Path) -> None:
    with LocalServer(tmp_path, BLOCKING, *LINE, module="submodel.serverless") as server:
        tmp_path.joinpath("go").touch()
        assert server.ask("POST", "/runsync", {"input": 5})[1]["output"] == 5
        assert server.end(signal.SIGTERM) == 0
