"""PostgreSQL on its own; see `raw`."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import psycopg
from psycopg.rows import dict_row

from tests.bench.driving import ENDPOINT, driving
from tests.bench.raw import FIRST, Change, Moment, RawJob, RawQueue, life

NEXT = """SELECT seq, id, job.*, payload.* FROM job JOIN payload USING (id)
WHERE endpoint = %s AND state = 'IN_QUEUE' ORDER BY place, seq LIMIT %s FOR UPDATE OF job SKIP LOCKED"""

COLUMNS = """SELECT table_name, column_name, data_type FROM information_schema.columns
WHERE table_schema = 'submodel' ORDER BY ordinal_position"""

Types = dict[str, dict[str, str]]
"""Of each table's columns."""


class RawPostgres(RawQueue):
    """One connection; all rows of a table in one statement, all statements of a group in one round trip."""

    def __init__(self, url: str, types: Types, moments: Sequence[Moment]) -> None:
        super().__init__(moments)
        self._types = types
        self._connection = _connect(url)

    @classmethod
    async def open(cls, databases: Sequence[str]) -> "RawPostgres":
        """Learn from a store in one database, then begin with an empty one in another."""
        learned, empty = databases
        with ExitStack() as stack:
            async with driving(learned):
                connection = stack.enter_context(_connect(learned))
            types: Types = {}
            for table, column, kind in connection.execute(COLUMNS).fetchall():
                types.setdefault(table, {})[column] = kind
            moments = await life(learned, lambda: _look(connection, types))
        async with driving(empty):
            pass
        return cls(empty, types, moments)

    def close(self) -> None:
        self._connection.close()

    def _next(self, count: int) -> list[RawJob]:
        self._connection.execute("BEGIN")
        rows = self._connection.execute(NEXT, (ENDPOINT, count), binary=True).fetchall()
        return [(seq, id) for seq, id, *_ in rows]

    def _write(self, changes: Sequence[Change], jobs: Sequence[RawJob]) -> None:
        with self._connection.pipeline():
            if self._connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
                self._connection.execute("BEGIN")
            for change in changes:
                columns = change.columns if change.is_new else ["id", *change.columns]
                values = [change.values(column, jobs) for column in columns]
                self._connection.execute(self._sql(change, columns).encode(), values)
            self._connection.execute("COMMIT")

    def _sql(self, change: Change, columns: Sequence[str]) -> str:
        types = self._types[change.table]
        places = ", ".join(f"%b::{types[column]}[]" for column in columns)
        names = ", ".join(columns)
        if change.is_new:
            return f"INSERT INTO {change.table} ({names}) SELECT * FROM unnest({places})"
        pairs = ", ".join(f"{column} = r.{column}" for column in change.columns)
        return f"UPDATE {change.table} SET {pairs} FROM unnest({places}) AS r({names}) WHERE {change.table}.id = r.id"


def _connect(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(url, autocommit=True, prepare_threshold=1, options="-c search_path=submodel")


def _look(connection: psycopg.Connection[tuple[Any, ...]], types: Types) -> Moment:
    moment = {}
    for table, columns in types.items():
        if "id" in columns and columns["id"] == "text":
            query = f"SELECT * FROM {table} WHERE id = %s".encode()
            row = connection.cursor(row_factory=dict_row).execute(query, (FIRST,)).fetchone()
            if row is not None:
                moment[table] = row
    return moment
