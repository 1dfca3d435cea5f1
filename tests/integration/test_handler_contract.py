"""What a handler may do, row by row: every job ends with one definite answer, whoever the gateway is.

Each row runs in a worker that all rows share (no handler may leave it worse for the next), against the scripted
gateway, a real gateway, and a scripted hosted platform.
"""

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.scripted_gateway import ScriptedGateway
from tests.support.scripted_platform import ScriptedPlatform
from tests.support.worker_process import WorkerProcess

HANDLERS = """
    import asyncio, dataclasses, datetime, decimal, enum, functools, math, os, pathlib, uuid
    import msgspec
    import submodel

    @dataclasses.dataclass
    class Point:
        x: int
        y: object = None

    class Colour(enum.Enum):
        RED = "red"

    class NumpyScalar:
        def tolist(self): return 1.5

    class NumpyArray:
        def __init__(self, *rows): self.rows = rows
        def tolist(self): return list(self.rows)

    class Pydantic:
        def model_dump(self, mode): return {"mode": mode, "name": "n"}

    class Hostile:
        def __str__(self): raise RuntimeError("no text")
        def __repr__(self): raise RuntimeError("no text")

    class HostileError(Exception):
        def __str__(self): raise RuntimeError("no text")

    class Pages:
        def __init__(self): self.left = [1, 2]
        def __aiter__(self): return self
        async def __anext__(self):
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    CONSTANT = {"error": "again", "kept": 1}
    LOOP = []
    LOOP.append(LOOP)

    def returns(value): return lambda job: value
    def raises(error):
        def handler(job): raise error
        return handler
    def yields(*values):
        def handler(job): yield from values
        return handler
    def vandal(change):
        def handler(job):
            change(job)
            return "done"
        return handler
    def deep(levels):
        value = []
        for _ in range(levels):
            value = [value]
        return value
    async def coroutine(job): return "awaited"
    async def of_generator(job): return yields(1, 2)(job)
    async def async_generator(job):
        yield 1
        yield 2
    async def async_raises(job):
        yield 1
        raise ValueError("late")
    def generator_raises(job):
        yield 1
        raise ValueError("late")
    def closes_badly(job):
        try:
            yield 1
            yield {"error": {"code": 5}}
        finally:
            raise ValueError("in the end")
    async def async_closes_badly(job):
        try:
            yield 1
            yield {"error": {"code": 5}}
        finally:
            raise ValueError("in the end")
    def generator_returns(job):
        yield 1
        return 5
    class CallableGenerator:
        def __call__(self, job):
            yield 1
            yield 2
    class CallableCoroutine:
        async def __call__(self, job): return "awaited"
    async def leaks_cancel(job):
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task
    async def cancels_itself(job):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)
    async def swallows(job):
        asyncio.current_task().cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return "swallowed"
    async def stops_group(job):
        async def fails(): raise KeyError("inner")
        await asyncio.gather(fails(), asyncio.sleep(10))
    def nested_loop(job): return asyncio.run(coroutine(job))
    def recursion(job): return recursion(job)

    UUID = uuid.UUID(int=5)
    KINDS = {
        "text": returns("t"), "number": returns(2.5), "list": returns([1, [2]]), "tuple": returns((1, (2,))),
        "none": returns(None), "false": returns(False), "zero": returns(0), "empty text": returns(""),
        "empty list": returns([]), "empty dict": returns({}),
        "output key": returns({"output": 1}), "status key": returns({"status": "IN_PROGRESS", "output": 1}),
        "error": returns({"error": "no", "kept": 1}), "error alone": returns({"error": "no"}),
        "error object": returns({"error": {"code": 5}}), "falsy error": returns({"error": "", "kept": 1}),
        "no error": returns({"error": None, "kept": 1}), "no error alone": returns({"error": None}),
        "no refresh": returns({"refresh_worker": False, "kept": 1}),
        "constant error": returns(CONSTANT),
        "nan": returns([math.nan, math.inf, -math.inf]), "surrogate": returns("a" + chr(0xD800)),
        "keys": returns({2: "a", None: "b", True: "c", UUID: "d"}),
        "dataclass": returns(Point(1, Point(2))), "enum": returns(Colour.RED), "path": returns(pathlib.Path("/x")),
        "datetime": returns(datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc)),
        "date": returns(datetime.date(2026, 1, 2)), "uuid": returns(UUID), "decimal": returns(decimal.Decimal("1.10")),
        "set": returns({7}), "range": returns(range(3)), "numpy scalar": returns(NumpyScalar()),
        "numpy array": returns({"a": NumpyArray(1, NumpyScalar())}), "pydantic": returns([Pydantic()]),
        "not awaited": lambda job: {"a": coroutine(job)}, "bytes": returns({"images": ["", b"png"]}),
        "object": returns({"a": [object()]}), "class": returns([Point]),
        "function": returns({"f": len}), "hostile": returns([Hostile()]), "loop": returns(LOOP),
        "bad key": returns({(1, 2): 3}), "endless number": returns({"n": [10**5000]}), "deep": returns(deep(100_000)),
        "large": returns("x" * (21 * 1024 * 1024)),
        "raises": raises(ValueError("wrong")), "raises unnamed": raises(HostileError()),
        "raises cancel": raises(asyncio.CancelledError()), "raises generator exit": raises(GeneratorExit()),
        "raises stop": raises(StopIteration(3)), "raises base": raises(BaseException("bare")),
        "raises memory": raises(MemoryError()), "recursion": recursion,
        "leaks cancel": leaks_cancel, "cancels itself": cancels_itself, "swallows": swallows,
        "stops group": stops_group, "nested loop": nested_loop, "wrong arguments": lambda: 1,
        "no id": vandal(lambda job: job.pop("id")), "other id": vandal(lambda job: job.update(id=[])),
        "cleared": vandal(dict.clear), "self key": vandal(lambda job: job.update({"self": 1})),
        "coroutine": coroutine, "awaitable": lambda job: asyncio.ensure_future(coroutine(job)),
        "partial": functools.partial(coroutine), "callable coroutine": CallableCoroutine(),
        "generator": yields(1, 2), "generator by value": lambda job: yields(1, 2)(job),
        "coroutine of generator": of_generator, "async generator": async_generator,
        "async generator by value": lambda job: async_generator(job),
        "partial generator": functools.partial(async_generator), "callable generator": CallableGenerator(),
        "iterator": lambda job: map(abs, [-1, -2]), "async iterator": lambda job: Pages(),
        "empty generator": yields(), "generator returns": generator_returns, "generator raises": generator_raises,
        "async raises": async_raises, "yields error": yields(1, {"error": {"code": 5}}, 2),
        "yields falsy error": yields({"error": None}), "yields bytes": yields(1, {"a": [b"x"]}, 2),
        "yields refresh": yields({"refresh_worker": True}), "yields nan": yields(math.nan),
        "yields large": yields(1, "x" * (2 * 1024 * 1024)),
        "closes badly": closes_badly, "async closes badly": async_closes_badly,
    }

    def handler(job):
        return KINDS[job["input"]](job)

    submodel.serverless.start({"handler": handler, "unknown": 1})
"""
AGGREGATED = HANDLERS.replace('"unknown": 1', '"return_aggregate_stream": True')

NO_OUTPUT = object()
COUNT = itertools.count(1)

VALUES = {
    "text": "t",
    "number": 2.5,
    "list": [1, [2]],
    "tuple": [1, [2]],
    "none": None,
    "false": False,
    "zero": 0,
    "empty text": "",
    "empty list": [],
    "empty dict": NO_OUTPUT,
    "output key": {"output": 1},
    "status key": {"status": "IN_PROGRESS", "output": 1},
    "falsy error": {"kept": 1},
    "no error": {"kept": 1},
    "no error alone": NO_OUTPUT,
    "no refresh": {"kept": 1},
    "nan": [None, None, None],
    "surrogate": "a\ufffd",
    "keys": {"2": "a", "null": "b", "true": "c", "00000000-0000-0000-0000-000000000005": "d"},
    "dataclass": {"x": 1, "y": {"x": 2, "y": None}},
    "enum": "red",
    "path": "/x",
    "datetime": "2026-01-02T00:00:00+00:00",
    "date": "2026-01-02",
    "uuid": "00000000-0000-0000-0000-000000000005",
    "decimal": "1.10",
    "set": [7],
    "range": [0, 1, 2],
    "numpy scalar": 1.5,
    "numpy array": {"a": [1, 1.5]},
    "pydantic": [{"mode": "json", "name": "n"}],
    "swallows": "swallowed",
    "no id": "done",
    "other id": "done",
    "cleared": "done",
    "self key": "done",
    "coroutine": "awaited",
    "awaitable": "awaited",
    "partial": "awaited",
    "callable coroutine": "awaited",
}

FAILURES = {
    "error": "no",
    "error alone": "no",
    "error object": '{"code":5}',
    "bytes": "output.images[1]: bytes cannot be sent as JSON",
    "not awaited": "output.a: coroutine cannot be sent as JSON; await it in an `async def` handler",
    "object": "output.a[0]: object cannot be sent as JSON",
    "class": "output[0]: type cannot be sent as JSON",
    "function": "output.f: builtin_function_or_method cannot be sent as JSON",
    "hostile": "output[0]: __main__.Hostile cannot be sent as JSON",
    "loop": "output[0]: the value contains itself",
    "bad key": "output: a key is of type tuple",
    "endless number": "output.n[0]: the number has too many digits to be sent as JSON",
    "deep": "output: nested too deeply",
    "large": "output: 21.0 MiB is more than the limit of 20 MiB",
}

EXCEPTIONS = {
    "raises": ("ValueError", "wrong"),
    "raises unnamed": ("HostileError", "text could not be made"),
    "raises cancel": ("CancelledError", ""),
    "raises generator exit": ("GeneratorExit", ""),
    "raises stop": ("RuntimeError", "StopIteration"),
    "raises base": ("BaseException", "bare"),
    "raises memory": ("MemoryError", ""),
    "recursion": ("RecursionError", "maximum recursion depth"),
    "leaks cancel": ("CancelledError", ""),
    "cancels itself": ("CancelledError", ""),
    "stops group": ("KeyError", "inner"),
    "nested loop": ("RuntimeError", "asyncio.run() cannot be called"),
    "wrong arguments": ("TypeError", "positional argument"),
}

STREAMS: dict[str, tuple[list[Any], str | None]] = {
    "generator": ([1, 2], None),
    "generator by value": ([1, 2], None),
    "coroutine of generator": ([1, 2], None),
    "async generator": ([1, 2], None),
    "async generator by value": ([1, 2], None),
    "partial generator": ([1, 2], None),
    "callable generator": ([1, 2], None),
    "iterator": ([1, 2], None),
    "async iterator": ([1, 2], None),
    "empty generator": ([], None),
    "generator returns": ([1], None),
    "generator raises": ([1], "handler: late \ntraceback: Traceback (most recent call last):\n"),
    "async raises": ([1], "handler: late \ntraceback: Traceback (most recent call last):\n"),
    "yields error": ([1], '{"code":5}'),
    "yields falsy error": ([{"error": None}], None),
    "closes badly": ([1], '{"code":5}'),
    "async closes badly": ([1], '{"code":5}'),
    "yields bytes": ([1], "stream[1].a[0]: bytes cannot be sent as JSON"),
    "yields refresh": ([{"refresh_worker": True}], None),
    "yields nan": ([None], None),
    "yields large": ([1], "stream[1]: 2.0 MiB is more than the limit of 1 MiB"),
}

Run = Callable[[str], dict[str, Any]]
"""Runs one row; gives `output` (missing when there is none), `error` and `stream`."""


def on_scripted(gateway: ScriptedGateway) -> Run:
    def run(kind: str) -> dict[str, Any]:
        id = f"{kind} {next(COUNT)}"
        gateway.submit(id, kind)
        result = gateway.result(id)
        return {**result, "stream": gateway.chunks.get(id, [])}

    return run


def on_real(gateway: GatewayProcess) -> Run:
    def run(kind: str) -> dict[str, Any]:
        status = gateway.call("POST", "e/runsync?wait=20000", {"input": kind})
        assert status["status"] in ("COMPLETED", "FAILED"), status
        chunks = gateway.call("GET", f"e/stream/{status['id']}?offset=0").get("stream", [])
        return {**status, "stream": [item["output"] for item in chunks]}

    return run


def on_platform(platform: ScriptedPlatform) -> Run:
    def run(kind: str) -> dict[str, Any]:
        id = f"{kind} {next(COUNT)}"
        platform.submit(id, kind)
        result = platform.result(id)
        return {**result, "stream": platform.chunks.get(id, [])}

    return run


GATEWAYS = [
    "real gateway",
    pytest.param("scripted gateway", marks=pytest.mark.slow),
    pytest.param("hosted platform", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=GATEWAYS)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with running(request.param, tmp_path_factory.mktemp("worker"), HANDLERS) as run:
        yield run


@pytest.fixture(scope="module", params=GATEWAYS)
def run_aggregated(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The same with `return_aggregate_stream`."""
    with running(request.param, tmp_path_factory.mktemp("worker"), AGGREGATED) as run:
        yield run


@contextmanager
def running(place: str, folder: Path, handlers: str) -> Iterator[Run]:
    scripted: ScriptedGateway | ScriptedPlatform | GatewayProcess
    if place == "scripted gateway":
        with ScriptedGateway() as scripted, WorkerProcess(folder, handlers, scripted.environment()) as worker:
            yield on_scripted(scripted)
            assert scripted.lost == []
            assert worker.terminate() == 0, worker.log
    elif place == "real gateway":
        with GatewayProcess(folder) as scripted:
            scripted.register("e")
            with WorkerProcess(folder, handlers, scripted.environment("e")) as worker:
                yield on_real(scripted)
                assert worker.terminate() == 0, worker.log
    else:
        with ScriptedPlatform() as scripted, WorkerProcess(folder, handlers, scripted.environment()) as worker:
            yield on_platform(scripted)
            worker.terminate()


@pytest.mark.requirement("handler.value")
@pytest.mark.parametrize("kind", VALUES)
def test_a_value_completes_the_job_in_its_known_shape(run: Run, kind: str) -> None:
    result = run(kind)
    assert result.get("error") is None
    assert result.get("output", NO_OUTPUT) == VALUES[kind]
    assert result["stream"] == []


@pytest.mark.requirement("handler.unsendable", "handler.error")
@pytest.mark.parametrize("kind", FAILURES)
def test_what_cannot_be_an_output_fails_the_job_with_a_sentence(run: Run, kind: str) -> None:
    assert run(kind)["error"].startswith(FAILURES[kind])


@pytest.mark.requirement("handler.error")
@pytest.mark.parametrize("kind", ["error", "error alone", "error object", "bytes", "large"])
def test_a_failed_job_has_the_rest_of_what_was_returned_as_its_output_and_else_none(run: Run, kind: str) -> None:
    assert run(kind).get("output", NO_OUTPUT) == ({"kept": 1} if kind == "error" else NO_OUTPUT)


@pytest.mark.requirement("handler.error")
def test_a_returned_error_keeps_the_rest_also_the_second_time(run: Run) -> None:
    for _ in range(2):
        result = run("constant error")
        assert (result["error"], result["output"]) == ("again", {"kept": 1})


@pytest.mark.requirement("handler.exception")
@pytest.mark.parametrize("kind", EXCEPTIONS)
def test_an_exception_fails_the_job_with_a_report(run: Run, kind: str) -> None:
    error_type, message = EXCEPTIONS[kind]
    text = run(kind)["error"]
    report = json.loads(text)
    assert text.isascii()
    assert list(report) == [
        "error_type",
        "error_message",
        "error_traceback",
        "hostname",
        "worker_id",
        "runpod_version",
        "submodel_version",
    ]
    assert error_type in report["error_type"]
    assert message in report["error_message"]
    assert report["worker_id"] == "w-1"


@pytest.mark.requirement("handler.generator", "handler.generator.value", "handler.generator.error")
@pytest.mark.parametrize("kind", STREAMS)
def test_a_generator_streams_and_ends_with_a_definite_answer(run: Run, kind: str) -> None:
    chunks, failure = STREAMS[kind]
    result = run(kind)
    assert result["stream"] == chunks
    if failure is None:
        assert (result.get("error"), result["output"]) == (None, [])
    else:
        assert failure in result["error"]
        assert "output" not in result


@pytest.mark.requirement("handler.generator", "handler.generator.error")
@pytest.mark.parametrize("kind", STREAMS)
def test_an_aggregated_generator_has_its_items_as_output_and_a_failed_one_has_none(
    run_aggregated: Run, kind: str
) -> None:
    chunks, failure = STREAMS[kind]
    result = run_aggregated(kind)
    assert result["stream"] == chunks
    if failure is None:
        assert (result.get("error"), result["output"]) == (None, chunks)
    else:
        assert failure in result["error"]
        assert "output" not in result
