"""SQLite on its own: the rows that a job's life leaves in the store's tables, written by bare statements.

Tables, indexes and values are the store's. Three moments of one job's life are compared to learn them, so this needs
no knowledge of the schema. Nothing is decided here, nothing is counted, and nobody waits for an answer.
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submodel_gateway.store import base
from submodel_gateway.store.opening import open_store
from tests.bench.driving import ENDPOINT, KIBIBYTE, LEASE_MS, id_of, new_job

PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0", "cache_size=-65536")
NOW = 1_700_000_000_000
FIRST = id_of(0)

NEXT = """SELECT key, id, job.*, payload.* FROM job JOIN payload USING (key)
WHERE endpoint = ? AND state = 'IN_QUEUE' ORDER BY place, seq LIMIT ?"""

Moment = dict[str, dict[str, Any]]
"""The job's row in each table that has one under its number `key`."""


class Template:
    """A statement of one job's life, to be repeated for others: its key, its id and its place in the queue differ."""

    def __init__(self, sql: str, columns: Sequence[str], row: dict[str, Any]) -> None:
        self.sql = sql
        self._values = [row[column] for column in columns]
        self._own = [(place, column) for place, column in enumerate(columns) if column in ("id", "key", "seq")]

    def values(self, key: int, id: str) -> list[Any]:
        values = self._values.copy()
        for place, column in self._own:
            values[place] = id if column == "id" else key
        return values


class RawSqlite:
    """See `engines.RawQueue`."""

    def __init__(self, connection: sqlite3.Connection, queued: Moment, running: Moment, ended: Moment) -> None:
        self._connection = connection
        self._submit = _between({}, queued)
        self._take = _between(queued, running)
        self._finish = _between(running, ended)
        self._last = 0

    @classmethod
    async def open(cls, folder: Path) -> "RawSqlite":
        """Learn from a store of its own, then begin with another, empty one."""
        moments = await _life(folder / "life.db")
        await _create(folder / "raw.db")
        connection = sqlite3.connect(folder / "raw.db", isolation_level=None)
        for pragma in PRAGMAS:
            connection.execute(f"PRAGMA {pragma}")
        return cls(connection, *moments)

    def submit(self, ids: Sequence[str]) -> None:
        self._group(self._submit, list(enumerate(ids, self._last + 1)))
        self._last += len(ids)

    def take(self, count: int) -> list[tuple[int, str]]:
        jobs = [(key, id) for key, id, *_ in self._connection.execute(NEXT, (ENDPOINT, count))]
        self._group(self._take, jobs)
        return jobs

    def finish(self, jobs: Sequence[tuple[int, str]]) -> None:
        self._group(self._finish, jobs)

    def close(self) -> None:
        self._connection.close()

    def _group(self, templates: Sequence[Template], jobs: Sequence[tuple[int, str]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for key, id in jobs:
            for template in templates:
                self._connection.execute(template.sql, template.values(key, id))
        self._connection.execute("COMMIT")


async def _create(path: Path) -> None:
    await open_store(f"sqlite://{path}").close()


async def _life(path: Path) -> list[Moment]:
    """The job queued, running and ended."""
    store = open_store(f"sqlite://{path}")
    moments = []
    store.apply([new_job(FIRST)], NOW)
    moments.append(_look(path))
    take = base.Take(endpoint=ENDPOINT, worker="w", session="s", limit=1, nonce=2**62, lease_ms=LEASE_MS)
    (taken,) = store.apply([take], NOW + 1)
    moments.append(_look(path))
    assert isinstance(taken, base.Taken)
    token = taken.leases[0].job.token
    store.apply([base.Finish(endpoint=ENDPOINT, id=FIRST, token=token, output=KIBIBYTE)], NOW + 2)
    moments.append(_look(path))
    await store.close()
    return moments


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


def _between(before: Moment, after: Moment) -> list[Template]:
    """What leads from one moment to the next."""
    templates = []
    for table, row in after.items():
        known = before.get(table)
        if known is None:
            names = ", ".join(row)
            sql = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(row))})"
            templates.append(Template(sql, list(row), row))
        elif changed := [column for column in row if row[column] != known[column]]:
            sql = f"UPDATE {table} SET {', '.join(f'{column} = ?' for column in changed)} WHERE key = ?"
            templates.append(Template(sql, [*changed, "key"], row))
    return templates
