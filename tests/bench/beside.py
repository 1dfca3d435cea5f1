"""Those who go on working while something big happens: many leases end at once, or a result of 20 MB arrives."""

import asyncio
import time
from statistics import median

from submodel_gateway.store import base
from tests.bench.driving import ENDPOINT, Driver, crowd, driving, fill
from tests.bench.engines import Engine
from tests.bench.table import Bounds, Row

EXPIRED = 100_000
SMALL_JOBS = 6_000
LARGE = b'"' + b"x" * (20 * 1024 * 1024 - 2) + b'"'


async def sweep(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """The end of many leases at once, while clients go on submitting."""
    del rounds  # long enough to be one
    jobs = int(EXPIRED * factor)
    with engine.place() as url:
        async with driving(url) as driver:
            fill(driver, [(ENDPOINT, jobs)])
            for _ in range(0, jobs, 200):
                driver.store.apply([driver.taking(200, lease_ms=0)], driver.clock.now_ms())
            waits: list[float] = []
            over = asyncio.Event()

            async def client() -> None:
                while not over.is_set():
                    started = time.perf_counter()
                    await driver.submit("other")
                    waits.append(time.perf_counter() - started)

            clients = [asyncio.create_task(client()) for _ in range(8)]
            started = time.perf_counter()
            swept = 0
            while swept < jobs:
                now = driver.clock.now_ms()
                swept += len(base.changes(await driver.do(base.Sweep(seen_at=now, hold_ms=45_000))))
            seconds = time.perf_counter() - started
            over.set()
            await asyncio.gather(*clients)
    return [
        Row(f"sweep of {jobs:,} expired leases", seconds, "s", Bounds(5, 5, most=True)),
        Row("p99 of a submit meanwhile, 8 callers", 1_000 * percentile(waits, 0.99), "ms", Bounds(50, 50, most=True)),
    ]


async def large(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Small jobs beside a caller who publishes 20 MB again and again."""
    jobs = int(SMALL_JOBS * factor)
    alone, beside, seconds = [], [], []
    for _ in range(rounds):
        with engine.place() as url:
            async with driving(url) as driver:
                alone.append(percentile(await _small(driver, jobs), 0.99))
                over = asyncio.Event()

                async def publish(driver: Driver = driver, over: asyncio.Event = over) -> None:
                    while not over.is_set():
                        await driver.submit("large")
                        (lease,) = await driver.take(endpoint="large")
                        started = time.perf_counter()
                        await driver.finish(lease, await driver.store.stash(LARGE))
                        seconds.append(time.perf_counter() - started)

                publisher = asyncio.create_task(publish())
                beside.append(percentile(await _small(driver, jobs), 0.99))
                over.set()
                await publisher
    return [
        Row("p99 of a small job, 16 callers", 1_000 * median(alone), "ms"),
        Row("p99 of a small job beside results of 20 MB", 1_000 * median(beside), "ms"),
        Row("a result of 20 MB", 1_000 * median(seconds), "ms"),
    ]


async def _small(driver: Driver, jobs: int) -> list[float]:
    """Seconds of each whole job: submit, take, finish."""
    waits: list[float] = []

    async def job() -> None:
        started = time.perf_counter()
        await driver.submit()
        for lease in await driver.take():
            await driver.finish(lease)
        waits.append(time.perf_counter() - started)

    await crowd(16, jobs, job)
    return waits


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]
