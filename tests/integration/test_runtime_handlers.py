"""Every kind of handler, in a real worker process, over the wire."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.scripted_gateway import ScriptedGateway
from tests.support.worker_process import WorkerProcess

KINDS = """
    import asyncio, contextlib, functools, os, signal, sqlite3, sys, threading
    import submodel

    database = sqlite3.connect(":memory:")

    def plain(job): return job["input"]["value"]
    def scale(job, factor): return job["input"]["value"] * factor
    async def coroutine(job):
        await asyncio.sleep(0)
        return {"got": job["input"]["value"]}
    class Callable:
        def __call__(self, job): return "called"
    class AsyncCallable:
        async def __call__(self, job): return "awaited"
    def generator(job): yield from ["a", {"b": 1}, None]
    async def async_generator(job):
        for value in ["a", {"b": 1}, None]:
            yield value
    def wrapper(job): return generator(job)
    def late_coroutine(job): return coroutine(job)
    async def coroutine_of_generator(job): return generator(job)
    def surroundings(job):
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        return {
            "loop": asyncio.get_running_loop().is_running(),
            "main": threading.current_thread() is threading.main_thread(),
            "rows": database.execute("select 7").fetchone(),
            "switch": sys.getswitchinterval(),
            "argv": [os.path.basename(item) for item in sys.argv],
            "path": sys.path[0] == os.path.dirname(os.path.abspath(__file__)),
            "name": __name__,
        }
    def job_dict(job): return dict(job)
    def vandal(job):
        job.clear()
        return "done"
    def raises(job): raise ValueError("wrong " + job["input"]["value"])
    def returns_error(job): return {"error": "no", "partial": 1}
    def cancelled(job): raise asyncio.CancelledError
    async def leaks_cancelled(job):
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task
    def unencodable(job): return {"images": ["", "", b"png"]}
    def generator_error(job):
        yield 1
        yield {"error": {"code": 5}}
        yield 2
    def generator_raises(job):
        yield 1
        raise ValueError("late")
    async def async_generator_raises(job):
        yield 1
        raise ValueError("late")
    def generator_unencodable(job):
        yield 1
        yield {1, (2, b"x")}
    def progress(job):
        submodel.serverless.progress_update(job, {"percent": 50})
        return "done"
    def bad_progress(job):
        submodel.serverless.progress_update(job, b"x")

    handlers = {
        **globals(),
        "partial": functools.partial(scale, factor=3),
        "lambda": lambda job: coroutine(job),
        "callable": Callable(),
        "async_callable": AsyncCallable(),
    }
    def handler(job):
        return handlers[job["input"]["kind"]](job)
"""

Run = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def gateway() -> Iterator[ScriptedGateway]:
    with ScriptedGateway() as gateway:
        yield gateway


@pytest.fixture(scope="module")
def run(gateway: ScriptedGateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Run one job on a worker that all tests share: no handler may leave it worse for the next."""
    source = KINDS + '    submodel.serverless.start({"handler": handler, "unknown": 1})\n'
    jobs = iter(range(1000))

    def run(kind: str, value: Any = "v", **extra: Any) -> dict[str, Any]:
        job_id = f"{kind}-{next(jobs)}"
        gateway.submit(job_id, {"kind": kind, "value": value}, **extra)
        result = gateway.result(job_id)
        return {**result, "stream": gateway.chunks.get(job_id, []), "progress": gateway.progress.get(job_id)}

    with WorkerProcess(tmp_path_factory.mktemp("worker"), source, gateway.environment()) as worker:
        yield run
        assert worker.terminate() == 0, worker.log
    assert gateway.lost == []


@pytest.mark.requirement("handler.value")
@pytest.mark.parametrize(
    ("kind", "output"),
    [
        ("plain", "v"),
        ("partial", "vvv"),
        ("lambda", {"got": "v"}),
        ("coroutine", {"got": "v"}),
        ("callable", "called"),
        ("async_callable", "awaited"),
        ("late_coroutine", {"got": "v"}),
        ("vandal", "done"),
    ],
)
def test_any_callable_completes_with_its_value(run: Run, kind: str, output: object) -> None:
    result = run(kind)
    assert (result["output"], result.get("error")) == (output, None)


@pytest.mark.requirement("handler.generator", "handler.generator.value")
@pytest.mark.parametrize("kind", ["generator", "async_generator", "wrapper", "coroutine_of_generator"])
def test_any_generator_streams_and_completes(run: Run, kind: str) -> None:
    result = run(kind)
    assert (result["stream"], result["output"], result.get("error")) == (["a", {"b": 1}, None], [], None)


@pytest.mark.requirement("handler.thread")
def test_a_handler_runs_in_the_main_thread_with_a_loop_as_if_its_file_was_run_alone(run: Run) -> None:
    assert run("surroundings")["output"] == {
        "loop": True,
        "main": True,
        "rows": [7],
        "switch": 0.001,
        "argv": ["handler.py"],
        "path": True,
        "name": "__main__",
    }


@pytest.mark.slow
def test_an_interval_between_threads_that_the_handlers_file_has_set_stays(tmp_path: Path) -> None:
    source = """
        import sys, submodel
        sys.setswitchinterval(0.02)
        submodel.serverless.start({"handler": lambda job: sys.getswitchinterval()})
    """
    with ScriptedGateway() as own, WorkerProcess(tmp_path, source, own.environment()) as worker:
        own.submit("a")
        assert own.result("a")["output"] == 0.02
        assert worker.terminate() == 0


def test_the_job_has_its_id_its_input_and_the_other_fields_of_the_request(run: Run) -> None:
    output = run("job_dict", webhook="http://x")["output"]
    assert output == {"id": output["id"], "input": {"kind": "job_dict", "value": "v"}, "webhook": "http://x"}


def test_an_exception_fails_the_job_with_its_report(run: Run) -> None:
    result = run("raises", "turn")
    report = json.loads(result["error"])
    assert "output" not in result
    assert (report["error_type"], report["error_message"]) == ("<class 'ValueError'>", "wrong turn")
    assert report["worker_id"] == "w-1"
    assert "in raises" in report["error_traceback"]


def test_a_returned_error_fails_the_job_and_keeps_the_rest(run: Run) -> None:
    result = run("returns_error")
    assert (result["error"], result["output"]) == ("no", {"partial": 1})


@pytest.mark.parametrize("kind", ["cancelled", "leaks_cancelled"])
def test_a_leaked_cancellation_fails_the_job(run: Run, kind: str) -> None:
    assert "CancelledError" in json.loads(run(kind)["error"])["error_type"]


def test_an_output_that_json_cannot_hold_fails_with_its_path(run: Run) -> None:
    text = "output.images[2]: bytes cannot be sent as JSON; encode it, for example with base64"
    assert run("unencodable")["error"] == text


def test_a_yielded_error_ends_the_job_there(run: Run) -> None:
    result = run("generator_error")
    assert (result["stream"], result["error"]) == ([1], '{"code":5}')


@pytest.mark.requirement("handler.generator.error")
@pytest.mark.parametrize("kind", ["generator_raises", "async_generator_raises"])
def test_a_generator_that_raises_keeps_the_chunks_before(run: Run, kind: str) -> None:
    result = run(kind)
    assert result["stream"] == [1]
    assert result["error"].startswith("handler: late \ntraceback: Traceback (most recent call last):\n")
    assert result["error"].endswith("ValueError: late\n")


def test_a_chunk_that_json_cannot_hold_fails_the_job(run: Run) -> None:
    result = run("generator_unencodable")
    assert result["stream"] == [1]
    assert "bytes cannot be sent as JSON" in result["error"]


@pytest.mark.requirement("handler.progress")
def test_progress_is_published(run: Run) -> None:
    result = run("progress")
    assert result["output"] == "done"
    assert result["progress"] in ({"percent": 50}, None), "the result may overtake it"


def test_progress_that_json_cannot_hold_fails_where_it_is_called(run: Run) -> None:
    report = json.loads(run("bad_progress")["error"])
    assert report["error_message"].startswith("progress: bytes cannot be sent as JSON")


def test_large_numbers_and_any_text_come_back_unchanged(run: Run) -> None:
    value = {"n": 2**70, "text": "naïve \u2028 😀", "nested": [[{}]]}
    assert run("plain", value)["output"] == value


@pytest.mark.requirement("handler.generator")
def test_chunks_are_collected_when_asked_for(tmp_path: Path) -> None:
    source = KINDS + '    submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})\n'
    with ScriptedGateway() as own, WorkerProcess(tmp_path, source, own.environment(), module=False) as worker:
        own.submit("a", {"kind": "async_generator"})
        assert own.result("a")["output"] == ["a", {"b": 1}, None]
        assert own.chunks["a"] == ["a", {"b": 1}, None]
        own.submit("b", {"kind": "generator_error"})
        assert "output" not in own.result("b")
        assert worker.terminate() == 0
