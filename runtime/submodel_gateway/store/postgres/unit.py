"""The unit of work of a group: rows loaded and locked, changed in memory, written in bulk.

What `execute` asks for is answered from memory where `loading.load` has brought it, and read on the spot
otherwise. Scans go to the database after everything before them is written, so that they see it; only the takes, which
are most of all scans, are answered from the ready jobs that were loaded for the whole group.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from submodel.contract.states import JobState
from submodel_gateway.errors import OperationFailed
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job, WebhookState
from submodel_gateway.jobs.tally import Tally, count
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.store import base
from submodel_gateway.store.execute import KeyEntry
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.aside import Aside
from submodel_gateway.store.postgres.columns import (
    JOB_FIELDS,
    NOTHING,
    Count,
    added,
    count_of,
    job_of,
    payload_of,
    text,
    webhook_of,
)
from submodel_gateway.store.postgres.overlay import END, JOB_OVERHEAD_BYTES, Entry, Queue
from submodel_gateway.store.postgres.pending import Payload, Pending
from submodel_gateway.store.postgres.transaction import Row, Transaction

READY_AGAIN = 64
"""Ready jobs that are loaded when the forecast was too low: other operations of the group took some away."""

_NO_TALLY = Tally()


class Unit(Aside):
    """See `execute.Rows`. Its rows and locks last as long as `transaction`.

    Args:
        room_bytes: how much more may be stored before no new jobs are taken; None for any amount.
    """

    def __init__(self, transaction: Transaction, room_bytes: int | None) -> None:
        super().__init__(transaction)
        self._room_bytes = room_bytes
        self._entries: dict[str, Entry] = {}
        self._queues: dict[str, Queue] = {}
        self._holders: set[tuple[str, str]] = set()
        self._payloads: dict[str, Payload] = {}
        self._urls: dict[str, str] = {}
        self._webhooks: dict[str, Webhook | None] = {}
        self._changed: dict[str, None] = {}
        self._pending = Pending()
        self._tallies: dict[str, Tally] = {}
        self._stored: dict[str, Count] = {}
        self.touched: set[str] = set()
        """Endpoints at which something changed that others may wait for."""

        self.seqs: deque[int] = deque()

    def adopt_jobs(self, rows: Iterable[Row]) -> list[Entry]:
        """Entries of locked job rows."""
        return [self._adopt(row) for row in rows]

    def adopt_new(self, ids: Iterable[str]) -> None:
        """There are no jobs of these ids."""
        for id in ids:
            self._entries.setdefault(id, Entry(None, None))

    def adopt_ready(self, endpoint: str, rows: Sequence[Row], limit: int) -> None:
        """The first ready jobs of an endpoint with their payloads: all there are, when fewer than `limit`."""
        queue = self._queue(endpoint)
        for row in rows:
            entry = self._adopt(row)
            extra, blob, size, webhook, inline = row[-5:]
            if entry.job is not None:
                self._payloads.setdefault(entry.job.id, Payload(payload_of(inline, blob, size), extra, webhook))
        last = job_of(rows[-1]) if len(rows) >= limit else None
        queue.horizon = (last.place, last.seq) if last else END

    def adopt_holders(self, holders: Iterable[tuple[str, str]]) -> None:
        """All jobs that these workers, by endpoint and name, hold are among those adopted."""
        self._holders.update(holders)

    def adopt_webhooks(self, ids: Iterable[str], rows: Iterable[Row]) -> None:
        """The locked webhooks of these jobs."""
        found = {row[0]: webhook_of(row) for row in rows}
        self._webhooks.update((id, found.get(id)) for id in ids)

    def admits(self) -> bool:
        return self._room_bytes is None or self._room_bytes > 0

    def load(self, endpoint: str, id: str) -> Job | None:
        job = self._entry(id).job
        return job if job and job.endpoint == endpoint else None

    def next_seq(self) -> int:
        if self.seqs:
            return self.seqs.popleft()
        ((seq,),) = self._transaction.fetch(sql.NEXT_SEQ)
        return int(seq)

    def save(self, change: Transition) -> None:
        job = change.after or change.before
        assert job is not None, "a transition has a job on one side at least"
        entry = self._entry(job.id)
        if change.before is None and entry.job is not None:
            raise OperationFailed("the job's id is in use at another endpoint")
        before, entry.job, entry.endpoint = entry.job, change.after, job.endpoint
        if (queue := self._queues.get(job.endpoint)) is not None:
            queue.replace(before, change.after)
        self._changed[job.id] = None
        self._count(job.endpoint, change)
        if change.after is None:
            self._forget(entry, job)
            return
        if change.before is not None and job.state is JobState.IN_QUEUE:
            self._void(entry, change.before, job)
        if change.error is not None:
            self.put_result(job, None, change.error)

    def put_payload(self, job: Job, input: base.Payload, extra: bytes, webhook: str | None) -> None:
        self.wrote = True
        self._keep(input)
        payload = Payload(input, extra, None if webhook is None else text(webhook))
        self._payloads[job.id] = self._pending.payloads[job.id] = payload
        self._entry(job.id).input_bytes = size = base.size_of(input) + len(extra)
        if self._room_bytes is not None:
            self._room_bytes -= size + JOB_OVERHEAD_BYTES

    def payload(self, job: Job) -> tuple[base.Payload, bytes]:
        payload = self._payload(job.id)
        assert payload.input is not None, "a stored job has an input"
        return payload.input, payload.extra

    def webhook_url(self, job: str) -> str:
        if job not in self._urls:
            self._urls[job] = self._payload(job).webhook or ""
        return self._urls[job]

    def put_result(self, job: Job, output: base.Payload | None, error: str | None) -> None:
        self.wrote = True
        self._keep(output)
        self._pending.drop_result(job.id)
        self._pending.results[job.id] = base.Content(output, error)
        self._entry(job.id).result_bytes = base.size_of(output) + len(error or "")

    def put_progress(self, job: Job, value: bytes) -> None:
        self._touch(job.endpoint)
        self._pending.progress[job.id] = (job.attempt, value)

    def append_chunks(self, job: Job, first: int, items: Iterable[bytes]) -> None:
        self._touch(job.endpoint)
        chunks = self._pending.chunks.setdefault(job.id, [])
        chunks.extend((job.attempt, seq, item) for seq, item in enumerate(items, first))

    def ready(self, endpoint: str, now: int, limit: int) -> list[Job]:
        if limit <= 0:
            return []
        queue = self._queue(endpoint)
        found = self._known_ready(queue, now, limit)
        if len(found) < limit and queue.horizon < END:
            self.flush()
            wanted = max(limit, READY_AGAIN)
            self.adopt_ready(endpoint, self._transaction.fetch(sql.READY, endpoint, now, now, wanted), wanted)
            found = self._known_ready(queue, now, limit)
        return found

    def running(self, endpoint: str) -> bool:
        # Of two gateways with a probe in mind, one comes first, and the other one sees what it did.
        self.lock_breakers()
        self.flush()
        return bool(self._transaction.fetch(sql.ANY_RUNNING, endpoint))

    def held(self, endpoint: str, worker: str) -> list[Job]:
        if (endpoint, worker) not in self._holders:
            self._scan(sql.HELD, endpoint, text(worker))
            self.adopt_holders([(endpoint, worker)])
        known = (entry.job for entry in self._entries.values())
        running = (job for job in known if job is not None and job.state is JobState.IN_PROGRESS)
        mine = [job for job in running if job.endpoint == endpoint and text(job.worker or "") == text(worker)]
        return sorted(mine, key=lambda job: job.seq)

    def due(self, now: int, limit: int) -> list[Job]:
        jobs = self._scan(sql.DUE, now, limit)
        return sorted((job for job in jobs if job.due_at <= now), key=lambda job: (job.due_at, job.seq))

    def live(self, endpoint: str, up_to: int, limit: int, *, running: bool) -> list[Job]:
        jobs = sorted(self._scan(sql.QUEUED, endpoint, up_to, limit), key=lambda job: (job.place, job.seq))
        if running and len(jobs) < limit:
            held = self._scan(sql.RUNNING, endpoint, up_to, limit - len(jobs))
            jobs += sorted(held, key=lambda job: job.seq)
        return jobs

    def key(self, endpoint: str, principal: str, key: str) -> KeyEntry | None:
        entry = super().key(endpoint, principal, key)
        if entry is None or entry.state is not None or self._entry(entry.job).job is not None:
            return entry
        # Another gateway forgot the job since the entry was read, and noted there how it had ended.
        return self.read_key(endpoint, principal, key)

    def webhook(self, endpoint: str, id: str) -> Webhook | None:
        if id not in self._webhooks:
            self.adopt_webhooks([id], self._transaction.fetch(sql.WEBHOOKS, [id]))
        webhook = self._webhooks[id]
        return webhook if webhook and webhook.endpoint == endpoint else None

    def put_webhook(self, webhook: Webhook) -> None:
        self.wrote = True
        self._webhooks[webhook.id] = self._pending.webhooks[webhook.id] = webhook

    def due_webhooks(self, now: int, limit: int) -> list[Webhook]:
        self.flush()
        due: list[Webhook] = []
        for *row, url in self._transaction.fetch(sql.DUE_WEBHOOKS, now, limit):
            due.append(webhook_of(row))
            self._webhooks[due[-1].id] = due[-1]
            self._urls[due[-1].id] = url or ""
        return sorted(due, key=lambda webhook: (webhook.next_at or 0, webhook.id))

    def finish(self) -> None:
        """Write everything that is not written yet, but for the counts; nothing is asked of the unit afterwards."""
        self.flush()
        for statement, values in self._last.statements():
            self._transaction.queue(statement, *values)

    def flush(self) -> None:
        """Write what scans look for, so that the database says what this unit says."""
        for statement, values in self._pending.statements(self._entries, self._changed):
            self._transaction.queue(statement, *values)
        for id in self._changed:
            self._settle(self._entries[id])
        self._changed.clear()
        self._pending = Pending()

    def counts(self) -> dict[str, Count]:
        """What this unit adds to the counts of each endpoint that it touched; after `finish`."""
        tallies = {endpoint: count_of(tally, 0, 0) for endpoint, tally in self._tallies.items()}
        endpoints = self.touched | tallies.keys() | self._stored.keys()
        return {each: added(tallies.get(each, NOTHING), self._stored.get(each, NOTHING)) for each in sorted(endpoints)}

    def _adopt(self, row: Row) -> Entry:
        id = row[0]
        if id not in self._entries:
            input_bytes, result_bytes = row[len(JOB_FIELDS) : len(JOB_FIELDS) + 2]
            job = job_of(row)
            entry = Entry(job, job, job.endpoint, input_bytes, result_bytes)
            entry.saved_bytes = entry.stored_bytes
            self._entries[id] = entry
            if (queue := self._queues.get(job.endpoint)) is not None:
                queue.replace(None, job)
        return self._entries[id]

    def _entry(self, id: str) -> Entry:
        if id not in self._entries:
            self.adopt_jobs(self._transaction.fetch(sql.LOCK_JOBS, [id]))
            self.adopt_new([id])
        return self._entries[id]

    def _queue(self, endpoint: str) -> Queue:
        if endpoint not in self._queues:
            queue = self._queues[endpoint] = Queue()
            for entry in self._entries.values():
                if entry.job is not None and entry.job.endpoint == endpoint:
                    queue.replace(None, entry.job)
        return self._queues[endpoint]

    def _known_ready(self, queue: Queue, now: int, limit: int) -> list[Job]:
        jobs = (self._entries[id].job for id in queue.known())
        return list(islice((job for job in jobs if job and job.run_at <= now < job.deadline), limit))

    def _scan(self, statement: str, *values: Any) -> list[Job]:
        self.flush()
        entries = self.adopt_jobs(self._transaction.fetch(statement, *values))
        return [entry.job for entry in entries if entry.job is not None]

    def _payload(self, id: str) -> Payload:
        payload = self._payloads.get(id)
        if payload is None or payload.input is None:
            ((extra, blob, size, webhook, inline),) = self._transaction.fetch(sql.PAYLOAD, id)
            payload = self._payloads[id] = Payload(payload_of(inline, blob, size), extra, webhook)
        return payload

    def _count(self, endpoint: str, change: Transition) -> None:
        self.wrote = True
        before = self._tallies.get(endpoint, _NO_TALLY)
        after = count(before, change)
        if after is not before:
            self._tallies[endpoint] = after
            self.touched.add(endpoint)

    def _keep(self, payload: base.Payload | None) -> None:
        """A large payload is the store's from now on, if it is still there."""
        if isinstance(payload, base.Blob) and payload.size and not self._transaction.fetch(sql.KEEP, payload.name):
            raise OperationFailed("its large payload was removed before it could be stored; send it again")

    def _touch(self, endpoint: str) -> None:
        self.wrote = True
        self.touched.add(endpoint)

    def _forget(self, entry: Entry, job: Job) -> None:
        if job.chunks:
            self._pending.unstreamed.add(job.id)
        self._pending.forget(job.id, stored=entry.saved is not None, hooked=job.webhook is not WebhookState.NONE)
        self._webhooks[job.id] = None
        self._payloads.pop(job.id, None)
        self._settle(entry)

    def _void(self, entry: Entry, before: Job, job: Job) -> None:
        """The job is back in the queue: what its attempt, or its generation, left behind is void."""
        if before.chunks:
            self._pending.chunks.pop(job.id, None)
            self._pending.unstreamed.add(job.id)
        if before.state.terminal:
            self._reopen(entry, job)

    def _reopen(self, entry: Entry, job: Job) -> None:
        self._pending.drop_result(job.id)
        self._pending.voided.add(job.id)
        entry.result_bytes = 0
        if job.webhook is not WebhookState.NONE:
            self._pending.webhooks.pop(job.id, None)
            self._pending.unhooked.add(job.id)
            self._webhooks[job.id] = None

    def _settle(self, entry: Entry) -> None:
        """Its row is as good as written; what it adds to the stored jobs and bytes is counted."""
        stored = entry.settle()
        if any(stored):
            self._stored[entry.endpoint] = added(self._stored.get(entry.endpoint, NOTHING), stored)
