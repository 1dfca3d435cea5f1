"""The store engines that tests run on, each in a place of its own that is empty at first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from submodel_gateway.store.base import Store
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.postgres import PostgresStore
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.postgres import shared_server

DURABLE = ("sqlite", "postgres")
ENGINES = ("memory", *DURABLE)

SMALL_BYTES = 4_000_000
SMALL_JOBS = 20
"""Jobs of 100 KB: a small store has no room for all of them, whatever it keeps beside the payloads."""


@dataclass(frozen=True, slots=True)
class Engine:
    """Opens stores in one place, one after the other; `small` ones are soon full."""

    name: str
    open: Callable[[], Store]
    open_small: Callable[[], Store]


@contextmanager
def engine(name: str, folder: Path) -> Iterator[Engine]:
    """The engine of that name; `folder` is for what it needs on disk."""
    if name == "memory":
        yield Engine(name, MemoryStore, lambda: MemoryStore(jobs_max=SMALL_JOBS))
        return
    if name == "postgres":
        with shared_server().database() as url:
            yield Engine(name, lambda: PostgresStore(url), lambda: PostgresStore(url, SMALL_BYTES))
        return
    path = folder / "jobs.db"
    yield Engine(name, lambda: SqliteStore(path), lambda: SqliteStore(path, SMALL_BYTES))
