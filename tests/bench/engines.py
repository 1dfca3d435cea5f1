"""The engines under test, and beside each its raw self, which writes the same rows and decides nothing."""

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Protocol

from tests.bench.raw_sqlite import RawSqlite


class RawQueue(Protocol):
    """The rows that the store writes, by bare statements; each call is one durable transaction."""

    def submit(self, ids: Sequence[str]) -> None: ...

    def take(self, count: int) -> list[tuple[int, str]]:
        """The next jobs; their inputs were read too."""

    def finish(self, jobs: Sequence[tuple[int, str]]) -> None: ...

    def close(self) -> None: ...


class Engine(Protocol):
    """A kind of store."""

    @property
    def title(self) -> str: ...

    @property
    def floor_and_goal(self) -> tuple[float, float]:
        """Whole jobs per second."""

    def place(self) -> AbstractContextManager[str]:
        """URL of a new, empty store."""

    def raw(self) -> AbstractAsyncContextManager[RawQueue]:
        """A new, empty queue."""


class Sqlite:
    """A file in a temporary folder, one fsync per group."""

    title = f"SQLite {sqlite3.sqlite_version}, synchronous=FULL"
    floor_and_goal = (4_000, 8_000)

    @contextmanager
    def place(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite://{folder}/jobs.db"

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[RawQueue]:
        with tempfile.TemporaryDirectory() as folder, closing(await RawSqlite.open(Path(folder))) as queue:
            yield queue


ENGINES: dict[str, Engine] = {"sqlite": Sqlite()}
