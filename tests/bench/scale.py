"""What a million stored jobs cost those who take, look, and start again; and an endpoint that has lost its workers."""

import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median

from submodel.contract.states import JobState
from tests.bench.driving import ENDPOINT, Driver, driving, fill
from tests.bench.engines import Engine
from tests.bench.table import Bounds, Row

JOBS = 1_000_000
FEW = 1_000
ENDPOINTS = 1_000
BESIDES = 100
"""Jobs of each other endpoint."""

TAKES = 64
REPEATS = 20


async def scale(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Takes, snapshots, pages and starts over a store with a million jobs."""
    del rounds  # each figure is a median of many in one store
    many, besides = int(JOBS * factor), int(BESIDES * factor)
    with engine.place() as few_url, engine.place() as url:
        async with driving(few_url) as driver:
            fill(driver, [(ENDPOINT, TAKES * REPEATS + FEW)])
            few_ms = await _take_ms(driver)
        others = [(f"{ENDPOINT}-{number}", besides) for number in range(ENDPOINTS - 1)]
        started = time.perf_counter()
        async with driving(url) as driver:
            fill(driver, [*others, (ENDPOINT, many - besides * len(others))])
            filled = time.perf_counter() - started
            rows = [
                Row(f"queueing {many:,} jobs, one caller in groups", many / filled, "/s"),
                Row(
                    f"{TAKES} takes, {many:,} queued against {FEW:,}",
                    await _take_ms(driver),
                    "ms",
                    Bounds(1.3, 1.5, most=True),
                    few_ms,
                ),
                *await _looks(driver, many),
            ]
            killed = _copied(url)
        rows += [
            Row(f"open with {many:,} jobs", await _open_ms(url), "ms", Bounds(3_000, 3_000, most=True)),
        ]
        if killed:
            figure = await _open_ms(killed)
            rows.append(Row(f"open with {many:,} jobs after a kill", figure, "ms", Bounds(3_000, 3_000, most=True)))
    return rows


async def _take_ms(driver: Driver) -> float:
    """Milliseconds of a group of takes of one job each: enough of them that the fsync does not hide the rest."""
    taken = []
    for _ in range(REPEATS):
        takes = [driver.taking() for _ in range(TAKES)]
        started = time.perf_counter()
        driver.store.apply(takes, driver.clock.now_ms())
        taken.append(time.perf_counter() - started)
    return 1_000 * median(taken)


async def _looks(driver: Driver, many: int) -> list[Row]:
    store = driver.store
    late_at = driver.clock.now_ms() - 60_000
    endpoints = [ENDPOINT, *(f"{ENDPOINT}-{number}" for number in range(ENDPOINTS - 1))]
    (newest,) = (await store.requests(ENDPOINT, None, 1)).jobs
    deep = newest.seq - many // 2

    async def snapshot() -> None:
        for endpoint in endpoints:
            store.tally(endpoint)
        await store.backlogs(dict.fromkeys(endpoints, late_at))

    async def counts() -> None:
        store.tally(ENDPOINT)
        await store.backlogs({ENDPOINT: late_at})

    quick = Bounds(2, 2, most=True)
    return [
        Row(f"tally and backlog of {ENDPOINTS:,} endpoints", await _ms(snapshot), "ms", Bounds(10, 10, most=True)),
        Row(f"counts of an endpoint with {many:,} jobs", await _ms(counts), "ms", quick),
        Row("its first page of 100 jobs", await _ms(lambda: store.requests(ENDPOINT, None, 100)), "ms", quick),
        Row("a page from the middle", await _ms(lambda: store.requests(ENDPOINT, deep, 100)), "ms", quick),
        Row(
            "a page of failed jobs, where none is",
            await _ms(lambda: store.requests(ENDPOINT, None, 100, [JobState.FAILED])),
            "ms",
        ),
    ]


async def _ms(look: Callable[[], Awaitable[object]]) -> float:
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        await look()
        taken.append(time.perf_counter() - started)
    return 1_000 * median(taken)


async def _open_ms(url: str) -> float:
    started = time.perf_counter()
    async with driving(url) as driver:
        assert driver.store.tally(ENDPOINT).queued
        return 1_000 * (time.perf_counter() - started)


def _copied(url: str) -> str | None:
    """A copy of an open file with its log, as a kill leaves it; None where the store is no file."""
    kind, _, path = url.partition("://")
    if kind != "sqlite":
        return None
    copy = Path(path).with_name("killed.db")
    for suffix in ("", "-wal"):
        shutil.copyfile(path + suffix, f"{copy}{suffix}")
    return f"sqlite://{copy}"
