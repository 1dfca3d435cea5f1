"""The engines that race: the model itself is in memory, so it is not among them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from submodel_gateway.store.base import Store
from submodel_gateway.store.sqlite import SqliteStore
from tests.races.arena import Arena


@pytest_asyncio.fixture(params=["sqlite"])
async def arena(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Arena]:
    stores: list[Store] = [SqliteStore(tmp_path / "jobs.db")]
    for store in stores:
        await store.start(lambda endpoints: None)
    opened = Arena(stores)
    yield opened
    await opened.close()
