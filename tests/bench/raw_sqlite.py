"""SQLite on its own; see `raw`."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from tests.bench.driving import ENDPOINT, driving
from tests.bench.raw import Change, Moment, RawJob, RawQueue, life

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "cache_size=-65536")
NEXT = """SELECT key, id, job.*, payload.* FROM job JOIN payload USING (key)
WHERE endpoint = ? AND state = 'IN_QUEUE' ORDER BY place, seq LIMIT ?"""


class RawSqlite(RawQueue):
    """One connection, one statement per row."""

    def __init__(self, path: Path, moments: Sequence[Moment]) -> None:
        super().__init__(moments)
        self._connection = sqlite3.connect(path, isolation_level=None)
        for pragma in PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")

    @classmethod
    async def open(cls, folder: Path) -> "RawSqlite":
        """Learn from a store of its own, then begin with another, empty one."""
        model = folder / "life.db"
        moments = await life(f"sqlite://{model}", lambda: _look(model))
        async with driving(f"sqlite://{folder}/raw.db"):
            pass
        return cls(folder / "raw.db", moments)

    def close(self) -> None:
        self._connection.close()

    def _next(self, count: int) -> list[RawJob]:
        return [(key, id) for key, id, *_ in self._connection.execute(NEXT, (ENDPOINT, count))]

    def _write(self, changes: Sequence[Change], jobs: Sequence[RawJob]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for change in changes:
            columns = change.columns if change.is_new else [*change.columns, "key"]
            sql = _sql(change)
            for values in zip(*(change.values(column, jobs) for column in columns), strict=True):
                self._connection.execute(sql, values)
        self._connection.execute("COMMIT")


def _sql(change: Change) -> str:
    if change.is_new:
        places = ", ".join("?" * len(change.columns))
        return f"INSERT INTO {change.table} ({', '.join(change.columns)}) VALUES ({places})"
    return f"UPDATE {change.table} SET {', '.join(f'{column} = ?' for column in change.columns)} WHERE key = ?"


def _look(path: Path) -> Moment:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    connection.row_factory = sqlite3.Row
    moment = {}
    for (table,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall():
        rows = [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]
        if rows and "key" in rows[0]:
            moment[table] = rows[0]
    connection.close()
    return moment
