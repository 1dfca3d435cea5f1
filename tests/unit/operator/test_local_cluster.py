"""A pool of local mode with a worker that asks for a fresh one in its place."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from submodel_operator.desired import desired_pool
from submodel_operator.local import LocalCluster
from submodel_operator.ports import Observed
from tests.support.endpoints import KEY, UID, manifest, resolved

HANDLER = "import signal\nsignal.pause()\n"


class World:
    """A cluster of processes, and its news."""

    def __init__(self, folder: Path) -> None:
        self._news = asyncio.Event()
        self.cluster = LocalCluster(folder, {}, lambda line: None, lambda key: self._news.set(), lambda *_: None)

    def observe(self) -> Observed:
        observed = self.cluster.observe(KEY, 0.0)
        assert observed
        return observed

    async def until(self, names: list[str]) -> None:
        """Return when exactly these workers run."""
        while [(each.name, each.phase) for each in self.observe().workers] != [(name, "Running") for name in names]:
            await self._news.wait()
            self._news.clear()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    opened = World(tmp_path / "handlers")
    yield opened
    hurry = asyncio.Event()
    hurry.set()
    await opened.cluster.close(hurry)


async def test_a_replaced_worker_leaves_and_another_takes_its_place(world: World) -> None:
    document = manifest({"handler": {"inline": HANDLER}})
    world.cluster.put_endpoint(KEY, UID, 1, document)
    pool = desired_pool(resolved(document))
    for child in pool.children:
        await world.cluster.apply(world.observe(), child)
    await world.cluster.scale(KEY, pool.name, 0, 1, ())
    await world.until([f"{pool.name}-1"])
    (worker,) = world.observe().workers
    for _ in range(2):
        await world.cluster.replace(KEY, worker.name, worker.uid)
    await world.until([f"{pool.name}-2"])
    assert [each.replicas for each in world.observe().pools] == [1]
