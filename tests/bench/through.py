"""Memory of a process through which a million jobs go: `python -m tests.bench.through URL JOBS` prints it in MB."""

import asyncio
import os
import sys
from pathlib import Path

import msgspec

from submodel_gateway.store import base
from tests.bench.driving import ENDPOINT, Driver, driving
from tests.bench.engines import Engine
from tests.bench.table import Bounds, Row

JOBS = 1_000_000
CALLERS = 128
STEPS = 10
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


async def memory(engine: Engine, rounds: int, factor: float) -> list[Row]:
    """Resident memory at the start, in the middle and at the end."""
    del rounds  # one is long enough
    jobs = int(JOBS * factor)
    with engine.place() as url:
        command = (sys.executable, "-m", "tests.bench.through", url, str(jobs))
        child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        printed, _ = await child.communicate()
        assert child.returncode == 0
    figures = msgspec.json.decode(printed, type=list[float])
    start, middle, end = figures[0], figures[len(figures) // 2], figures[-1]
    return [
        Row("memory with the first jobs", start, "MB"),
        Row(f"after {jobs // 2:,} jobs", middle, "MB"),
        Row(f"after {jobs:,} jobs", end, "MB", Bounds(1.05, 1.2, most=True), middle),
    ]


async def _through(url: str, jobs: int) -> list[float]:
    async with driving(url) as driver:
        await _some(driver, jobs // 100)
        figures = [_resident_mb()]
        for _ in range(STEPS):
            await _some(driver, jobs // STEPS)
            figures.append(_resident_mb())
        assert driver.store.tally(ENDPOINT).completed >= jobs
    return figures


async def _some(driver: Driver, jobs: int) -> None:
    """Results are forgotten at once, so that the store stays small and only the process could grow."""
    turns = iter(range(jobs))

    async def caller() -> None:
        for turn in turns:
            await driver.submit(retention_ms=0)
            for lease in await driver.take():
                await driver.finish(lease)
            if turn % 500 == 0:
                await driver.do(base.Sweep(seen_at=driver.clock.now_ms(), hold_ms=0))

    await asyncio.gather(*(caller() for _ in range(CALLERS)))


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * PAGE_BYTES / 1e6


if __name__ == "__main__":
    url, jobs = sys.argv[1:]
    sys.stdout.buffer.write(msgspec.json.encode(asyncio.run(_through(url, int(jobs)))))
