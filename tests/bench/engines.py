"""The engines under test, and beside each its raw self: the plainest durable queue that one could write on it."""

import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Protocol

TABLE = "CREATE TABLE job (seq INTEGER PRIMARY KEY, id TEXT UNIQUE, state TEXT, input BLOB, output BLOB)"
READY = "CREATE INDEX ready ON job (seq) WHERE state = 'IN_QUEUE'"
INSERT = "INSERT INTO job (id, state, input) VALUES (?, 'IN_QUEUE', ?)"
SELECT = "SELECT id, input FROM job WHERE state = 'IN_QUEUE' ORDER BY seq LIMIT ?"
TAKE = "UPDATE job SET state = 'IN_PROGRESS' WHERE id = ?"
FINISH = "UPDATE job SET state = 'COMPLETED', output = ? WHERE id = ?"


class RawQueue(Protocol):
    """Groups of bare statements; each group is one durable transaction."""

    def submit(self, ids: Sequence[str], input: bytes) -> None: ...

    def take(self, count: int) -> list[str]:
        """The ids of the next jobs, whose inputs were read too."""

    def finish(self, ids: Sequence[str], output: bytes) -> None: ...

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

    def raw(self) -> AbstractContextManager[RawQueue]:
        """A new, empty queue."""


class Sqlite:
    """A file in a temporary folder, one fsync per group."""

    title = f"SQLite {sqlite3.sqlite_version}, synchronous=FULL"
    floor_and_goal = (4_000, 8_000)

    @contextmanager
    def place(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as folder:
            yield f"sqlite://{folder}/jobs.db"

    @contextmanager
    def raw(self) -> Iterator[RawQueue]:
        with tempfile.TemporaryDirectory() as folder, closing(RawSqlite(Path(folder) / "raw.db")) as queue:
            yield queue


class RawSqlite:
    """See `RawQueue`."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "cache_size=-65536"):
            self._connection.execute(f"PRAGMA {pragma}")
        for statement in (TABLE, READY):
            self._connection.execute(statement)

    def submit(self, ids: Sequence[str], input: bytes) -> None:
        self._group(INSERT, [(id, input) for id in ids])

    def take(self, count: int) -> list[str]:
        ids = [id for id, _ in self._connection.execute(SELECT, (count,))]
        self._group(TAKE, [(id,) for id in ids])
        return ids

    def finish(self, ids: Sequence[str], output: bytes) -> None:
        self._group(FINISH, [(output, id) for id in ids])

    def close(self) -> None:
        self._connection.close()

    def _group(self, statement: str, rows: Sequence[tuple[object, ...]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for row in rows:
            self._connection.execute(statement, row)
        self._connection.execute("COMMIT")


ENGINES: dict[str, Engine] = {"sqlite": Sqlite()}
