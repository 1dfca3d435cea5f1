"""Expiry goes on, whatever happens to it."""

import asyncio
from pathlib import Path

import pytest

from submodel_gateway.service.sweeper import Sweeper
from submodel_gateway.store.group import GroupCommit
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.gateway_world import TestClock


async def test_a_read_that_fails_is_not_the_end_of_expiry(tmp_path: Path) -> None:
    store, clock = SqliteStore(tmp_path / "jobs.db"), TestClock()
    group = GroupCommit(store, clock.now_ms, lambda done: None)
    answers: asyncio.Queue[bool] = asyncio.Queue()
    sweeper = Sweeper(group, clock, lambda: False, lambda: None, answers.put_nowait)
    store._reader.set_progress_handler(lambda: 1, 1)  # each statement is interrupted
    running = asyncio.ensure_future(sweeper.run())
    assert not await answers.get()
    store._reader.set_progress_handler(None, 1)
    assert await answers.get()
    sweeper.stop()
    await running
    await group.close()


class DefectiveStore(MemoryStore):
    """The store in memory; while it is `defective`, a read fails as no store should."""

    defective = True

    async def next_due(self) -> int | None:
        if self.defective:
            raise ValueError("a defect")
        return await super().next_due()


async def test_a_defect_is_not_the_end_of_expiry_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    store, clock = DefectiveStore(), TestClock()
    group = GroupCommit(store, clock.now_ms, lambda done: None)
    answers: asyncio.Queue[bool] = asyncio.Queue()
    sweeper = Sweeper(group, clock, lambda: False, lambda: None, answers.put_nowait)
    running = asyncio.ensure_future(sweeper.run())
    assert not await answers.get()
    assert "by a defect" in caplog.text
    store.defective = False
    assert await answers.get()
    sweeper.stop()
    await running
    await group.close()
