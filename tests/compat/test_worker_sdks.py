"""Unmodified SDKs of others work as workers against a real gateway: one promise per test, for each SDK."""

import json
from collections.abc import Iterator

import pytest

from submodel.contract import limits
from tests.compat.environments import required
from tests.compat.sdk_lab import END_SECONDS, SDKS, Lab, until
from tests.support.gateway_process import GatewayProcess

LEASE_SECONDS = limits.LEASE_MS // 1000
"""So long may a job stay with a worker that says nothing of its jobs."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(
    scope="module", params=[pytest.param(sdk, marks=pytest.mark.xdist_group(f"compat-{sdk}")) for sdk in SDKS]
)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A gateway for all tests of an SDK, which share workers too where they can."""
    interpreter = required(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    with GatewayProcess(folder) as gateway:
        opened = Lab(gateway, interpreter, folder, request.param)
        try:
            yield opened
        finally:
            opened.close()


@pytest.fixture
def streaming(lab: Lab) -> Lab:
    """An SDK that knows generators."""
    if not lab.able.streams:
        pytest.skip("this SDK takes the generator itself for the result, and sends nothing")
    return lab


@pytest.fixture
def progressing(lab: Lab) -> Lab:
    """An SDK that knows progress."""
    if not lab.able.progress:
        pytest.skip("this SDK has no progress_update")
    return lab


@pytest.mark.requirement("worker.sdk.handlers", "worker.job.shape", "worker.sdk.old", "worker.sdk.fork")
@pytest.mark.parametrize("mode", ["blocking", "waiting"])
def test_a_handlers_job_is_the_clients_request_and_its_return_value_the_output(lab: Lab, mode: str) -> None:
    status = lab.result(lab.serve(mode), text="é漢", list=[1, None, {"a": True}])
    assert (status["status"], status["workerId"], status["retries"]) == ("COMPLETED", "w-1", 0)
    assert status["output"] == {"id": status["id"], "input": {"text": "é漢", "list": [1, None, {"a": True}]}}


@pytest.mark.parametrize("mode", ["waiting", "blocking"])
def test_an_exception_fails_the_job_with_the_sdks_own_report(lab: Lab, mode: str) -> None:
    status = lab.result(lab.serve(mode), fail="too hot")
    report = json.loads(status["error"])
    assert (status["status"], report["error_message"]) == ("FAILED", "too hot")
    worker = report.get("worker_id") or report["pod_id"]
    assert (report["error_type"], worker) == ("<class 'ValueError'>", "w-1")


@pytest.mark.requirement("worker.auth.header")
def test_a_worker_with_a_key_of_its_own_is_let_in_by_the_one_in_its_urls(lab: Lab) -> None:
    lab.start("waiting", "ns.keyed", key_in_urls=True)
    assert lab.result("ns.keyed", reply="let in")["output"] == "let in"


@pytest.mark.requirement("worker.sdk.handlers", "worker.stream.order")
def test_a_generators_items_are_streamed_and_its_output_is_empty(streaming: Lab) -> None:
    endpoint, items = streaming.serve("generating"), ["a", {"b": [1]}, "a", "a", None]
    status = streaming.result(endpoint, reply=items)
    assert (status["status"], status["output"]) == ("COMPLETED", [])
    assert streaming.stream(endpoint, status["id"]) == items


@pytest.mark.requirement("platform.openai")
def test_a_generator_answers_in_openais_api_byte_for_byte(streaming: Lab) -> None:
    endpoint = streaming.serve("generating")
    texts = ['data: {"a": "caf\u00e9', '"}\n\ndata: {}\n', "\ndata: [DONE]\n\n"]
    assert streaming.openai(endpoint, stream=True, reply=texts) == "".join(texts).encode()
    assert json.loads(streaming.openai(endpoint, reply=[{"id": "c-1"}])) == {"id": "c-1"}


@pytest.mark.requirement("worker.sdk.handlers")
def test_a_generator_that_fails_keeps_what_it_streamed(streaming: Lab) -> None:
    streaming.register("ns.breaking", executionTimeoutMs=10_000)
    streaming.start("generating", "ns.breaking")
    status = streaming.result("ns.breaking", reply=[1], fail="broken")
    if streaming.able.reports_failed_generators:
        assert status["status"] == "FAILED"
        assert "broken" in status["error"]
    else:
        assert status["status"] == "TIMED_OUT", "its logger fails, and it says nothing any more of the job"
    assert streaming.stream("ns.breaking", status["id"]) == [1]


@pytest.mark.requirement("worker.sdk.handlers")
def test_an_aggregated_generators_items_are_the_output_too(streaming: Lab) -> None:
    endpoint = streaming.serve("aggregating")
    status = streaming.result(endpoint, reply=["x", "y"])
    assert (status["status"], status["output"]) == ("COMPLETED", ["x", "y"])
    assert streaming.stream(endpoint, status["id"]) == ["x", "y"]


@pytest.mark.requirement("worker.sdk.handlers")
def test_a_worker_runs_as_many_jobs_at_once_as_its_modifier_says(lab: Lab) -> None:
    if not lab.able.asynchronous:
        pytest.skip("this SDK runs one job at a time")
    lab.register("ns.concurrent")
    files = [lab.file(f"together-{n}") for n in range(3)]
    ids = [lab.run("ns.concurrent", begun=str(file), until=str(lab.file("together"))) for file in files]
    lab.serve("concurrent")
    until("three jobs run at once", lambda: all(file.exists() for file in files))
    assert lab.view("ns.concurrent")["running"] == 3
    lab.file("together").touch()
    assert {lab.outcome("ns.concurrent", id)["status"] for id in ids} == {"COMPLETED"}


@pytest.mark.requirement("worker.result.final")
def test_progress_that_comes_with_or_after_the_result_does_not_replace_it(progressing: Lab) -> None:
    endpoint = progressing.serve("concurrent")
    ids = [progressing.run(endpoint, progress="99 %", reply=n) for n in range(5)]
    outputs = [progressing.outcome(endpoint, id)["output"] for id in ids]
    progressing.result(endpoint, reply="another")
    assert outputs == [progressing.status(endpoint, id)["output"] for id in ids] == [0, 1, 2, 3, 4]


@pytest.mark.requirement("worker.progress")
def test_progress_is_seen_while_the_job_runs_and_gives_way_to_the_result(progressing: Lab) -> None:
    endpoint, go_on = progressing.serve("waiting"), progressing.file("progress")
    id = progressing.run(endpoint, progress="50 %", until=str(go_on), reply="done")
    until("progress is seen", lambda: progressing.status(endpoint, id).get("output") == "50 %")
    assert progressing.status(endpoint, id)["status"] == "IN_PROGRESS"
    go_on.touch()
    assert progressing.outcome(endpoint, id)["output"] == "done"


@pytest.mark.requirement("worker.result.bodies")
def test_a_returned_error_fails_the_job_and_keeps_what_was_returned_with_it(lab: Lab) -> None:
    status = lab.result(lab.serve("waiting"), reply={"error": "in part", "done": 3})
    assert (status["status"], status["error"]) == ("FAILED", "in part")
    assert status.get("output") == ({"done": 3} if lab.able.keeps_output_of_failures else None)


@pytest.mark.requirement("worker.result.lenient")
def test_numbers_that_json_does_not_have_become_null(lab: Lab) -> None:
    assert lab.result(lab.serve("waiting"), odd="nan")["output"] == [None, None]


@pytest.mark.requirement("worker.result.size")
def test_an_output_above_the_limit_fails_the_job_with_the_reason(lab: Lab) -> None:
    status = lab.result(lab.serve("waiting"), size=11 * 1024 * 1024)
    assert status["status"] == "FAILED"
    assert "the limit is 10485760" in status["error"]


@pytest.mark.requirement("worker.stop.decided", "worker.stop.once")
def test_a_cancelled_job_ends_at_once_and_the_worker_goes_on(lab: Lab) -> None:
    endpoint, begun, go_on = lab.serve("waiting"), lab.file("cancel-begun"), lab.file("cancel")
    id = lab.run(endpoint, begun=str(begun), until=str(go_on), reply="late")
    until("the job runs", begun.exists)
    assert lab.cancel(endpoint, id)["status"] == "CANCELLED"
    if lab.able.stops_jobs:
        until("the handler was stopped", lab.file("cancel.stopped").exists)
    else:
        go_on.touch()
    assert lab.result(endpoint, reply="next")["output"] == "next"
    assert lab.status(endpoint, id)["status"] == "CANCELLED"


@pytest.mark.requirement("worker.sdk.restart")
def test_a_job_goes_on_through_a_crash_of_the_gateway_and_runs_once(lab: Lab) -> None:
    endpoint, begun, go_on = lab.serve("waiting"), lab.file("crash-begun"), lab.file("crash")
    id = lab.run(endpoint, begun=str(begun), until=str(go_on), reply="delivered")
    until("the job runs", begun.exists)
    lab.gateway.kill()
    lab.gateway.start()
    until("the worker was heard of", lambda: (lab.view(endpoint) or {}).get("revision") == "1")
    go_on.touch()
    status = lab.outcome(endpoint, id)
    assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", "delivered", 0)


@pytest.mark.requirement("worker.sdk.restart", "worker.lost.idle")
def test_a_result_that_met_no_gateway_is_made_again(lab: Lab) -> None:
    endpoint, begun, go_on = lab.serve("waiting"), lab.file("lost-begun"), lab.file("lost")
    id = lab.run(endpoint, begun=str(begun), until=str(go_on), reply="again")
    until("the job runs", begun.exists)
    begun.unlink()
    lab.gateway.kill()
    go_on.touch()
    until("the SDK gives the result up", lambda: lab.able.gives_up in lab.newest.log)
    lab.gateway.start()
    until("the job runs again", begun.exists, seconds=END_SECONDS if lab.able.tells else END_SECONDS + LEASE_SECONDS)
    status = lab.outcome(endpoint, id)
    assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", "again", 1)


def test_a_result_that_cannot_be_sent_ends_the_job_instead_of_hanging(lab: Lab) -> None:
    lab.register("ns.once", maxAttempts=1)
    lab.start("waiting", "ns.once")
    status = lab.result("ns.once", odd="bytes")
    assert status["status"] == "FAILED"
    assert status["error"].startswith("worker lost 1 time")


@pytest.mark.requirement("worker.sdk.exit", "worker.job.attempt")
def test_a_handler_that_leaves_its_process_costs_one_attempt(lab: Lab) -> None:
    worker = lab.start("waiting", "ns.exit")
    id = lab.run("ns.exit", exit=3)
    assert worker.ended() != 0
    lab.start("waiting", "ns.exit")
    status = lab.outcome("ns.exit", id)
    assert (status["status"], status["retries"], status["output"]["id"]) == ("COMPLETED", 1, f"{id}-a2")


@pytest.mark.requirement("worker.refresh")
def test_a_returned_refresh_has_the_worker_replaced_after_its_result(lab: Lab) -> None:
    lab.start("waiting", "ns.fresh")
    status = lab.result("ns.fresh", reply={"refresh_worker": True, "done": 1})
    assert (status["status"], status["output"]) == ("COMPLETED", {"done": 1})
    view = lab.view("ns.fresh")
    assert (view["replace"], view["draining"], view["running"]) == (True, True, 0)
    id = lab.run("ns.fresh", reply="on another")
    lab.start("waiting", "ns.fresh", "w-2", beside=True)
    assert lab.outcome("ns.fresh", id)["workerId"] == "w-2"


@pytest.mark.requirement("worker.refresh")
def test_a_worker_that_refreshes_after_every_job_leaves_by_itself(lab: Lab) -> None:
    worker = lab.start("refreshing", "ns.refreshing")
    assert lab.result("ns.refreshing", reply="one")["output"] == "one"
    assert lab.view("ns.refreshing")["replace"]
    if lab.able.leaves:
        worker.ended()


@pytest.mark.requirement("worker.drain.finishes")
def test_a_worker_that_is_told_to_end_finishes_its_job_or_gives_it_to_the_next(lab: Lab) -> None:
    begun, go_on = lab.file("end-begun"), lab.file("end")
    worker = lab.start("waiting", "ns.end")
    id = lab.run("ns.end", begun=str(begun), until=str(go_on), reply="whole")
    until("the job runs", begun.exists)
    lab.operate("PUT", "ns.end/workers", {"workers": [lab.presence("w-1", "Terminating")]})
    worker.terminate()
    if not lab.able.graceful:
        worker.ended()
        lab.operate("PUT", "ns.end/workers", {"workers": [lab.presence("w-2", "Running")]})
        lab.start("waiting", "ns.end", "w-2")
    go_on.touch()
    status = lab.outcome("ns.end", id)
    retries = 0 if lab.able.graceful else 1
    assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", "whole", retries)
    if lab.able.graceful:
        assert worker.ended() == 0


@pytest.mark.requirement("worker.drain.released")
def test_an_idle_worker_that_was_drained_leaves_without_waiting_for_its_polls(lab: Lab) -> None:
    worker = lab.start("waiting", "ns.idle")
    assert lab.result("ns.idle", reply=1)["output"] == 1
    lab.operate("POST", "ns.idle/drain", {"workers": ["w-1"]})
    worker.terminate()
    assert worker.ended(seconds=10) == (0 if lab.able.graceful else -15)
