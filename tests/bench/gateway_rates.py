"""Requests per second and how long one takes: `/runsync` through workers, `/run` alone, beside a bare server."""

import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from statistics import median

from tests.bench.beside import percentile
from tests.bench.engines import Engine
from tests.bench.http_lines import Line, ask_all, lines, request
from tests.bench.places import ENDPOINT, Place, echo, gateway
from tests.bench.table import Bounds, Row

CLIENTS = 128
WORKERS = 1
REQUESTS = 20_000
ALONE = 1_500
BODY = b'{"input": {"prompt": "a few words, as most have them", "steps": 20}}'

Check = Callable[[bytes], bool]


async def runsync(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """At 128 clients and at one."""
    asked, done = request("POST", f"/v2/{ENDPOINT}/runsync", BODY), lambda body: b'"COMPLETED"' in body
    rates: list[float] = []
    bare_rates: list[float] = []
    alone: list[float] = []
    bare_alone: list[float] = []
    cpu: list[float] = []
    bare_cpu: list[float] = []
    many, few = int(REQUESTS * factor), int(ALONE * factor)
    for _ in range(rounds):
        with ExitStack() as stack:
            bare = stack.enter_context(echo())
            used = bare.cpu_seconds()
            bare_rates.append(await _rate(bare, CLIENTS, 2 * many, asked))
            bare_cpu.append(1e6 * (bare.cpu_seconds() - used) / (2 * many))
            bare_alone.append(await _median_ms(bare, few, asked))
        with ExitStack() as stack:
            place = stack.enter_context(gateway(stack.enter_context(engine.place()), WORKERS))
            await _rate(place, CLIENTS, many // 10, asked, done)
            used = place.cpu_seconds()
            rates.append(await _rate(place, CLIENTS, many, asked, done))
            cpu.append(1e6 * (place.cpu_seconds() - used) / many)
            alone.append(await _median_ms(place, few, asked, done))
    return [
        Row(f"/runsync, {CLIENTS} clients", median(rates), "/s", Bounds(0.6, 0.3), median(bare_rates)),
        Row(f"/runsync, {CLIENTS} clients, on quiet cores", median(rates), "/s", Bounds(7_000, 3_500)),
        Row("/runsync, 1 client, p50", median(alone), "ms", Bounds(1.2, 2.0, most=True)),
        Row("a bare answer, 1 client, p50", median(bare_alone), "ms"),
        Row(
            "processor time of one /runsync in the gateway",
            median(cpu),
            "µs",
            Bounds(2, 3.3, most=True),
            median(bare_cpu),
        ),
    ]


async def submit(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Jobs that nobody takes."""
    asked, queued = request("POST", f"/v2/{ENDPOINT}/run", BODY), lambda body: b'"IN_QUEUE"' in body
    rates: list[float] = []
    bare_rates: list[float] = []
    many = int(REQUESTS * factor)
    for _ in range(rounds):
        with echo() as bare:
            bare_rates.append(await _rate(bare, CLIENTS, 2 * many, asked))
        with engine.place() as store, gateway(store, 0) as place:
            rates.append(await _rate(place, CLIENTS, many, asked, queued))
    return [Row(f"/run, {CLIENTS} clients", median(rates), "/s", Bounds(0.7, 0.5), median(bare_rates))]


def _turn(asked: bytes, is_right: Check) -> Callable[[Line], Coroutine[None, None, None]]:
    async def turn(line: Line) -> None:
        status, body = await line.ask(asked)
        assert status == 200, body
        assert is_right(body), body

    return turn


def _any(body: bytes) -> bool:
    return True


async def _rate(place: Place, clients: int, requests: int, asked: bytes, is_right: Check = _any) -> float:
    async with lines(place.port, clients) as opened:
        started = time.perf_counter()
        await ask_all(opened, requests, _turn(asked, is_right))
        return requests / (time.perf_counter() - started)


async def _median_ms(place: Place, requests: int, asked: bytes, is_right: Check = _any) -> float:
    async with lines(place.port, 1) as opened:
        return 1_000 * percentile(await ask_all(opened, requests, _turn(asked, is_right)), 0.5)
