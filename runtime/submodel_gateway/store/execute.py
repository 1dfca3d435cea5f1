"""What each operation means, once for every engine.

`execute` loads rows, asks `jobs.transition`, and writes what it says. An engine brings the `Rows` underneath and the
transaction around it.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs import breaker, events, outbox
from submodel_gateway.jobs.breaker import Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job, WebhookState
from submodel_gateway.jobs.transition import Reason, Refusal, Transition, transition
from submodel_gateway.store import base

NONCES = 2**63
"""Nonces fit into a signed 64-bit column."""


class KeyEntry(msgspec.Struct, frozen=True):
    """What an idempotency key leads to. `state` is that of a job which is forgotten."""

    job: str
    body_hash: str
    expires_at: int
    state: JobState | None = None


class Mark(msgspec.Struct, frozen=True):
    """When a gateway last swept, and until when jobs are held because nobody could renew: `hold_ms` from the end of
    that."""

    swept_at: int = 0
    hold_until: int = 0


class Rows(Protocol):
    """The stored rows, as seen inside the transaction."""

    def admits(self) -> bool:
        """Whether there is room for new jobs."""

    def load(self, endpoint: str, id: str) -> Job | None:
        """The job of that id, if it belongs to the endpoint."""

    def next_seq(self) -> int:
        """A number above all given before."""

    def save(self, change: Transition) -> None:
        """Write the record after `change`, count it, and drop what it ended: streamed items and progress of an
        attempt that is over without outcome (`requeued`), also result and webhook of a generation that is over
        (`reopened`), everything of a forgotten job. Stores `change.error`."""

    def put_payload(self, job: Job, input: base.Payload, extra: bytes, webhook: str | None) -> None: ...
    def payload(self, job: Job) -> tuple[base.Payload, bytes]: ...
    def webhook_url(self, job: str) -> str: ...
    def put_result(self, job: Job, output: base.Payload | None, error: str | None) -> None: ...
    def put_progress(self, job: Job, value: bytes) -> None: ...
    def append_chunks(self, job: Job, first: int, items: Iterable[bytes]) -> None: ...

    def ready(self, endpoint: str, now: int, limit: int) -> list[Job]:
        """Queued jobs that may go, in order of `place` and `seq`."""

    def running(self, endpoint: str) -> bool:
        """Whether any job of the endpoint is in progress."""

    def held(self, endpoint: str, worker: str) -> list[Job]: ...
    def due(self, now: int, limit: int) -> list[Job]:
        """Jobs whose `due_at` has come, the earliest first, then by `seq`."""

    def live(self, endpoint: str, up_to: int, limit: int, *, running: bool) -> list[Job]:
        """Queued jobs with a `seq` of at most `up_to` in order of the queue, then, if asked, the running ones."""

    def mark(self) -> Mark: ...
    def put_mark(self, mark: Mark) -> None: ...

    def breaker(self, endpoint: str) -> Breaker: ...
    def put_breaker(self, endpoint: str, breaker: Breaker) -> None: ...

    def key(self, endpoint: str, principal: str, key: str) -> KeyEntry | None: ...
    def put_key(self, endpoint: str, principal: str, key: str, entry: KeyEntry) -> None:
        """Write an entry, in place of an expired one."""

    def settle_keys(self, job: Job) -> None:
        """Note the last state of a job that is being forgotten in the entries that lead to it."""

    def expire_keys(self, now: int, limit: int) -> None:
        """Drop entries that have expired, the earliest first."""

    def webhook(self, endpoint: str, id: str) -> Webhook | None: ...
    def put_webhook(self, webhook: Webhook) -> None: ...
    def due_webhooks(self, now: int, limit: int) -> list[Webhook]:
        """Webhooks whose `next_at` has come, the earliest first, then by the job's id."""

    def put_endpoint(self, endpoint: str, registration: bytes) -> None: ...
    def delete_endpoint(self, endpoint: str, limit: int) -> bool:
        """Drop up to `limit` idempotency keys of an endpoint and, when there were fewer, its breaker and registration.

        Returns whether there may be more keys.
        """


def execute(rows: Rows, operation: base.Operation, now: int) -> base.Outcome:
    """Apply one operation to `rows`."""
    return _MEANING[type(operation)](rows, operation, now)


def _submit(rows: Rows, op: base.Submit, now: int) -> base.Outcome:
    if (known := rows.load(op.endpoint, op.id)) is not None:
        return base.Refused(Reason.EXISTS, known)
    if (repeated := _repeated(rows, op, now)) is not None:
        return repeated
    if not rows.admits():
        return base.Refused(Reason.FULL)
    event = events.Submitted(
        id=op.id,
        endpoint=op.endpoint,
        seq=rows.next_seq(),
        max_attempts=op.max_attempts,
        execution_timeout_ms=op.execution_timeout_ms,
        ttl_ms=op.ttl_ms,
        retention_ms=op.retention_ms,
        pri=op.pri,
        low_priority=op.low_priority,
        retry_errors=op.retry_errors,
        webhook=op.webhook is not None,
        keyed=op.idempotency is not None,
    )
    done = transition(None, event, now)
    if isinstance(done, Refusal) or done.after is None:
        return base.Refused(Reason.EXISTS)
    rows.save(done)
    rows.put_payload(done.after, op.input, op.extra, op.webhook)
    if (key := op.idempotency) is not None:
        rows.put_key(op.endpoint, key.principal, key.key, KeyEntry(op.id, key.body_hash, key.expires_at))
    return base.Applied(done)


def _repeated(rows: Rows, op: base.Submit, now: int) -> base.Outcome | None:
    key = op.idempotency
    entry = rows.key(op.endpoint, key.principal, key.key) if key else None
    if key is None or entry is None or entry.expires_at <= now:
        return None
    job = rows.load(op.endpoint, entry.job)
    if entry.body_hash != key.body_hash:
        return base.Refused(Reason.KEY_REUSED, job)
    state = job.state if job else entry.state
    return base.Repeated(entry.job, state) if state else None


def _take(rows: Rows, op: base.Take, now: int) -> base.Outcome:
    leases: list[base.Lease] = []
    taken: list[Transition] = []
    size = 0
    for job in rows.ready(op.endpoint, now, _allowed(rows, op, now)):
        input, extra = rows.payload(job)
        size += base.size_of(input) + len(extra)
        if leases and size > op.max_bytes:
            break
        nonce = (op.nonce + len(leases)) % NONCES
        event = events.Taken(worker=op.worker, session=op.session, nonce=nonce, lease_ms=op.lease_ms)
        done = transition(job, event, now)
        if isinstance(done, Transition) and done.after is not None:
            rows.save(done)
            taken.append(done)
            leases.append(base.Lease(done.after, input, extra))
    return base.Taken(tuple(leases), tuple(taken))


def _allowed(rows: Rows, op: base.Take, now: int) -> int:
    if not breaker.is_open(rows.breaker(op.endpoint), now):
        return op.limit
    return 0 if rows.running(op.endpoint) else min(1, op.limit)


def _heartbeat(rows: Rows, op: base.Heartbeat, now: int) -> base.Outcome:
    return _one(rows, op, events.Heartbeat(op.token, op.lease_ms), now)


def _progress(rows: Rows, op: base.Progress, now: int) -> base.Outcome:
    outcome = _one(rows, op, events.Progressed(op.token), now)
    if isinstance(outcome, base.Applied) and outcome.change.after is not None:
        rows.put_progress(outcome.change.after, op.value)
    return outcome


def _append_chunk(rows: Rows, op: base.AppendChunk, now: int) -> base.Outcome:
    event = events.Chunked(op.token, op.seq, tuple(len(item) for item in op.items))
    outcome = _one(rows, op, event, now)
    if isinstance(outcome, base.Applied) and not outcome.change.duplicate and outcome.change.before is not None:
        last = outcome.change.before.chunks
        rows.append_chunks(outcome.change.before, last + 1, op.items[last + 1 - op.seq :])
    return outcome


def _finish(rows: Rows, op: base.Finish, now: int) -> base.Outcome:
    event = events.Finished(token=op.token, failed=op.error is not None, final=op.final, execution_ms=op.execution_ms)
    outcome = _one(rows, op, event, now)
    if isinstance(outcome, base.Applied) and outcome.change.ended and outcome.change.after is not None:
        rows.put_result(outcome.change.after, op.output, op.error)
    return outcome


def _release(rows: Rows, op: base.Release, now: int) -> base.Outcome:
    return _one(rows, op, events.Released(op.token), now)


def _lose(rows: Rows, op: base.Lose, now: int) -> base.Outcome:
    return _one(rows, op, events.Lost(op.token, op.reason, op.charged), now)


def _cancel(rows: Rows, op: base.Cancel, now: int) -> base.Outcome:
    return _one(rows, op, events.Cancelled(), now)


def _retry(rows: Rows, op: base.Retry, now: int) -> base.Outcome:
    refused = transition(rows.load(op.endpoint, op.id), events.Retried(0), now)
    if isinstance(refused, Refusal):
        return base.Refused(refused.reason, refused.job)
    return _one(rows, op, events.Retried(rows.next_seq()), now)


def _shorten(rows: Rows, op: base.Shorten, now: int) -> base.Outcome:
    return _one(rows, op, events.Shortened(op.keep_ms), now)


def _worker_gone(rows: Rows, op: base.WorkerGone, now: int) -> base.Outcome:
    held = [job for job in rows.held(op.endpoint, op.worker) if op.concerns(job.session)]
    return _each(rows, held, lambda job: events.Lost(job.token, op.reason, op.charged), now)


def _purge(rows: Rows, op: base.Purge, now: int) -> base.Outcome:
    jobs = rows.live(op.endpoint, op.up_to, op.limit, running=op.running)
    return _each(rows, jobs, lambda job: events.Cancelled(op.reason), now)


def _sweep(rows: Rows, op: base.Sweep, now: int) -> base.Outcome:
    mark = rows.mark()
    away = now - max(mark.swept_at, op.seen_at) > op.away_ms
    mark = Mark(now, now + op.hold_ms if away else mark.hold_until)
    rows.put_mark(mark)
    rows.expire_keys(now, op.limit)
    due = events.Due(back_at=mark.hold_until - op.hold_ms, hold_until=mark.hold_until)
    return _each(rows, rows.due(now, op.limit), lambda job: due, now)


def _lease_webhooks(rows: Rows, op: base.LeaseWebhooks, now: int) -> base.Outcome:
    leased: list[base.DueWebhook] = []
    for webhook in rows.due_webhooks(now, op.limit):
        mine = outbox.lease(webhook, op.nonce, op.lease_ms, now)
        rows.put_webhook(mine)
        leased.append(base.DueWebhook(mine, rows.webhook_url(mine.id)))
    return base.Webhooks(tuple(leased))


def _settle_webhook(rows: Rows, op: base.SettleWebhook, now: int) -> base.Outcome:
    webhook = _leased_webhook(rows, op)
    if webhook is None:
        return base.Refused(Reason.STALE, rows.load(op.endpoint, op.id))
    tried = outbox.settled(webhook) if op.delivered else outbox.after_failure(webhook, now, op.jitter)
    rows.put_webhook(outbox.noted(tried, op.answer, now))
    if tried.next_at is not None:
        return base.Stored()
    return _one(rows, op, events.WebhookSettled(op.gen, op.delivered), now)


def _release_webhook(rows: Rows, op: base.ReleaseWebhook, now: int) -> base.Outcome:
    webhook = _leased_webhook(rows, op)
    if webhook is None:
        return base.Refused(Reason.STALE, rows.load(op.endpoint, op.id))
    rows.put_webhook(outbox.release(webhook, op.delay_ms, now))
    return base.Stored()


def _leased_webhook(rows: Rows, op: base.SettleWebhook | base.ReleaseWebhook) -> Webhook | None:
    """The webhook, if it is still in the hands of the dispatcher that speaks."""
    webhook = rows.webhook(op.endpoint, op.id)
    if webhook is None or webhook.next_at is None:
        return None
    return webhook if (webhook.gen, webhook.nonce) == (op.gen, op.nonce) else None


def _replay_webhook(rows: Rows, op: base.ReplayWebhook, now: int) -> base.Outcome:
    outcome = _one(rows, op, events.WebhookReplayed(), now)
    if isinstance(outcome, base.Applied) and (job := outcome.change.after) is not None:
        before = rows.webhook(job.endpoint, job.id)
        log = before.answer if before is not None else ""
        rows.put_webhook(Webhook(id=job.id, endpoint=job.endpoint, gen=job.gen, next_at=now, answer=log))
    return outcome


def _put_endpoint(rows: Rows, op: base.PutEndpoint, now: int) -> base.Outcome:
    rows.put_endpoint(op.endpoint, op.registration)
    return base.Stored()


def _delete_endpoint(rows: Rows, op: base.DeleteEndpoint, now: int) -> base.Outcome:
    return base.Stored(more=rows.delete_endpoint(op.endpoint, op.limit))


_OnJob = base.JobOperation | base.SettleWebhook | base.ReplayWebhook | base.Shorten


def _one(rows: Rows, op: _OnJob, event: events.Event, now: int) -> base.Outcome:
    done = transition(rows.load(op.endpoint, op.id), event, now)
    if isinstance(done, Refusal):
        return base.Refused(done.reason, done.job)
    if done.after is not done.before:
        _save(rows, done, now)
    return base.Applied(done)


def _each(rows: Rows, jobs: Iterable[Job], event: Callable[[Job], events.Event], now: int) -> base.Swept:
    changed: list[Transition] = []
    for job in jobs:
        done = transition(job, event(job), now)
        if isinstance(done, Transition):
            _save(rows, done, now)
            changed.append(done)
    return base.Swept(tuple(changed))


def _save(rows: Rows, done: Transition, now: int) -> None:
    """Write a change and what follows from it."""
    rows.save(done)
    job = done.after
    if job is None:
        if done.before is not None and done.before.keyed:
            rows.settle_keys(done.before)
        return
    if done.ended and job.webhook is WebhookState.PENDING:
        rows.put_webhook(Webhook(id=job.id, endpoint=job.endpoint, gen=job.gen, next_at=now))
    if done.lost:
        rows.put_breaker(job.endpoint, breaker.after_loss(rows.breaker(job.endpoint), job.id, now))
    elif done.delivered and rows.breaker(job.endpoint).losses:
        rows.put_breaker(job.endpoint, breaker.CLOSED)


# Any: each function takes its own kind of operation, and the table pairs them by that kind.
_MEANING: dict[type, Callable[[Rows, Any, int], base.Outcome]] = {
    base.Submit: _submit,
    base.Take: _take,
    base.Heartbeat: _heartbeat,
    base.Progress: _progress,
    base.AppendChunk: _append_chunk,
    base.Finish: _finish,
    base.Release: _release,
    base.Lose: _lose,
    base.Cancel: _cancel,
    base.Retry: _retry,
    base.Shorten: _shorten,
    base.WorkerGone: _worker_gone,
    base.Purge: _purge,
    base.Sweep: _sweep,
    base.LeaseWebhooks: _lease_webhooks,
    base.SettleWebhook: _settle_webhook,
    base.ReleaseWebhook: _release_webhook,
    base.ReplayWebhook: _replay_webhook,
    base.PutEndpoint: _put_endpoint,
    base.DeleteEndpoint: _delete_endpoint,
}
