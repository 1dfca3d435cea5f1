"""Requests per second and how long one takes: `/runsync` through workers, `/run` alone, beside a bare server.

Three processes share the machine: gateway, worker, load generator. What each of them uses up per request says more
about the gateway than the rate, which depends on what else the machine does.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

from tests.bench.beside import percentile
from tests.bench.engines import Engine
from tests.bench.http_lines import ask_all, lines, request
from tests.bench.places import ENDPOINT, Place, echo, gateway
from tests.bench.table import Bounds, Row

CLIENTS = 128
WORKERS = 1
REQUESTS = 20_000
ALONE = 1_500
BODY = b'{"input": {"prompt": "a few words, as most have them", "steps": 20}}'

Check = Callable[[bytes], bool]


@dataclass
class _Rounds:
    """What several rounds of one kind of request came to. Times are microseconds of processor time per request."""

    rates: list[float] = field(default_factory=list)
    alone_ms: list[float] = field(default_factory=list)
    server: list[float] = field(default_factory=list)
    workers: list[float] = field(default_factory=list)
    load: list[float] = field(default_factory=list)

    async def measure(self, place: Place, requests: int, alone: int, asked: bytes, is_right: Check = bool) -> None:
        async with lines(place.port, CLIENTS) as opened:
            await ask_all(opened, requests // 10, asked, is_right)
            started, server, workers = time.perf_counter(), place.cpu_seconds(), place.workers_cpu_seconds()
            load = time.process_time()
            await ask_all(opened, requests, asked, is_right)
            self.rates.append(requests / (time.perf_counter() - started))
            self.server.append(1e6 * (place.cpu_seconds() - server) / requests)
            self.workers.append(1e6 * (place.workers_cpu_seconds() - workers) / requests)
            self.load.append(1e6 * (time.process_time() - load) / requests)
        if alone:
            async with lines(place.port, 1) as opened:
                self.alone_ms.append(1_000 * percentile(await ask_all(opened, alone, asked, is_right), 0.5))


async def runsync(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """At 128 clients and at one."""
    asked = request("POST", f"/v2/{ENDPOINT}/runsync", BODY)
    bare, ours = _Rounds(), _Rounds()
    many, few = int(REQUESTS * factor), int(ALONE * factor)
    for _ in range(rounds):
        with echo() as place:
            await bare.measure(place, 2 * many, few, asked)
        with engine.place() as store, gateway(store, WORKERS) as place:
            await ours.measure(place, many, few, asked, lambda body: b'"COMPLETED"' in body)
    return [
        Row(f"/runsync, {CLIENTS} clients", median(ours.rates), "/s", Bounds(0.6, 0.3), median(bare.rates)),
        Row(f"/runsync, {CLIENTS} clients, on quiet cores", median(ours.rates), "/s", Bounds(7_000, 3_500)),
        Row("/runsync, 1 client, p50", median(ours.alone_ms), "ms", Bounds(1.2, 2.0, most=True)),
        Row("a bare answer, 1 client, p50", median(bare.alone_ms), "ms"),
        Row(
            "processor time of one /runsync in the gateway",
            median(ours.server),
            "µs",
            Bounds(2, 3.3, most=True),
            median(bare.server),
        ),
        Row("the same in the worker", median(ours.workers), "µs"),
        Row("the same in the load generator", median(ours.load), "µs", None, median(bare.load)),
    ]


async def submit(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Jobs that nobody takes."""
    asked = request("POST", f"/v2/{ENDPOINT}/run", BODY)
    bare, ours = _Rounds(), _Rounds()
    many = int(REQUESTS * factor)
    for _ in range(rounds):
        with echo() as place:
            await bare.measure(place, 2 * many, 0, asked)
        with engine.place() as store, gateway(store, 0) as place:
            await ours.measure(place, many, 0, asked, lambda body: b'"IN_QUEUE"' in body)
    return [
        Row(f"/run, {CLIENTS} clients", median(ours.rates), "/s", Bounds(0.7, 0.5), median(bare.rates)),
        Row("processor time of one /run in the gateway", median(ours.server), "µs", None, median(bare.server)),
    ]
