"""What a gateway bears beside its requests: idle workers, streams, and large results."""

import asyncio
import json
import time
from itertools import count
from statistics import median

from tests.bench.beside import percentile
from tests.bench.engines import Engine
from tests.bench.gateway_rates import BODY
from tests.bench.http_lines import Line, ask_all, lines, request
from tests.bench.places import BESIDE, ENDPOINT, STREAMING, WORKER_TOKEN, gateway
from tests.bench.table import Bounds, Row

POLLS = 1_000
IDLE_SECONDS = 45.0
"""Longer than two holds of a poll."""

STREAMS = 200
CHUNKS = 1_000
PER_SECOND = 50
"""Items of one stream."""

SMALL_CLIENTS = 64
SMALL_REQUESTS = 8_000
LARGE_BYTES = 20 * 1024 * 1024 - 2


async def idle(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Workers that ask for jobs, and there are none."""
    del rounds
    with engine.place() as store, gateway(store, 0) as place:
        before = place.resident_mb()
        async with lines(place.port, POLLS) as opened:
            polls = [asyncio.create_task(_poll(line, number)) for number, line in enumerate(opened)]
            await asyncio.sleep(2)  # noqa: TID251  # until all of them are held
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
    with engine.place() as store, gateway(store, 1, STREAMING, STREAMS) as place:
        async with lines(place.port, STREAMS) as opened:
            started, used = time.perf_counter(), place.cpu_seconds()
            asked = request("POST", f"/v2/{ENDPOINT}/run", json.dumps({"input": [chunks, 1 / PER_SECOND]}).encode())
            delays = await asyncio.gather(*(_read(line, asked, chunks) for line in opened))
            seconds = time.perf_counter() - started
            share = 100 * (place.cpu_seconds() - used) / seconds
    flat = [delay for each in delays for delay in each]
    return [
        Row(f"items of {STREAMS} streams", len(flat) / seconds, "/s"),
        Row("p50 of an item, from handler to reader", percentile(flat, 0.5), "ms"),
        Row("p99 of an item, from handler to reader", percentile(flat, 0.99), "ms", Bounds(50, 50, most=True)),
        Row("a core's share meanwhile", share, "%"),
    ]


async def large(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Small jobs beside somebody who has results of 20 MB made and reads them."""
    small = request("POST", f"/v2/{ENDPOINT}/runsync", BODY)
    big = request("POST", f"/v2/{BESIDE}/runsync", json.dumps({"input": {"size": LARGE_BYTES}}).encode())
    alone, beside, seconds = [], [], []
    requests = int(SMALL_REQUESTS * factor)
    for _ in range(rounds):
        with engine.place() as store, gateway(store, 1, beside=True) as place:
            async with lines(place.port, SMALL_CLIENTS) as opened:
                await ask_all(opened, requests // 4, lambda line: _completed(line, small))
                alone.append(percentile(await ask_all(opened, requests, lambda line: _completed(line, small)), 0.99))
                over = asyncio.Event()

                async def publish(port: int = place.port, over: asyncio.Event = over) -> None:
                    async with lines(port, 1) as (line,):
                        while not over.is_set():
                            started = time.perf_counter()
                            assert len(await _completed(line, big)) > LARGE_BYTES
                            seconds.append(time.perf_counter() - started)

                publisher = asyncio.create_task(publish())
                beside.append(percentile(await ask_all(opened, requests, lambda line: _completed(line, small)), 0.99))
                over.set()
                await publisher
    return [
        Row(
            f"p99 of /runsync, {SMALL_CLIENTS} clients, beside results of 20 MB",
            1_000 * median(beside),
            "ms",
            Bounds(3, 3, most=True),
            1_000 * median(alone),
        ),
        Row("a result of 20 MB, from request to answer", 1_000 * median(seconds), "ms"),
    ]


async def _poll(line: Line, number: int) -> None:
    for asked in count():
        path = f"/v2/{ENDPOINT}/job-take/w-{number}?job_in_progress=0&n={asked}"
        status, _ = await line.ask(request("GET", path, Authorization=WORKER_TOKEN))
        assert status == 204, status


async def _read(line: Line, asked: bytes, chunks: int) -> list[float]:
    """Milliseconds of each item of a new job, as its reader sees it."""
    _, body = await line.ask(asked)
    id = json.loads(body)["id"]
    delays: list[float] = []
    while len(delays) < chunks:
        status, body = await line.ask(request("GET", f"/v2/{ENDPOINT}/stream/{id}?wait=20000&offset={len(delays)}"))
        now = time.monotonic()
        assert status == 200, body
        for item in json.loads(body)["stream"]:
            number, sent = item["output"]
            assert number == len(delays), "out of order"
            delays.append(1_000 * (now - sent))
    return delays


async def _completed(line: Line, asked: bytes) -> bytes:
    status, body = await line.ask(asked)
    assert status == 200, body[:300]
    assert b'"COMPLETED"' in body[:300], body[:300]
    return body
