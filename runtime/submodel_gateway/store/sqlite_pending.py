"""Changed rows of `job` that the SQLite store's transaction has not written yet.

A group changes many jobs in few ways. Rows whose changes are of one kind are written by one statement, and only in the
columns that changed: an index is touched only with its columns. Who reads `job` inside the transaction writes first.
"""

import sqlite3
from collections import defaultdict
from itertools import compress
from operator import is_not
from typing import Any

from msgspec.structs import astuple

from submodel_gateway.jobs.record import Job
from submodel_gateway.store.sqlite_reads import FIELDS, FLAGS, STATE, STATE_NAMES, WEBHOOK, WEBHOOK_STATE_NAMES

_ROW = ("key", *FIELDS, "place", "due_at")
_INSERT = f"INSERT INTO job ({', '.join(_ROW)}) VALUES ({', '.join('?' * len(_ROW))})"
_PLACES = range(len(FIELDS))
_OF_PLACE = {FIELDS.index(field) for field in ("queued_at", "pri")}

_Changes = tuple[int, ...]
"""Places in `FIELDS` where a record differs from the one before."""


class PendingJobs:
    """The changes of one transaction, by the job's key."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._statements: dict[_Changes, str] = {}
        self.clear()

    def clear(self) -> None:
        """The transaction is over."""
        self._new: dict[int, Job] = {}
        self._changed: dict[int, tuple[Job, Job]] = {}
        self._gone: list[tuple[int]] = []

    def __bool__(self) -> bool:
        return bool(self._new or self._changed or self._gone)

    def insert(self, key: int, job: Job) -> None:
        self._new[key] = job

    def change(self, key: int, before: Job, after: Job) -> None:
        if key in self._new:
            self._new[key] = after
            return
        earlier = self._changed.get(key)
        self._changed[key] = (earlier[0] if earlier else before, after)

    def delete(self, key: int) -> None:
        self._changed.pop(key, None)
        if self._new.pop(key, None) is None:
            self._gone.append((key,))

    def write(self) -> None:
        """Write everything that is pending."""
        if self._gone:  # first, for a new job may have the id of one that goes
            self._connection.executemany("DELETE FROM job WHERE key = ?", self._gone)
            self._gone = []
        if self._new:
            self._connection.executemany(_INSERT, [_row(key, job) for key, job in self._new.items()])
            self._new = {}
        if self._changed:
            self._update()
            self._changed = {}

    def _update(self) -> None:
        kinds: defaultdict[_Changes, list[tuple[Any, ...]]] = defaultdict(list)
        for key, (before, after) in self._changed.items():
            values = astuple(after)
            # Identity is enough: a changed record shares the values that did not change with the one before.
            changes = tuple(compress(_PLACES, map(is_not, astuple(before), values)))
            kinds[changes].append((key, after.place, after.due_at, *_columns(values, changes)))
        for changes, rows in kinds.items():
            self._connection.executemany(self._statement(changes), rows)

    def _statement(self, changes: _Changes) -> str:
        if changes not in self._statements:
            columns = [f"{FIELDS[place]} = ?{number}" for number, place in enumerate(changes, 4)]
            if not _OF_PLACE.isdisjoint(changes):
                columns.append("place = ?2")
            self._statements[changes] = f"UPDATE job SET {', '.join([*columns, 'due_at = ?3'])} WHERE key = ?1"
        return self._statements[changes]


def _columns(values: tuple[Any, ...], places: _Changes) -> list[Any]:
    # Plain strings and numbers: sqlite3 looks for an adapter of every type it does not know exactly.
    columns = [values[place] for place in places]
    if STATE in places:
        columns[places.index(STATE)] = STATE_NAMES[values[STATE]]
    if WEBHOOK in places:
        columns[places.index(WEBHOOK)] = WEBHOOK_STATE_NAMES[values[WEBHOOK]]
    return columns


def _row(key: int, job: Job) -> tuple[Any, ...]:
    """The values of `_ROW`."""
    values = list(astuple(job))
    values[STATE] = STATE_NAMES[job.state]
    values[WEBHOOK] = WEBHOOK_STATE_NAMES[job.webhook]
    for place in FLAGS:
        values[place] = int(values[place])
    return (key, *values, job.place, job.due_at)
