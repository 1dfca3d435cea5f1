"""Statements of the SQLite store: reading through any connection, writing inside the writer's transaction."""

import sqlite3
from collections.abc import Iterable
from typing import Any

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally, count
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.store import base

_FIELDS = Job.__struct_fields__
_FIXED = {"id", "endpoint", "seq", "pri", "max", "created_at", "deadline", "execution_timeout_ms", "retention_ms"}
_CHANGING = tuple(field for field in _FIELDS if field not in _FIXED)
_TALLY = Tally.__struct_fields__

_COLUMNS = ", ".join(_FIELDS)
_INSERT = f"INSERT INTO job ({_COLUMNS}, due_at) VALUES ({', '.join('?' * (len(_FIELDS) + 1))})"
_UPDATE = f"UPDATE job SET {', '.join(f'{field} = ?' for field in _CHANGING)}, due_at = ? WHERE id = ?"
_SELECT = f"SELECT {_COLUMNS} FROM job"
_KEY = "(SELECT key FROM job WHERE id = ?)"
_SAVE_TALLY = f"INSERT OR REPLACE INTO tally (endpoint, {', '.join(_TALLY)}) VALUES (?{', ?' * len(_TALLY)})"
_SIDE_TABLES = ("payload", "result", "progress", "chunk")


class Reads:
    """Reads on one connection; each sees the last committed state, or the transaction it runs in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def load(self, endpoint: str, id: str) -> Job | None:
        row = self.connection.execute(f"{_SELECT} WHERE id = ?", (id,)).fetchone()
        return _job(row) if row and row[1] == endpoint else None

    def held(self, endpoint: str, worker: str) -> list[Job]:
        return self._jobs("endpoint = ? AND worker = ? AND state = 'IN_PROGRESS' ORDER BY seq", endpoint, worker)

    def holders(self, endpoint: str) -> dict[str, int]:
        sql = "SELECT worker, count(*) FROM job WHERE endpoint = ? AND state = 'IN_PROGRESS' GROUP BY worker"
        return dict(self.connection.execute(sql, (endpoint,)).fetchall())

    def content(self, job: Job) -> base.Content:
        if job.state is JobState.IN_PROGRESS:
            row = self.connection.execute(f"SELECT value, NULL FROM progress WHERE key = {_KEY}", (job.id,)).fetchone()
        else:
            row = self.connection.execute(f"SELECT output, error FROM result WHERE key = {_KEY}", (job.id,)).fetchone()
        return base.Content(*row) if row else base.Content()

    def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        sql = f"SELECT item FROM chunk WHERE key = {_KEY} AND seq > ? ORDER BY seq LIMIT ?"
        return [item for (item,) in self.connection.execute(sql, (job.id, after, limit))]

    def backlog(self, endpoint: str, late_at: int | None) -> base.Backlog:
        queued = "FROM job WHERE endpoint = ? AND state = 'IN_QUEUE'"
        (oldest_at,) = self.connection.execute(f"SELECT min(created_at) {queued}", (endpoint,)).fetchone()
        if late_at is None or oldest_at is None or oldest_at > late_at:
            return base.Backlog(oldest_at)
        sql = f"SELECT count(*) FROM (SELECT 1 {queued} AND created_at <= ? LIMIT ?)"
        (late,) = self.connection.execute(sql, (endpoint, late_at, base.LATE_MAX)).fetchone()
        return base.Backlog(oldest_at, late)

    def endpoints(self) -> dict[str, bytes]:
        return dict(self.connection.execute("SELECT id, registration FROM endpoint").fetchall())

    def tallies(self) -> dict[str, Tally]:
        rows = self.connection.execute(f"SELECT endpoint, {', '.join(_TALLY)} FROM tally")
        return {endpoint: Tally(**dict(zip(_TALLY, values, strict=True))) for endpoint, *values in rows}

    def meta(self) -> dict[str, int]:
        return dict(self.connection.execute("SELECT name, value FROM meta").fetchall())

    def next_due(self, now: int) -> int | None:
        (due,) = self.connection.execute("SELECT min(due_at) FROM job").fetchone()
        sql = "SELECT min(run_at) FROM job WHERE state = 'IN_QUEUE' AND run_at > 0 AND run_at > ?"
        (delayed,) = self.connection.execute(sql, (now,)).fetchone()
        return min((instant for instant in (due, delayed) if instant is not None), default=None)

    def _jobs(self, where: str, *values: Any) -> list[Job]:
        return [_job(row) for row in self.connection.execute(f"{_SELECT} WHERE {where}", values)]


class Writes(Reads):
    """The rows inside the writer's transaction.

    Counters and the queue number are kept in memory: `flush` writes them, `committed` and `rolled_back` settle them.
    """

    def __init__(self, connection: sqlite3.Connection, tallies: dict[str, Tally], seq: int) -> None:
        super().__init__(connection)
        self.committed_tallies = tallies
        self.tallied: dict[str, Tally] = {}
        self.seq = self.committed_seq = seq

    def flush(self, now: int) -> None:
        """Write counters and marks; the last thing before the commit."""
        for endpoint, tally in self.tallied.items():
            self.connection.execute(_SAVE_TALLY, (endpoint, *msgspec.structs.astuple(tally)))
        self.connection.execute("UPDATE meta SET value = ? WHERE name = 'now'", (now,))
        if self.seq != self.committed_seq:
            self.connection.execute("UPDATE meta SET value = ? WHERE name = 'seq'", (self.seq,))

    def committed(self) -> None:
        """The transaction is durable: what it counted may be read."""
        self.committed_tallies.update(self.tallied)
        self.tallied.clear()
        self.committed_seq = self.seq

    def rolled_back(self) -> None:
        """The transaction never was."""
        self.tallied.clear()
        self.seq = self.committed_seq

    def next_seq(self) -> int:
        self.seq += 1
        return self.seq

    def save(self, change: Transition) -> None:
        job = change.after or change.before
        assert job is not None, "a transition has a job on one side at least"
        tally = self.tallied.get(job.endpoint) or self.committed_tallies.get(job.endpoint, Tally())
        self.tallied[job.endpoint] = count(tally, change)
        if change.after is None:
            self._forget(job)
            return
        if change.before is None:
            self.connection.execute(_INSERT, (*_values(job, _FIELDS), job.due_at))
            return
        self.connection.execute(_UPDATE, (*_values(job, _CHANGING), job.due_at, job.id))
        if change.requeued and change.before.chunks:
            self.connection.execute(f"DELETE FROM chunk WHERE key = {_KEY}", (job.id,))
        if change.before.state is JobState.IN_PROGRESS and job.state is not JobState.IN_PROGRESS:
            self.connection.execute(f"DELETE FROM progress WHERE key = {_KEY}", (job.id,))
        if change.error is not None:
            self.put_result(job, None, change.error)

    def put_payload(self, job: Job, input: bytes, extra: bytes) -> None:
        self.connection.execute(
            f"INSERT INTO payload (key, input, extra) VALUES ({_KEY}, ?, ?)", (job.id, input, extra)
        )

    def payload(self, job: Job) -> tuple[bytes, bytes]:
        row: tuple[bytes, bytes] = self.connection.execute(
            f"SELECT input, extra FROM payload WHERE key = {_KEY}", (job.id,)
        ).fetchone()
        return row

    def put_result(self, job: Job, output: bytes | None, error: str | None) -> None:
        sql = f"INSERT OR REPLACE INTO result (key, output, error) VALUES ({_KEY}, ?, ?)"
        self.connection.execute(sql, (job.id, output, error))

    def put_progress(self, job: Job, value: bytes) -> None:
        self.connection.execute(f"INSERT OR REPLACE INTO progress (key, value) VALUES ({_KEY}, ?)", (job.id, value))

    def append_chunks(self, job: Job, first: int, items: Iterable[bytes]) -> None:
        sql = f"INSERT INTO chunk (key, seq, item) VALUES ({_KEY}, ?, ?)"
        self.connection.executemany(sql, [(job.id, seq, item) for seq, item in enumerate(items, first)])

    def ready(self, endpoint: str, now: int, limit: int) -> list[Job]:
        where = "endpoint = ? AND state = 'IN_QUEUE' AND run_at <= ? AND deadline > ? ORDER BY pri DESC, seq LIMIT ?"
        return self._jobs(where, endpoint, now, now, limit)

    def due(self, now: int, limit: int) -> list[Job]:
        return self._jobs("due_at <= ? ORDER BY due_at, seq LIMIT ?", now, limit)

    def leased(self) -> list[Job]:
        return self._jobs("state = 'IN_PROGRESS' ORDER BY seq")

    def live(self, endpoint: str, up_to: int, limit: int, *, running: bool) -> list[Job]:
        queued = "endpoint = ? AND state = 'IN_QUEUE' AND seq <= ? ORDER BY pri DESC, seq LIMIT ?"
        jobs = self._jobs(queued, endpoint, up_to, limit)
        if running and len(jobs) < limit:
            held = "endpoint = ? AND state = 'IN_PROGRESS' AND seq <= ? ORDER BY seq LIMIT ?"
            jobs += self._jobs(held, endpoint, up_to, limit - len(jobs))
        return jobs

    def put_endpoint(self, endpoint: str, registration: bytes) -> None:
        sql = "INSERT OR REPLACE INTO endpoint (id, registration) VALUES (?, ?)"
        self.connection.execute(sql, (endpoint, registration))

    def delete_endpoint(self, endpoint: str) -> None:
        self.connection.execute("DELETE FROM endpoint WHERE id = ?", (endpoint,))

    def _forget(self, job: Job) -> None:
        for table in _SIDE_TABLES:
            self.connection.execute(f"DELETE FROM {table} WHERE key = {_KEY}", (job.id,))
        self.connection.execute("DELETE FROM job WHERE id = ?", (job.id,))


def _values(job: Job, fields: tuple[str, ...]) -> list[Any]:
    # The plain string: sqlite3 looks for an adapter of every type it does not know exactly.
    return [job.state.value if field == "state" else getattr(job, field) for field in fields]


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(_FIELDS, row, strict=True))
    values["state"] = JobState(values["state"])
    return Job(**values)
