"""Requests per second and how long one takes: `/runsync` through workers, `/run` alone, beside a bare server.

Both servers are there all the time and are asked in turns, so that what else the machine does hits both of them. Three
processes share the machine: gateway, worker, load generator. What each of them uses up per request says more about the
gateway than the rate.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
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
TURNS = 10
BODY = b'{"input": {"prompt": "a few words, as most have them", "steps": 20}}'

Check = Callable[[bytes], bool]


@dataclass
class _Measured:
    """What the turns of one server came to; times are of the processor."""

    rates: list[float] = field(default_factory=list)
    alone_seconds: list[float] = field(default_factory=list)
    requests: int = 0
    server_seconds: float = 0.0
    worker_seconds: float = 0.0
    load_seconds: float = 0.0

    async def turn(self, place: Place, opened: list[Line], requests: int, asked: bytes, is_right: Check) -> None:
        server, workers, load = place.cpu_seconds(), place.workers_cpu_seconds(), time.process_time()
        started = time.perf_counter()
        await ask_all(opened, requests, asked, is_right)
        self.rates.append(requests / (time.perf_counter() - started))
        self.requests += requests
        self.server_seconds += place.cpu_seconds() - server
        self.worker_seconds += place.workers_cpu_seconds() - workers
        self.load_seconds += time.process_time() - load

    @property
    def rate(self) -> float:
        return median(self.rates)

    @property
    def alone_ms(self) -> float:
        return 1_000 * percentile(self.alone_seconds, 0.5)

    def each_us(self, seconds: float) -> float:
        """Microseconds of one request."""
        return 1e6 * seconds / self.requests


async def runsync(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """At 128 clients and at one."""
    asked = request("POST", f"/v2/{ENDPOINT}/runsync", BODY)
    done = b'"COMPLETED"'
    bare, ours = await _side_by_side(engine, WORKERS, rounds, factor, asked, lambda body: done in body, ALONE)
    return [
        Row(f"/runsync, {CLIENTS} clients", ours.rate, "/s", Bounds(0.6, 0.3), bare.rate),
        Row(f"/runsync, {CLIENTS} clients, on quiet cores", ours.rate, "/s", Bounds(7_000, 3_500)),
        Row("/runsync, 1 client, p50", ours.alone_ms, "ms", Bounds(1.2, 2.0, most=True)),
        Row("a bare answer, 1 client, p50", bare.alone_ms, "ms"),
        Row(
            "processor time of one /runsync in the gateway",
            ours.each_us(ours.server_seconds),
            "µs",
            Bounds(2, 3.3, most=True),
            bare.each_us(bare.server_seconds),
        ),
        Row("the same in the worker", ours.each_us(ours.worker_seconds), "µs"),
        Row("the same in the load generator", ours.each_us(ours.load_seconds), "µs"),
    ]


async def submit(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Jobs that nobody takes."""
    asked = request("POST", f"/v2/{ENDPOINT}/run", BODY)
    bare, ours = await _side_by_side(engine, 0, rounds, factor, asked, lambda body: b'"IN_QUEUE"' in body, 0)
    return [
        Row(f"/run, {CLIENTS} clients", ours.rate, "/s", Bounds(0.7, 0.5), bare.rate),
        Row(
            "processor time of one /run in the gateway",
            ours.each_us(ours.server_seconds),
            "µs",
            None,
            bare.each_us(bare.server_seconds),
        ),
    ]


async def _side_by_side(
    engine: Engine, workers: int, rounds: int, factor: float, asked: bytes, is_right: Check, alone: int
) -> tuple[_Measured, _Measured]:
    """The bare server and the gateway; `alone` requests come one after another."""
    bare, ours = _Measured(), _Measured()
    many, few = int(REQUESTS * factor / TURNS), int(alone * factor / TURNS)
    for _ in range(rounds):
        with echo() as plain, engine.place() as store, gateway(store, workers) as place:
            async with lines(plain.port, CLIENTS) as to_plain, lines(place.port, CLIENTS) as to_place:
                await ask_all(to_plain, many, asked)
                await ask_all(to_place, many, asked, is_right)
                for _ in range(TURNS):
                    await bare.turn(plain, to_plain, 2 * many, asked, bool)
                    await ours.turn(place, to_place, many, asked, is_right)
                for _ in range(TURNS if few else 0):
                    bare.alone_seconds += await ask_all(to_plain[:1], few, asked)
                    ours.alone_seconds += await ask_all(to_place[:1], few, asked, is_right)
    return bare, ours
