"""The store suite runs on every engine; `reopen` is there for those that keep what they are told."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from submodel_gateway.store.base import Store
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.sqlite import SqliteStore


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    opened: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "jobs.db")
    yield opened
    opened.close()


@pytest.fixture
def open_store(tmp_path: Path) -> Callable[[], SqliteStore]:
    """Opens the same durable store again and again."""
    return lambda: SqliteStore(tmp_path / "jobs.db")
