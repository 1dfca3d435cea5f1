"""The engines under test, and beside each its raw self, which writes the same rows and decides nothing."""

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    ExitStack,
    asynccontextmanager,
    closing,
    contextmanager,
)
from functools import cached_property
from pathlib import Path
from typing import Protocol

from tests.bench.raw import RawQueue
from tests.bench.raw_postgres import RawPostgres
from tests.bench.raw_sqlite import RawSqlite
from tests.support.postgres import PostgresServer


class Engine(Protocol):
    """A kind of store; close it in the end."""

    @property
    def title(self) -> str: ...

    @property
    def floor_and_goal(self) -> tuple[float, float]:
        """Whole jobs per second."""

    def place(self) -> AbstractContextManager[str]:
        """URL of a new, empty store."""

    def raw(self) -> AbstractAsyncContextManager[RawQueue]:
        """A new, empty queue."""

    def close(self) -> None: ...


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

    def close(self) -> None:
        pass


class Postgres:
    """A server of its own on this machine, as durable as it comes, behind a Unix socket."""

    floor_and_goal = (2_500, 6_000)

    @property
    def title(self) -> str:
        ((version,),) = self._server.execute("SHOW server_version")
        return f"PostgreSQL {version}, fsync and synchronous_commit on"

    @contextmanager
    def place(self) -> Iterator[str]:
        with self._server.database() as url:
            yield url

    @asynccontextmanager
    async def raw(self) -> AsyncIterator[RawQueue]:
        with ExitStack() as stack:
            databases = [stack.enter_context(self._server.database()) for _ in range(2)]
            yield stack.enter_context(closing(await RawPostgres.open(databases)))

    def close(self) -> None:
        if "_server" in vars(self):
            self._server.close()

    @cached_property
    def _server(self) -> PostgresServer:
        return PostgresServer(fsync="on", full_page_writes="on", shared_buffers="512MB", max_wal_size="4GB")


ENGINES: dict[str, type[Engine]] = {"sqlite": Sqlite, "postgres": Postgres}
