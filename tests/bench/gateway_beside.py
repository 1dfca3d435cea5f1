"""What a gateway bears beside its requests: idle workers, streams, and large results."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from statistics import median

from tests.bench.beside import percentile
from tests.bench.engines import Engine
from tests.bench.event_lines import EventLine
from tests.bench.gateway_rates import BODY
from tests.bench.http_lines import Line, ask_all, lines, request
from tests.bench.places import ENDPOINT, STREAMING, WORKER_TOKEN, gateway, publisher, ready
from tests.bench.table import Bounds, Row

POLLS = 1_000
IDLE_SECONDS = 45.0
"""Longer than two holds of a poll."""

STREAMS = 200
CHUNKS = 1_000
PER_SECOND = 50
"""Items of one stream."""

DAWDLERS = 2_000
SMALL_CLIENTS = 64
SMALL_REQUESTS = 8_000
SMALL = request("POST", f"/v2/{ENDPOINT}/runsync", BODY)


async def idle(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Workers that ask for jobs, and there are none."""
    del rounds
    with engine.place() as store, gateway(store, 0) as place:
        before = place.resident_mb()
        async with lines(place.port, POLLS) as opened:
            polls = [asyncio.create_task(_poll(line, number)) for number, line in enumerate(opened)]
            while await asyncio.to_thread(ready, place.port) < POLLS:
                continue
            used, started = place.cpu_seconds(), time.perf_counter()
            await asyncio.sleep(max(22.0, IDLE_SECONDS * factor))  # noqa: TID251  # idleness is what is measured
            share = 100 * (place.cpu_seconds() - used) / (time.perf_counter() - started)
            figure = place.resident_mb()
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)
    return [
        Row(f"memory of a gateway with {POLLS:,} idle polls", figure, "MB", Bounds(150, 300, most=True)),
        Row("the same without them", before, "MB"),
        Row(f"a core's share for {POLLS:,} idle polls", share, "%", Bounds(2, 2, most=True)),
    ]


async def streams(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Readers of as many streams, from the yield in a handler to the reader's hands; all of it in order."""
    del rounds
    chunks = int(CHUNKS * factor)
    return [*await _streams(engine, chunks, _events, "by events"), *await _streams(engine, chunks, _polls, "by polls")]


async def _streams(
    engine: Engine, chunks: int, read: Callable[[int, bytes, int], Awaitable[list[float]]], how: str
) -> list[Row]:
    asked = request("POST", f"/v2/{ENDPOINT}/run", json.dumps({"input": [chunks, 1 / PER_SECOND]}).encode())
    with engine.place() as store, gateway(store, 1, STREAMING, STREAMS) as place:
        started, used, workers = time.perf_counter(), place.cpu_seconds(), place.workers_cpu_seconds()
        load = time.process_time()
        delays = await asyncio.gather(*(read(place.port, asked, chunks) for _ in range(STREAMS)))
        seconds = time.perf_counter() - started
        used, workers = place.cpu_seconds() - used, place.workers_cpu_seconds() - workers
        load = time.process_time() - load
    flat = [delay for each in delays for delay in each]
    bounds = Bounds(50, 50, most=True) if read is _events else None
    return [
        Row(f"items of {STREAMS} streams, read {how}", len(flat) / seconds, "/s"),
        Row("p50 of an item, from handler to reader", percentile(flat, 0.5), "ms"),
        Row("p99 of an item, from handler to reader", percentile(flat, 0.99), "ms", bounds),
        Row("a core's share meanwhile: gateway", 100 * used / seconds, "%"),
        Row("a core's share meanwhile: worker", 100 * workers / seconds, "%"),
        Row("a core's share meanwhile: readers", 100 * load / seconds, "%"),
    ]


async def large(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Small jobs beside somebody who has results of 20 MB made and reads them."""
    seconds: list[float] = []

    @asynccontextmanager
    async def publishing(port: int) -> AsyncIterator[None]:
        with publisher(port) as each:
            yield
        seconds.extend(each)

    return [
        await _small_jobs(engine, rounds, factor, "results of 20 MB", Bounds(3, 3, most=True), publishing),
        Row("a result of 20 MB, from request to answer", 1_000 * median(seconds), "ms"),
    ]


async def slow(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Small jobs beside connections that begin a request and never come to its end."""

    @asynccontextmanager
    async def dawdling(port: int) -> AsyncIterator[None]:
        async with lines(port, DAWDLERS) as opened:
            for number, line in enumerate(opened):
                line.send(SMALL[: 1 + number % (len(SMALL) - 1)], _unexpected)
            yield

    bounds = Bounds(1.5, 2, most=True)
    return [await _small_jobs(engine, rounds, factor, f"{DAWDLERS:,} slow connections", bounds, dawdling)]


async def _small_jobs(
    engine: Engine,
    rounds: int,
    factor: float,
    beside_what: str,
    bounds: Bounds,
    crowd: Callable[[int], AbstractAsyncContextManager[None]],
) -> Row:
    """The p99 of small jobs while `crowd` is at the gateway's port, beside that without."""
    alone: list[float] = []
    beside: list[float] = []
    requests = int(SMALL_REQUESTS * factor)
    for _ in range(rounds):
        with engine.place() as store, gateway(store, 1, beside=True) as place:
            async with lines(place.port, SMALL_CLIENTS) as opened:
                await ask_all(opened, requests // 4, SMALL, _completed)
                alone.append(percentile(await ask_all(opened, requests, SMALL, _completed), 0.99))
                async with crowd(place.port):
                    beside.append(percentile(await ask_all(opened, requests, SMALL, _completed), 0.99))
    name = f"p99 of /runsync, {SMALL_CLIENTS} clients, beside {beside_what}"
    return Row(name, 1_000 * median(beside), "ms", bounds, 1_000 * median(alone))


def _unexpected(status: int, body: bytes) -> None:
    raise AssertionError(f"a request without an end was answered with {status}")


async def _poll(line: Line, number: int) -> None:
    for asked in count():
        path = f"/v2/{ENDPOINT}/job-take/w-{number}?job_in_progress=0&n={asked}"
        status, _ = await line.ask(request("GET", path, Authorization=WORKER_TOKEN))
        assert status == 204, status


async def _events(port: int, asked: bytes, chunks: int) -> list[float]:
    """Milliseconds of each item of a new job, for a reader of its events."""
    path = f"/v2/{ENDPOINT}/stream/{await _new_job(port, asked)}"
    line = await EventLine.open(port, request("GET", path, Accept="text/event-stream"))
    await line.ended
    assert len(line.delays) == chunks, len(line.delays)
    return line.delays


async def _polls(port: int, asked: bytes, chunks: int) -> list[float]:
    """The same for a reader that asks again and again."""
    id = await _new_job(port, asked)
    delays: list[float] = []
    async with lines(port, 1) as (line,):
        while len(delays) < chunks:
            status, body = await line.ask(request("GET", f"/v2/{ENDPOINT}/stream/{id}?wait=20000&offset={len(delays)}"))
            now = time.monotonic()
            assert status == 200, body
            for item in json.loads(body)["stream"]:
                number, sent = item["output"]
                assert number == len(delays), "out of order"
                delays.append(1_000 * (now - sent))
    return delays


async def _new_job(port: int, asked: bytes) -> str:
    async with lines(port, 1) as (line,):
        _, body = await line.ask(asked)
    id: str = json.loads(body)["id"]
    return id


def _completed(body: bytes) -> bool:
    return b'"COMPLETED"' in body[:300]
