"""Jobs per second through the group commit, beside the raw engine in groups of the same size, in the same run."""

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from statistics import median

from tests.bench.driving import Driver, crowd, driving, id_of
from tests.bench.engines import Engine
from tests.bench.raw import RawQueue
from tests.bench.table import Bounds, Row

CALLERS = {1: 1_500, 16: 8_000, 64: 12_000, 256: 16_000}
"""How many jobs so many callers do in a round."""

MANY = 64
"""Callers enough to ask how many jobs go through."""

RATIO = Bounds(goal=0.6, floor=0.4)


@dataclass
class Rates:
    """Jobs per second of every round."""

    store: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)


async def throughput(engine: Engine, rounds: int, scale: float) -> list[Row]:
    rows = []
    for callers, jobs in CALLERS.items():
        rates: dict[str, Rates] = defaultdict(Rates)
        for _ in range(rounds):
            await _round(engine, callers, max(callers, int(jobs * scale)), rates)
        rows += [_row(engine, what, callers, each) for what, each in rates.items()]
    return rows


def _row(engine: Engine, what: str, callers: int, rates: Rates) -> Row:
    what = f"{what}, {callers} caller" + "s" * (callers > 1)
    if rates.raw:
        return Row(what, median(rates.store), "/s", RATIO, median(rates.raw))
    floor, goal = engine.floor_and_goal
    return Row(what, median(rates.store), "/s", Bounds(goal, floor) if callers >= MANY else None)


async def _round(engine: Engine, callers: int, jobs: int, rates: dict[str, Rates]) -> None:
    with engine.place() as url:
        async with engine.raw() as raw, driving(url) as driver:
            seconds, size = await _measured(driver, callers, jobs, _Turn(driver).submit)
            rates["submit"].store.append(jobs / seconds)
            rates["submit"].raw.append(_raw_submits(raw, jobs, size))
            seconds, size = await _measured(driver, callers, jobs, _Turn(driver).take_and_finish)
            rates["take + finish"].store.append(jobs / seconds)
            rates["take + finish"].raw.append(_raw_takes(raw, jobs, size))
            seconds, _ = await _measured(driver, callers, jobs, _Turn(driver).whole)
            rates["submit + take + finish"].store.append(jobs / seconds)


class _Turn:
    """What a caller does once."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    async def submit(self) -> None:
        await self._driver.submit()

    async def take_and_finish(self) -> None:
        for lease in await self._driver.take():
            await self._driver.finish(lease)

    async def whole(self) -> None:
        await self.submit()
        await self.take_and_finish()


async def _measured(driver: Driver, callers: int, jobs: int, turn: Callable[[], Awaitable[None]]) -> tuple[float, int]:
    """Seconds, and how many operations came together in a transaction on average."""
    driver.groups = driver.operations = 0
    seconds = await crowd(callers, jobs, turn)
    return seconds, max(1, round(driver.operations / driver.groups))


def _raw_submits(raw: RawQueue, jobs: int, size: int) -> float:
    ids = [id_of(number) for number in range(jobs)]
    started = time.perf_counter()
    for first in range(0, jobs, size):
        raw.submit(ids[first : first + size])
    return jobs / (time.perf_counter() - started)


def _raw_takes(raw: RawQueue, jobs: int, size: int) -> float:
    started = time.perf_counter()
    for _ in range(0, jobs, size):
        raw.finish(raw.take(size))
    return jobs / (time.perf_counter() - started)
