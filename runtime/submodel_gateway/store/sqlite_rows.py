"""The rows of the SQLite store inside the writer's transaction; see `execute.Rows`.

What is asked for all the time is kept in memory too: counters, breakers, marks, and the records of running jobs. A
transaction notes its changes aside; `flush` writes them, `committed` or `rolled_back` settles all of them.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.breaker import CLOSED, Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job, WebhookState
from submodel_gateway.jobs.tally import Step, Tally, add, step
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.store import base
from submodel_gateway.store.execute import KeyEntry, Mark
from submodel_gateway.store.sqlite_heads import Heads
from submodel_gateway.store.sqlite_pending import PendingJobs
from submodel_gateway.store.sqlite_reads import (
    FIELDS,
    TALLY_FIELDS,
    WEBHOOK_COLUMNS,
    WEBHOOK_FIELDS,
    Reads,
    column,
    payload,
    webhook,
)
from submodel_gateway.store.sqlite_space import Space

_SAVE_TALLY = (
    f"INSERT OR REPLACE INTO tally (endpoint, {', '.join(TALLY_FIELDS)}) VALUES (?{', ?' * len(TALLY_FIELDS)})"
)

_SMALL_BYTES = 16_384
"""An input up to this size is read together with the record of its job."""

_RECORD = ", ".join(f"job.{name}" for name in ("key", *FIELDS))
_FIRST = f"""SELECT iif(length(input) <= {_SMALL_BYTES}, input, NULL), extra, {_RECORD}
FROM job INDEXED BY ready CROSS JOIN payload USING (key)
WHERE endpoint = ? AND state = 'IN_QUEUE' AND run_at <= ? AND deadline > ? ORDER BY place, seq LIMIT ?"""

RUNNING_MAX = 10_000
"""Records of running jobs that are kept in memory, some 10 MB."""

_Known = tuple[int, Job]
"""A job with its key."""


class Writes(Reads):
    """The rows inside the writer's transaction."""

    def __init__(self, connection: sqlite3.Connection, space: Space) -> None:
        super().__init__(connection)
        self._space = space
        self.meta: dict[str, int] = dict(connection.execute("SELECT name, value FROM meta").fetchall())
        self.tallies = {
            endpoint: Tally(**dict(zip(TALLY_FIELDS, values, strict=True)))
            for endpoint, *values in connection.execute(f"SELECT endpoint, {', '.join(TALLY_FIELDS)} FROM tally")
        }
        self.breakers = {
            endpoint: msgspec.json.decode(losses, type=Breaker)
            for endpoint, losses in connection.execute("SELECT endpoint, losses FROM breaker")
        }
        self._running: dict[str, _Known] = {}
        self._cursor = connection.cursor()
        self._pending = PendingJobs(connection)
        self._heads = Heads(self._first)
        (self._last_key,) = connection.execute("SELECT coalesce(max(key), 0) FROM job").fetchone()
        self._begin()

    def _begin(self) -> None:
        self._seq = self.meta["seq"]
        self._blob_bytes = self.meta["blob_bytes"]
        self._mark = Mark(self.meta["swept_at"], self.meta["hold_until"])
        self._known: dict[str, _Known | None] = {}
        self._inputs: dict[str, tuple[base.Payload, bytes]] = {}
        self._steps: Counter[tuple[str, Step]] = Counter()
        self._tallies: dict[str, Tally] = {}
        self._breakers: dict[str, Breaker] = {}
        self._dropped: list[str] = []
        self._forgotten: list[int] = []
        self._pending.clear()
        self._heads.clear()

    @property
    def marked(self) -> bool:
        """Whether there is a mark to write."""
        return self._mark != Mark(self.meta["swept_at"], self.meta["hold_until"])

    @property
    def new_blob_bytes(self) -> int:
        """How much larger or smaller the owned files are by this transaction."""
        return self._blob_bytes - self.meta["blob_bytes"]

    @property
    def forgot(self) -> bool:
        """Whether any job was forgotten."""
        return bool(self._forgotten)

    @property
    def changed(self) -> bool:
        """Whether there are records to write."""
        return bool(self._pending or self._breakers)

    def flush(self, now: int) -> None:
        """Write records, counters and marks, drop what forgotten jobs leave; the last thing before the commit."""
        self._pending.write()
        if self._forgotten:
            self._bury()
        for (endpoint, kind), times in self._steps.items():
            tally = self._tallies.get(endpoint) or self.tallies.get(endpoint, Tally())
            self._tallies[endpoint] = add(tally, kind, times)
        for endpoint, tally in self._tallies.items():
            self.connection.execute(_SAVE_TALLY, (endpoint, *msgspec.structs.astuple(tally)))
        for endpoint, breaker in self._breakers.items():
            self._save_breaker(endpoint, breaker)
        pending = self._pending_meta(now)
        changed = [(value, name) for name, value in pending.items() if value != self.meta[name]]
        self.connection.executemany("UPDATE meta SET value = ? WHERE name = ?", changed)

    def committed(self, now: int) -> list[str]:
        """The transaction is durable: what it counted may be read. Returns the names of files nobody owns any more."""
        self.tallies.update(self._tallies)
        self.breakers.update(self._breakers)
        self.meta.update(self._pending_meta(now))
        self._remember()
        dropped = self._dropped
        self._begin()
        return dropped

    def rolled_back(self) -> None:
        """The transaction never was."""
        self._begin()

    def _remember(self) -> None:
        """Keep the running jobs in memory: their workers are the ones that ask for them."""
        for id, known in self._known.items():
            self._running.pop(id, None)
            if known is not None and known[1].state is JobState.IN_PROGRESS:
                self._running[id] = known
        for id in list(islice(self._running, max(0, len(self._running) - RUNNING_MAX))):
            del self._running[id]

    def _pending_meta(self, now: int) -> dict[str, int]:
        return {
            "now": now,
            "seq": self._seq,
            "swept_at": self._mark.swept_at,
            "hold_until": self._mark.hold_until,
            "blob_bytes": self._blob_bytes,
        }

    def foresee(self, operations: Sequence[base.Operation]) -> None:
        """Find out at once which ids of submits are new, and what takes will ask for; when nothing is written yet."""
        self._heads.foresee(operations)
        ids = [operation.id for operation in operations if isinstance(operation, base.Submit)]
        if len(ids) > 1:
            sql = "SELECT id FROM job WHERE id IN (SELECT value FROM json_each(?))"
            known = {id for (id,) in self._cursor.execute(sql, (msgspec.json.encode(ids).decode(),))}
            self._known.update((id, None) for id in ids if id not in known)

    def admits(self) -> bool:
        return self._space.admits

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def save(self, change: Transition) -> None:
        job = change.after or change.before
        assert job is not None, "a transition has a job on one side at least"
        if (kind := step(change)) is not None:
            self._steps[job.endpoint, kind] += 1
        self._heads.follow(change)
        if change.after is None:
            self._forget(job)
            return
        key = self._next_key() if change.before is None else self._key(job.id)
        self._known[job.id] = key, job
        if change.before is None:
            self._pending.insert(key, job)
            return
        self._pending.change(key, change.before, job)
        if change.before.chunks and not job.chunks:
            self._cursor.execute("DELETE FROM chunk WHERE key = ?", (key,))
        if change.before.state is not job.state:
            self._settle(change, job, key)

    def _settle(self, change: Transition, job: Job, key: int) -> None:
        """Drop what belonged to the state before: the outcome of a generation, or the progress of an execution."""
        if change.reopened:
            self._cursor.execute("DELETE FROM outbox WHERE id = ?", (job.id,))
        if change.error is not None:
            self.put_result(job, None, change.error)
        elif job.state is not JobState.IN_PROGRESS and not change.delivered:
            self._drop_result(key)

    def put_payload(self, job: Job, input: base.Payload, extra: bytes, webhook: str | None) -> None:
        sql = "INSERT INTO payload (key, input, extra, webhook) VALUES (?, ?, ?, ?)"
        self._cursor.execute(sql, (self._key(job.id), column(input), extra, webhook))
        self._own(job, input)

    def payload(self, job: Job) -> tuple[base.Payload, bytes]:
        if (read := self._inputs.get(job.id)) is not None:
            return read
        sql = "SELECT input, extra FROM payload WHERE key = ?"
        input, extra = self._cursor.execute(sql, (self._key(job.id),)).fetchone()
        return payload(input), extra

    def webhook_url(self, job: str) -> str:
        sql = "SELECT webhook FROM payload WHERE key = ?"
        url: str = self.connection.execute(sql, (self._key(job),)).fetchone()[0]
        return url

    def put_result(self, job: Job, output: base.Payload | None, error: str | None) -> None:
        sql = "INSERT OR REPLACE INTO result (key, output, error) VALUES (?, ?, ?)"
        self._cursor.execute(sql, (self._key(job.id), column(output), error))
        self._own(job, output)

    def put_progress(self, job: Job, value: bytes) -> None:
        sql = "INSERT OR REPLACE INTO result (key, output, error) VALUES (?, ?, NULL)"
        self._cursor.execute(sql, (self._key(job.id), value))

    def append_chunks(self, job: Job, first: int, items: Iterable[bytes]) -> None:
        key = self._key(job.id)
        sql = "INSERT INTO chunk (key, seq, item) VALUES (?, ?, ?)"
        self.connection.executemany(sql, [(key, seq, item) for seq, item in enumerate(items, first)])

    def ready(self, endpoint: str, now: int, limit: int) -> list[Job]:
        return self._heads.ready(endpoint, now, limit)

    def _first(self, endpoint: str, now: int, limit: int) -> list[Job]:
        self._pending.write()
        jobs = []
        for input, extra, *row in self.connection.execute(_FIRST, (endpoint, now, now, limit)):
            job = self.job(row)
            jobs.append(job)
            if input is not None:
                self._inputs[job.id] = payload(input), extra
        return jobs

    def running(self, endpoint: str) -> bool:
        self._pending.write()
        sql = "SELECT EXISTS (SELECT 1 FROM job WHERE endpoint = ? AND state = 'IN_PROGRESS')"
        return bool(self.connection.execute(sql, (endpoint,)).fetchone()[0])

    def due(self, now: int, limit: int) -> list[Job]:
        return self.jobs("due_at <= ? ORDER BY due_at, seq LIMIT ?", now, limit, index="due")

    def live(self, endpoint: str, up_to: int, limit: int, *, running: bool) -> list[Job]:
        queued = "endpoint = ? AND state = 'IN_QUEUE' AND seq <= ? ORDER BY place, seq LIMIT ?"
        jobs = self.jobs(queued, endpoint, up_to, limit, index="ready")
        if running and len(jobs) < limit:
            held = "endpoint = ? AND state = 'IN_PROGRESS' AND seq <= ? ORDER BY seq LIMIT ?"
            jobs += self.jobs(held, endpoint, up_to, limit - len(jobs), index="holder")
        return jobs

    def mark(self) -> Mark:
        return self._mark

    def put_mark(self, mark: Mark) -> None:
        self._mark = mark

    def breaker(self, endpoint: str) -> Breaker:
        return self._breakers.get(endpoint) or self.breakers.get(endpoint, CLOSED)

    def put_breaker(self, endpoint: str, breaker: Breaker) -> None:
        self._breakers[endpoint] = breaker

    def key(self, endpoint: str, principal: str, key: str) -> KeyEntry | None:
        sql = (
            "SELECT job, body_hash, expires_at, state FROM idempotency WHERE endpoint = ? AND principal = ? AND key = ?"
        )
        row = self.connection.execute(sql, (endpoint, principal, key)).fetchone()
        return KeyEntry(row[0], row[1], row[2], JobState(row[3]) if row[3] else None) if row else None

    def put_key(self, endpoint: str, principal: str, key: str, entry: KeyEntry) -> None:
        sql = """INSERT OR REPLACE INTO idempotency (endpoint, principal, key, job, body_hash, expires_at, state)
                 VALUES (?, ?, ?, ?, ?, ?, ?)"""
        state = entry.state.value if entry.state else None
        values = (endpoint, principal, key, entry.job, entry.body_hash, entry.expires_at, state)
        self.connection.execute(sql, values)

    def settle_keys(self, job: Job) -> None:
        self.connection.execute("UPDATE idempotency SET state = ? WHERE job = ?", (job.state.value, job.id))

    def expire_keys(self, now: int, limit: int) -> None:
        expired = (
            "SELECT rowid FROM idempotency WHERE expires_at <= ? ORDER BY expires_at, endpoint, principal, key LIMIT ?"
        )
        self.connection.execute(f"DELETE FROM idempotency WHERE rowid IN ({expired})", (now, limit))

    def put_webhook(self, webhook: Webhook) -> None:
        sql = f"INSERT OR REPLACE INTO outbox ({WEBHOOK_COLUMNS}) VALUES ({', '.join('?' * len(WEBHOOK_FIELDS))})"
        self.connection.execute(sql, msgspec.structs.astuple(webhook))

    def due_webhooks(self, now: int, limit: int) -> list[Webhook]:
        where = "next_at IS NOT NULL AND next_at <= ? ORDER BY next_at, id LIMIT ?"
        rows = self.connection.execute(f"SELECT {WEBHOOK_COLUMNS} FROM outbox WHERE {where}", (now, limit))
        return [webhook(row) for row in rows]

    def put_endpoint(self, endpoint: str, registration: bytes) -> None:
        sql = "INSERT OR REPLACE INTO endpoint (id, registration) VALUES (?, ?)"
        self.connection.execute(sql, (endpoint, registration))

    def delete_endpoint(self, endpoint: str, limit: int) -> bool:
        some = "SELECT rowid FROM idempotency WHERE endpoint = ? LIMIT ?"
        dropped = self.connection.execute(f"DELETE FROM idempotency WHERE rowid IN ({some})", (endpoint, limit))
        if dropped.rowcount == limit:
            return True
        self.connection.execute("DELETE FROM endpoint WHERE id = ?", (endpoint,))
        self._breakers[endpoint] = CLOSED
        return False

    def load(self, endpoint: str, id: str) -> Job | None:
        if (known := self._find(id)) is not None:
            return known[1] if known[1].endpoint == endpoint else None
        return None if id in self._known else super().load(endpoint, id)

    def jobs(self, where: str, *values: Any, index: str) -> list[Job]:
        self._pending.write()
        return super().jobs(where, *values, index=index)

    def job(self, row: Sequence[Any]) -> Job:
        job = super().job(row)
        self._known[job.id] = row[0], job
        return job

    def _find(self, id: str) -> _Known | None:
        return self._known[id] if id in self._known else self._running.get(id)

    def _key(self, id: str) -> int:
        if (known := self._find(id)) is not None:
            return known[0]
        (key,) = self.connection.execute("SELECT key FROM job WHERE id = ?", (id,)).fetchone()
        return int(key)

    def _next_key(self) -> int:
        self._last_key += 1
        return int(self._last_key)

    def _save_breaker(self, endpoint: str, breaker: Breaker) -> None:
        if breaker == CLOSED:
            self.connection.execute("DELETE FROM breaker WHERE endpoint = ?", (endpoint,))
            return
        sql = "INSERT OR REPLACE INTO breaker (endpoint, losses) VALUES (?, ?)"
        self.connection.execute(sql, (endpoint, msgspec.json.encode(breaker)))

    def _own(self, job: Job, payload: base.Payload | None) -> None:
        if isinstance(payload, base.Blob):
            sql = "INSERT INTO blob (name, key) VALUES (?, ?)"
            self.connection.execute(sql, (payload.name, self._key(job.id)))
            self._blob_bytes += payload.size

    def _disown(self, held: bytes | str | None) -> None:
        if isinstance(held, str):
            blob = payload(held)
            assert isinstance(blob, base.Blob), "text is the name of a file"
            self.connection.execute("DELETE FROM blob WHERE name = ?", (blob.name,))
            self._blob_bytes -= blob.size
            self._dropped.append(blob.name)

    def _drop_result(self, key: int) -> None:
        row = self.connection.execute("DELETE FROM result WHERE key = ? RETURNING output", (key,)).fetchone()
        self._disown(row and row[0])

    def _forget(self, job: Job) -> None:
        """Free the job's id; what lies under its key goes with that of all others, at the end of the transaction."""
        key = self._key(job.id)
        self._pending.delete(key)
        if job.webhook is not WebhookState.NONE:
            self.connection.execute("DELETE FROM outbox WHERE id = ?", (job.id,))
        if job.chunks:
            self.connection.execute("DELETE FROM chunk WHERE key = ?", (key,))
        self._known[job.id] = None
        self._forgotten.append(key)

    def _bury(self) -> None:
        keys = msgspec.json.encode(self._forgotten).decode()
        for table, held in (("payload", "input"), ("result", "output")):
            blob = f"iif(typeof({held}) = 'text', {held}, NULL)"
            sql = f"DELETE FROM {table} WHERE key IN (SELECT value FROM json_each(?)) RETURNING {blob}"
            for (name,) in self.connection.execute(sql, (keys,)).fetchall():
                self._disown(name)
