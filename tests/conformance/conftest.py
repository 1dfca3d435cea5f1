"""The store suite runs on every engine; `durable` ones keep what they are told when they are closed."""

from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from submodel_gateway.store.base import Store
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.store_engines import DURABLE, ENGINES, Engine
from tests.support.store_engines import engine as engine_of


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_of(request.param, tmp_path) as found:
        yield found


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    with engine_of(request.param, tmp_path) as found:
        yield found


@pytest_asyncio.fixture
async def store(engine: Engine) -> AsyncIterator[Store]:
    opened = engine.open()
    await opened.start(lambda endpoints: None)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def small_store(engine: Engine) -> AsyncIterator[Store]:
    """Has room for a few MB."""
    opened = engine.open_small()
    await opened.start(lambda endpoints: None)
    yield opened
    await opened.close()


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[[], SqliteStore]:
    """Opens the same SQLite store again and again."""
    return lambda: SqliteStore(tmp_path / "jobs.db")
