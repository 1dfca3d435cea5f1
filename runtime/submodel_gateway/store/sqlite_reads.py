"""Statements of the SQLite store that read, through any connection."""

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from submodel.contract.states import JobState
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job, WebhookState
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base

FIELDS = Job.__struct_fields__
TALLY_FIELDS = Tally.__struct_fields__
WEBHOOK_FIELDS = Webhook.__struct_fields__

COLUMNS = ", ".join(FIELDS)
WEBHOOK_COLUMNS = ", ".join(WEBHOOK_FIELDS)
SELECT = f"SELECT key, {COLUMNS} FROM job"
SEQ_MAX = 2**63 - 1
_SAME = "(SELECT key FROM job WHERE id = ? AND gen = ? AND attempt = ?"
"""The key of a job that has not moved on since its record was read."""

_WAITING = "FROM job INDEXED BY waiting WHERE endpoint = ?1 AND state = 'IN_QUEUE' AND low_priority = 0"
_LATE = f"SELECT count(*) FROM (SELECT 1 {_WAITING} AND queued_at <= ?2 LIMIT {base.LATE_MAX})"
_USUAL = f"SELECT count(*) FROM (SELECT 1 {_WAITING} LIMIT {base.USUAL_MAX})"
_LOW = "FROM job INDEXED BY low WHERE endpoint = ?1 AND low_priority = 1 AND state"
_BACKLOG = (
    f"SELECT (SELECT min(queued_at) {_WAITING}), EXISTS (SELECT 1 {_LOW} = 'IN_QUEUE'), "
    f"(SELECT count(*) FROM (SELECT 1 {_LOW} = 'IN_PROGRESS' LIMIT {base.LATE_MAX}))"
)
"""In one statement: of a thousand endpoints each costs more to ask than to answer."""

FLAGS = tuple(FIELDS.index(field) for field in ("low_priority", "retry_errors", "keyed"))
STATE = FIELDS.index("state")
WEBHOOK = FIELDS.index("webhook")
_STATES = {state.value: state for state in JobState}
_WEBHOOK_STATES = {state.value: state for state in WebhookState}
STATE_NAMES = {state: state.value for state in JobState}
WEBHOOK_STATE_NAMES = {state: state.value for state in WebhookState}
"""A look into a dictionary costs an eighth of a look at `value`."""


class Reads:
    """Reads on one connection; each sees the last committed state, or the transaction it runs in."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def load(self, endpoint: str, id: str) -> Job | None:
        row = self.connection.execute(f"{SELECT} WHERE id = ?", (id,)).fetchone()
        job = self.job(row) if row else None
        return job if job and job.endpoint == endpoint else None

    def held(self, endpoint: str, worker: str) -> list[Job]:
        where = "endpoint = ? AND worker = ? AND state = 'IN_PROGRESS' ORDER BY seq"
        return self.jobs(where, endpoint, worker, index="holder")

    def holders(self, endpoint: str) -> dict[str, int]:
        sql = "SELECT worker, count(*) FROM job WHERE endpoint = ? AND state = 'IN_PROGRESS' GROUP BY worker"
        return dict(self.connection.execute(sql, (endpoint,)).fetchall())

    def content(self, job: Job) -> base.Content:
        # The state too: under the same key lies the progress of a running job first, and its outcome later.
        sql = f"SELECT output, error FROM result WHERE key = {_SAME} AND state = ?)"
        row = self.connection.execute(sql, (job.id, job.gen, job.attempt, job.state.value)).fetchone()
        return base.Content(row[0] and payload(row[0]), row[1]) if row else base.Content()

    def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        sql = f"SELECT item FROM chunk WHERE key = {_SAME}) AND seq > ? ORDER BY seq LIMIT ?"
        return [item for (item,) in self.connection.execute(sql, (job.id, job.gen, job.attempt, after, limit))]

    def requests(self, endpoint: str, before: int | None, limit: int, states: Collection[JobState]) -> base.Page:
        where, values = "endpoint = ? AND seq < ?", (endpoint, SEQ_MAX if before is None else before)
        wanted = ", ".join(f"'{state.value}'" for state in states or JobState)
        seen = f"{SELECT} WHERE {where} ORDER BY seq DESC LIMIT {base.SCAN_MAX}"
        sql = f"SELECT * FROM ({seen}) WHERE state IN ({wanted}) LIMIT ?"
        jobs = [self.job(row) for row in self.connection.execute(sql, (*values, limit + 1))]
        if len(jobs) > limit:
            return base.Page(tuple(jobs[:limit]), jobs[limit - 1].seq)
        last = f"SELECT seq FROM job WHERE {where} ORDER BY seq DESC LIMIT 2 OFFSET {base.SCAN_MAX - 1}"
        edge = self.connection.execute(last, values).fetchall()
        return base.Page(tuple(jobs), edge[0][0] if len(edge) == 2 else None)

    def backlog(self, endpoint: str, late_at: int | None) -> base.Backlog:
        oldest_at, any_low, running_low = self.connection.execute(_BACKLOG, (endpoint,)).fetchone()
        late = 0
        if oldest_at is not None and late_at is not None and oldest_at <= late_at:
            late = self._number(_LATE, endpoint, late_at)
        usual = self._number(_USUAL, endpoint) if any_low else None
        return base.Backlog(oldest_at, late, usual, running_low)

    def _number(self, sql: str, *values: Any) -> int:
        number: int = self.connection.execute(sql, values).fetchone()[0]
        return number

    def ahead(self, job: Job) -> int:
        queued = "FROM job INDEXED BY ready WHERE endpoint = ? AND state = 'IN_QUEUE' AND (place, seq) < (?, ?)"
        sql = f"SELECT count(*) FROM (SELECT 1 {queued} LIMIT {base.AHEAD_MAX})"
        count: int = self.connection.execute(sql, (job.endpoint, job.place, job.seq)).fetchone()[0]
        return count

    def endpoints(self) -> dict[str, bytes]:
        return dict(self.connection.execute("SELECT id, registration FROM endpoint").fetchall())

    def owns(self, blob: str) -> bool:
        """Whether a job refers to the file of this name."""
        return self.connection.execute("SELECT 1 FROM blob WHERE name = ?", (blob,)).fetchone() is not None

    def next_due(self, now: int) -> int | None:
        earliest = (
            ("SELECT min(due_at) FROM job", ()),
            ("SELECT min(run_at) FROM job WHERE state = 'IN_QUEUE' AND run_at > 0 AND run_at > ?", (now,)),
            ("SELECT min(expires_at) FROM idempotency", ()),
        )
        instants = [self.connection.execute(sql, values).fetchone()[0] for sql, values in earliest]
        return min((instant for instant in instants if instant is not None), default=None)

    def next_webhook(self) -> int | None:
        sql = "SELECT min(next_at) FROM outbox WHERE next_at IS NOT NULL"
        instant: int | None = self.connection.execute(sql).fetchone()[0]
        return instant

    def webhook(self, endpoint: str, id: str) -> Webhook | None:
        row = self.connection.execute(f"SELECT {WEBHOOK_COLUMNS} FROM outbox WHERE id = ?", (id,)).fetchone()
        return webhook(row) if row and row[1] == endpoint else None

    def jobs(self, where: str, *values: Any, index: str) -> list[Job]:
        """The index is named: the planner, which knows no counts, would rather sort a whole endpoint now and then."""
        sql = f"{SELECT} INDEXED BY {index} WHERE {where}"
        return [self.job(row) for row in self.connection.execute(sql, values)]

    def job(self, row: Sequence[Any]) -> Job:
        """The record in a row of `SELECT`."""
        values = list(row[1:])
        values[STATE] = _STATES[values[STATE]]
        values[WEBHOOK] = _WEBHOOK_STATES[values[WEBHOOK]]
        for place in FLAGS:
            values[place] = bool(values[place])
        return Job(*values)


def webhook(row: tuple[Any, ...]) -> Webhook:
    """The webhook in a row of `WEBHOOK_COLUMNS`."""
    return Webhook(**dict(zip(WEBHOOK_FIELDS, row, strict=True)))


def payload(column: bytes | str) -> base.Payload:
    """What a payload column holds: the bytes, or the file that does."""
    if isinstance(column, bytes):
        return column
    name, _, size = column.rpartition(":")
    return base.Blob(name, int(size))


def column(payload: base.Payload | None) -> bytes | str | None:
    """The value of a payload column."""
    return f"{payload.name}:{payload.size}" if isinstance(payload, base.Blob) else payload
