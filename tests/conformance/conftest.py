"""The store suite runs on every engine; `open_store` is there for those that keep what they are told."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from submodel_gateway.store.base import Store
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.sqlite import SqliteStore


@pytest_asyncio.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "jobs.db")
    await opened.start(lambda endpoints: None)
    yield opened
    await opened.close()


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[[], SqliteStore]:
    """Opens the same durable store again and again."""
    return lambda: SqliteStore(tmp_path / "jobs.db")
