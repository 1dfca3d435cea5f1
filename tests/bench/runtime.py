"""`make bench-runtime`: what a worker takes to start, to wait, and to run jobs. Never a test.

python -m tests.bench.runtime [--quick] [--only start] [--without-runpod]

Beside our runtime stands the `runpod` package in an environment of its own, in the same run, on the same machine.
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from submodel.contract import legacy_env, limits
from tests.bench.runtime_gateway import BenchGateway
from tests.bench.runtime_own import drained, streamed
from tests.bench.runtime_process import HANDLER, OURS, Running
from tests.bench.table import Bounds, Row, render
from tests.compat.environments import Missing, python

RUNPOD = "runpod-1.12.0"
STARTS = 5
IDLE_SECONDS = 10.0
HELD_SECONDS = 30
ITEMS = 10_000
STREAMS = 5

Part = Callable[["Peers", bool], Coroutine[Any, Any, list[Row]]]


class Peers:
    """The interpreters to compare."""

    def __init__(self, runpod: Path | None) -> None:
        self.runpod = runpod

    @asynccontextmanager
    async def ours(self, kind: str = "function", concurrency: int = 1) -> AsyncIterator["Served"]:
        """Our runtime, in the native dialect."""
        async with BenchGateway() as gateway:
            environment = {
                "SUBMODEL_GATEWAY_URL": gateway.url,
                "SUBMODEL_ENDPOINT_ID": "e",
                "SUBMODEL_WORKER_ID": "w",
                "SUBMODEL_WORKER_TOKEN": "t",
                "SUBMODEL_LOG_LEVEL": "WARN",
            }
            with Served(gateway, OURS, environment, kind, concurrency) as running:
                yield running

    @asynccontextmanager
    async def theirs(
        self, interpreter: Path, prefix: str = "RUNPOD_", kind: str = "function", concurrency: int = 1
    ) -> AsyncIterator["Served"]:
        """A worker in the hosted platforms' dialect."""
        async with BenchGateway() as gateway:
            environment = {
                **legacy_env.DEFAULTS,
                **legacy_env.settings(prefix, gateway.url, "e"),
                f"{prefix}AI_API_KEY": "t",
                f"{prefix}POD_ID": "w",
                f"{prefix}LOG_LEVEL": "ERROR",
            }
            with Served(gateway, [str(interpreter), str(HANDLER)], environment, kind, concurrency) as running:
                yield running


class Served(Running):
    """A worker's process and its gateway."""

    def __init__(
        self, gateway: BenchGateway, command: list[str], environment: dict[str, str], kind: str, concurrency: int
    ) -> None:
        super().__init__(command, environment, kind, concurrency)
        self.gateway = gateway

    async def polled(self) -> float:
        """Seconds from the start of the process to its first question for jobs."""
        async with asyncio.timeout(60):
            await self.gateway.polled.wait()
        return time.perf_counter() - self.started_at


async def start(peers: Peers, quick: bool) -> list[Row]:
    """How long until the first question for jobs, and how much memory it takes to wait there."""

    async def measure(run: Callable[[], Any]) -> tuple[float, float, float]:
        figures = []
        for _ in range(1 if quick else STARTS):
            async with run() as running:
                figures.append((await running.polled(), running.cpu_seconds(), running.resident_mb()))
        seconds, cpu, megabytes = zip(*figures, strict=True)
        return statistics.median(seconds), statistics.median(cpu), statistics.median(megabytes)

    seconds, cpu, megabytes = await measure(peers.ours)
    beside = await measure(lambda: peers.theirs(_there(peers))) if peers.runpod else (None, None, None)
    return [
        _absolute("process start to first poll", seconds, "s", Bounds(0.3, most=True), beside[0]),
        _absolute("  of it, processor time", cpu, "s", None, beside[1]),
        _absolute("resident while it waits", megabytes, "MB", Bounds(35, most=True), beside[2]),
    ]


async def idle(peers: Peers, quick: bool) -> list[Row]:
    """Processor time of a worker that waits."""

    async def measure(run: Callable[[], Any]) -> float:
        async with run() as running:
            await running.polled()
            await asyncio.sleep(1)  # noqa: TID251  # a benchmark measures time
            before, seconds = running.cpu_seconds(), IDLE_SECONDS / (5 if quick else 1)
            await asyncio.sleep(seconds)  # noqa: TID251 # what is measured is that nothing happens
            return float(100 * (running.cpu_seconds() - before) / seconds)

    ours = await measure(peers.ours)
    beside = await measure(lambda: peers.theirs(_there(peers))) if peers.runpod else None
    return [_absolute("idle worker, share of a core", ours, "%", Bounds(0.5, most=True), beside)]


async def jobs(peers: Peers, quick: bool) -> list[Row]:
    """Jobs that do nothing, through one worker over HTTP."""
    part = 5 if quick else 1
    rows = []
    for kind, concurrency, count, theirs, bounds in (
        ("function", 1, 5_000, 5, Bounds(1500, 700)),
        ("coroutine", 50, 20_000, 250, Bounds(6000, 2500)),
    ):
        async with peers.ours(kind, concurrency) as running:
            figure = await _rate(running, count // part)
            before = running.cpu_seconds()
            await running.gateway.run(count // part)
            cpu = 1e6 * (running.cpu_seconds() - before) / (count // part)
        async with peers.theirs(Path(sys.executable), "SUBMODEL_", kind, concurrency) as running:
            legacy = await _rate(running, count // part // 4)
        beside = None
        if peers.runpod:
            async with peers.theirs(peers.runpod, "RUNPOD_", kind, concurrency) as running:
                beside = await _rate(running, theirs)
        rows.append(_absolute(f"no-op jobs, concurrency {concurrency}", figure, "/s", bounds, beside))
        rows.append(_absolute("  the worker's processor time per job", cpu, "µs", None, None))
        rows.append(_absolute("  the same in the hosted dialect", legacy, "/s", None, beside))
        rows.append(
            _absolute("  the same with this project's gateway", drained(kind, concurrency, count // part), "/s")
        )
    return rows


async def stream(peers: Peers, quick: bool) -> list[Row]:
    """Many chunks of one generator, and the first one's way."""
    count = ITEMS // (5 if quick else 1)
    async with peers.ours("generator") as running:
        await running.polled()
        first, rates = await _first_ms(running), []
        before = running.cpu_seconds()
        for _ in range(STREAMS):
            work = await running.gateway.run(1, count)
            if work.items != [*range(count)]:
                raise SystemExit("the chunks came in another order")
            rates.append(count / (work.last_at - work.first_at))
        cpu = 1e6 * (running.cpu_seconds() - before) / (STREAMS * count)
    async with peers.ours("computing") as running:
        await running.polled()
        computing = await _first_ms(running)
    own_rate, own_first = streamed(count)
    beside = None
    if peers.runpod:
        async with peers.theirs(peers.runpod, kind="generator") as running:
            await running.polled()
            work = await running.gateway.run(1, 500)
            beside = 500 / (work.last_at - work.first_at)
    return [
        _absolute(f"{count:,} chunks of one generator", statistics.median(rates), "/s", Bounds(20_000), beside),
        _absolute("  the worker's processor time per chunk", cpu, "µs"),
        _absolute("  the same with this project's gateway, to the outcome", own_rate, "/s"),
        _absolute("from job to first chunk", first, "ms", Bounds(5, most=True)),
        _absolute("  of a generator that then computes", computing, "ms", Bounds(5, most=True)),
        _absolute("  from request to first chunk, this project's gateway and client included", own_first, "ms"),
    ]


async def lock(peers: Peers, quick: bool) -> list[Row]:
    """The longest silence while a handler keeps the interpreter's lock: a lease must outlast it."""
    held = HELD_SECONDS // (10 if quick else 1)
    async with peers.ours() as running:
        await running.polled()
        await running.gateway.run(1)
        work = await running.gateway.run(1, {"hold": held})
    lease = limits.LEASE_MS / 1000
    return [_absolute(f"silence, interpreter locked for {held} s", work.silence, "s", Bounds(lease, lease, True), None)]


PARTS: dict[str, Part] = {"start": start, "idle": idle, "jobs": jobs, "stream": stream, "lock": lock}


async def _first_ms(running: Served) -> float:
    """Median of the milliseconds from a job to its first chunk."""
    await running.gateway.run(5, 1)
    first = []
    for _ in range(30):
        work = await running.gateway.run(1, 1)
        first.append(1000 * (work.first_item_at - work.first_at))
    return statistics.median(first)


async def _rate(running: Served, count: int) -> float:
    await running.polled()
    await running.gateway.run(max(1, count // 10))
    work = await running.gateway.run(count)
    if work.errors:
        raise SystemExit(f"{len(work.errors)} jobs failed: {work.errors[0]}")
    return count / (work.last_at - work.first_at)


def _there(peers: Peers) -> Path:
    assert peers.runpod is not None
    return peers.runpod


def _absolute(what: str, figure: float, unit: str, bounds: Bounds | None = None, beside: float | None = None) -> Row:
    """A row whose bounds are of the figure itself, whatever stands beside it."""
    return Row(what if beside is None else f"{what} (runpod: {beside:,.3g} {unit})", figure, unit, bounds)


def _runpod(wanted: bool) -> Path | None:
    if not wanted:
        return None
    try:
        return python(RUNPOD)
    except Missing as missing:
        sys.stdout.write(f"without runpod: {missing}\n")
        return None


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.runtime", description="Measure the handler runtime.")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a fifth of the work")
    parser.add_argument("--without-runpod", action="store_true", help="our runtime alone")
    options = parser.parse_args(arguments)
    peers = Peers(_runpod(not options.without_runpod))
    rows: list[Row] = []
    for name in options.only or PARTS:
        began = time.perf_counter()
        rows += asyncio.run(PARTS[name](peers, options.quick))
        sys.stdout.write(f"{name} took {time.perf_counter() - began:.0f} s\n")
        sys.stdout.flush()
    sys.stdout.write(f"{render('handler runtime, one worker, over loopback HTTP', rows)}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
