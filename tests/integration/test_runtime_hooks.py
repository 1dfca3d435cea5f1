"""A worker whose jobs come from functions in the configuration of `start`: what tests of hosted handlers do."""

from pathlib import Path

import pytest

from tests.support.scripted_gateway import ScriptedGateway
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.requirement("handler.hooks")

HOOKED = """
    import asyncio, os, signal
    import submodel.serverless

    waiting = [[{{"id": "a", "input": 1}}, {{"id": "b", "input": 2}}, "no job", {{"id": 5, "input": 0}}], None, []]
    wanted = []

    async def fetch(session, count):
        wanted.append(count)
        if waiting:
            return waiting.pop(0)
        {after}

    {handler}

    submodel.serverless.start({{"jobs_fetcher": fetch, "handler": handler, {more}}})
    print("after start", wanted[:1])
"""
LEAVE = "os.kill(os.getpid(), signal.SIGTERM)"
ECHO = "handler = lambda job: {'got': job['input']}"


def hooked(handler: str = ECHO, after: str = LEAVE, more: str = "") -> str:
    return HOOKED.format(handler=handler.strip().replace("\n", "\n    "), after=after, more=more)


def test_jobs_of_a_fetcher_are_run_until_a_signal_and_shown(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, hooked(), {}, module=False) as worker:
        assert worker.exit_code() == 0
    assert 'Job result: {"output": {"got": 1}}' in worker.log
    assert 'Job result: {"output": {"got": 2}}' in worker.log
    assert worker.log.count("jobs_fetcher gave something that is no job") == 2
    assert "after start [1]" in worker.log


def test_a_function_in_place_of_the_handler_gets_session_configuration_and_job(tmp_path: Path) -> None:
    handle = """
async def handle(session, config, job):
    print(type(session).__name__, config["mine"], job["id"], await config["handler"](job))
async def handler(job):
    if job["id"] == "b":
        raise ValueError("wrong")
    return job["input"]
"""
    source = hooked(handle, more='"jobs_handler": handle, "mine": 7')
    with WorkerProcess(tmp_path, source, {}, module=False) as worker:
        assert worker.exit_code() == 0
    assert "ClientSession 7 a 1" in worker.log or "NoneType 7 a 1" in worker.log, "the base install has no aiohttp"
    assert "Job a completed" not in worker.log
    assert "Job b failed with error: wrong" in worker.log


def test_a_job_that_the_stop_signals_name_is_cancelled_and_a_fetcher_that_hangs_or_fails_is_called_again(
    tmp_path: Path,
) -> None:
    handler = f"""
async def stops(session):
    return ["a", 3] if len(asked) > 2 else None
async def handler(job):
    if job["id"] == "b":
        return "ran beside it"
    try:
        await asyncio.Event().wait()
    finally:
        print(job["id"], "was stopped")
        {LEAVE}
asked = []
async def moody():
    asked.append(1)
    if len(asked) == 1:
        raise OSError("no line")
    await asyncio.Event().wait()
"""
    more = '"stop_signals_fetcher": stops, "concurrency_modifier": lambda now: 4, "jobs_fetcher_timeout": 0.01'
    source = hooked(handler, "await moody()", more)
    with WorkerProcess(tmp_path, source, {}, module=False) as worker:
        assert worker.exit_code() == 0
    assert "a was stopped" in worker.log
    assert "jobs_fetcher failed: OSError: no line" in worker.log
    assert "after start [4]" in worker.log


@pytest.mark.slow
def test_chunks_and_progress_are_shown_and_an_exit_keeps_its_code(tmp_path: Path) -> None:
    handler = """
def handler(job):
    submodel.serverless.progress_update(job, "half")
    yield job["input"]
    if job["id"] == "b":
        raise SystemExit(7)
"""
    with WorkerProcess(tmp_path, hooked(handler), {}, module=False) as worker:
        assert worker.exit_code() == 7
    for line in ('a | Progress: "half"', "a | Chunk: 1", 'Job result: {"output": []}', "Job b failed"):
        assert line in worker.log, worker.log


@pytest.mark.slow
def test_a_worker_that_refreshes_ends_after_one_job(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, hooked(more='"refresh_worker": True'), {}, module=False) as worker:
        assert worker.exit_code() == 0
    assert "Job a completed" in worker.log


@pytest.mark.slow
def test_where_there_is_a_platform_the_fetcher_is_not_asked(tmp_path: Path) -> None:
    with ScriptedGateway() as gateway:
        gateway.submit("of the gateway", 9)
        with WorkerProcess(tmp_path, hooked(), gateway.environment(), module=False) as worker:
            assert gateway.result("of the gateway")["output"] == {"got": 9}
            assert worker.terminate() == 0
    assert list(gateway.results) == ["of the gateway"]


def test_a_hook_that_is_no_function_is_said(tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, hooked(more='"jobs_handler": 3'), {}, module=False) as worker:
        assert worker.exit_code() == 1
    assert 'config["jobs_handler"] is int; pass a coroutine function' in worker.log
