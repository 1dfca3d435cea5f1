"""Expiry goes on, whatever happens to it."""

import asyncio
from pathlib import Path

from submodel_gateway.service.sweeper import Sweeper
from submodel_gateway.store.group import GroupCommit
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
