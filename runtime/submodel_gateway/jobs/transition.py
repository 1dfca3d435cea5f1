"""`transition`: the one function that changes a job.

Store engines load a job, ask `transition`, and write what it says in the same transaction. A refusal is a value: it has
no effect and says why. Terminal states absorb: only retention ends them.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import msgspec
from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.jobs import events
from submodel_gateway.jobs.record import Job, WebhookState

CHUNKS_MAX = 10_000
CHUNK_BYTES_MAX = 64 * 1024 * 1024
"""Streamed items and bytes that one attempt may leave behind."""

BACKOFF_MS = 2_000
BACKOFF_MS_MAX = 60_000


class Reason(StrEnum):
    """Why an event had no effect."""

    UNKNOWN = "unknown"
    EXISTS = "exists"
    NOT_READY = "not-ready"
    NOT_DUE = "not-due"
    STALE = "stale"
    GAP = "gap"
    TOO_LARGE = "too-large"
    FINISHED = "finished"
    NOT_FAILED = "not-failed"
    NO_WEBHOOK = "no-webhook"
    KEY_REUSED = "key-reused"
    FULL = "full"


class Refusal(msgspec.Struct, frozen=True):
    """The event does not fit the job as it is now."""

    reason: Reason
    job: Job | None = None


class Transition(msgspec.Struct, frozen=True):
    """What an event did.

    `before` is None for a new job, `after` is None for one that is forgotten. `error` is the sentence that the gateway
    itself gives as outcome. `stop` says that the worker which held the job does not know of its end yet. `lost` marks
    an execution that was charged and ended with its worker. `duplicate` marks an event that had its effect before.
    """

    before: Job | None
    after: Job | None
    error: str | None = None
    stop: bool = False
    lost: bool = False
    duplicate: bool = False

    @property
    def requeued(self) -> bool:
        """Whether an attempt ended without an outcome; what it streamed is void."""
        return _state(self.before) is JobState.IN_PROGRESS and _state(self.after) is JobState.IN_QUEUE

    @property
    def reopened(self) -> bool:
        """Whether a new generation began; the outcome of the one before is void."""
        before, after = self.before, self.after
        if after is None or after.state is not JobState.IN_QUEUE:  # most are told apart by this
            return False
        return before is not None and before.state.terminal

    @property
    def ended(self) -> bool:
        """Whether the job became final by this."""
        before, after = self.before, self.after
        return after is not None and after.state.terminal and (before is None or not before.state.terminal)

    @property
    def delivered(self) -> bool:
        """Whether a worker delivered an outcome, good or bad: it lived to the end of the execution."""
        return self.after is not None and self.after.result_attempt is not None and self.ended


def transition(job: Job | None, event: events.Event, now: int) -> Transition | Refusal:
    """What `event` does to `job` at `now` (milliseconds); `job` is None when the store has none of that id."""
    if isinstance(event, events.Submitted):
        return Refusal(Reason.EXISTS, job) if job else Transition(None, _new(event, now))
    if job is None:
        return Refusal(Reason.UNKNOWN)
    return _RULES[type(event)](job, event, now)


def _state(job: Job | None) -> JobState | None:
    return job.state if job else None


def _new(event: events.Submitted, now: int) -> Job:
    return Job(
        id=event.id,
        endpoint=event.endpoint,
        state=JobState.IN_QUEUE,
        seq=event.seq,
        pri=event.pri,
        low_priority=event.low_priority,
        max=event.max_attempts,
        retry_errors=event.retry_errors,
        created_at=now,
        queued_at=now,
        ttl_ms=event.ttl_ms,
        deadline=now + event.ttl_ms,
        execution_timeout_ms=event.execution_timeout_ms,
        retention_ms=event.retention_ms,
        keyed=event.keyed,
        webhook=WebhookState.ARMED if event.webhook else WebhookState.NONE,
    )


def _take(job: Job, event: events.Taken, now: int) -> Transition | Refusal:
    if job.state is not JobState.IN_QUEUE or job.run_at > now or job.deadline <= now:
        return Refusal(Reason.NOT_READY, job)
    limit = job.execution_timeout_ms
    return Transition(
        job,
        replace(
            job,
            state=JobState.IN_PROGRESS,
            attempt=job.attempt + 1,
            nonce=event.nonce,
            used=job.used + 1,
            worker=event.worker,
            session=event.session,
            taken_at=now,
            lease_until=now + event.lease_ms,
            exec_limit=now + limit if limit else None,
            chunks=0,
            chunk_bytes=0,
        ),
    )


def _heartbeat(job: Job, event: events.Heartbeat, now: int) -> Transition | Refusal:
    if not _holds(job, event.token):
        return Refusal(Reason.STALE, job)
    lease_until = max(job.lease_until or 0, now + event.lease_ms)
    return Transition(job, replace(job, lease_until=lease_until))


def _progress(job: Job, event: events.Progressed, now: int) -> Transition | Refusal:
    return Transition(job, job) if _holds(job, event.token) else Refusal(Reason.STALE, job)


def _chunk(job: Job, event: events.Chunked, now: int) -> Transition | Refusal:
    if not _holds(job, event.token):
        return Refusal(Reason.STALE, job)
    last = event.seq + len(event.sizes) - 1
    if event.seq < 1 or event.seq > job.chunks + 1:
        return Refusal(Reason.GAP, job)
    if last <= job.chunks:
        return Transition(job, job, duplicate=True)
    size = job.chunk_bytes + sum(event.sizes[job.chunks + 1 - event.seq :])
    if last > CHUNKS_MAX or size > CHUNK_BYTES_MAX:
        return Refusal(Reason.TOO_LARGE, job)
    return Transition(job, replace(job, chunks=last, chunk_bytes=size))


def _finish(job: Job, event: events.Finished, now: int) -> Transition | Refusal:
    if _holds(job, event.token):
        if event.failed and not event.final and job.retry_errors and job.used < job.max:
            return Transition(job, _requeue(job, used=job.used, run_at=now + _backoff_ms(job.used)))
        state = JobState.FAILED if event.failed else JobState.COMPLETED
        return Transition(job, _end(job, state, now, result_attempt=job.attempt, execution_ms=event.execution_ms))
    if job.result_attempt == job.attempt and job.answers_to(event.token):
        return Transition(job, job, duplicate=True)
    return Refusal(Reason.STALE, job)


def _release(job: Job, event: events.Released, now: int) -> Transition | Refusal:
    if not _holds(job, event.token):
        return Refusal(Reason.STALE, job)
    return Transition(job, _requeue(job, used=job.used - 1, run_at=0))


def _lose(job: Job, event: events.Lost, now: int) -> Transition | Refusal:
    if not _holds(job, event.token):
        return Refusal(Reason.STALE, job)
    return _lost(job, event.reason, now, charged=event.charged)


def _due(job: Job, event: events.Due, now: int) -> Transition | Refusal:
    if job.due_at > now:
        return Refusal(Reason.NOT_DUE, job)
    if job.state.terminal:
        return Transition(job, None)
    running = job.state is JobState.IN_PROGRESS
    if running and now < event.hold_until and (job.taken_at or 0) < event.back_at:
        return Transition(job, _held_until(job, event.hold_until))
    if job.deadline <= now:
        error = f"the job did not finish within its time to live of {job.ttl_ms} ms"
        return Transition(job, _end(job, JobState.TIMED_OUT, now), error=error, stop=running)
    if job.exec_limit is not None and job.exec_limit <= now:
        error = f"the execution took longer than its limit of {job.execution_timeout_ms} ms"
        return Transition(job, _end(job, JobState.TIMED_OUT, now), error=error, stop=True)
    return _lost(job, f"worker {job.worker} was not heard of", now, charged=True)


def _held_until(job: Job, until: int) -> Job:
    """Long enough for its worker to come back and deliver what it has done meanwhile."""
    return replace(
        job,
        deadline=max(job.deadline, until),
        exec_limit=None if job.exec_limit is None else max(job.exec_limit, until),
        lease_until=max(job.lease_until or 0, until),
    )


def _cancel(job: Job, event: events.Cancelled, now: int) -> Transition | Refusal:
    if job.state.terminal:
        return Refusal(Reason.FINISHED, job)
    running = job.state is JobState.IN_PROGRESS
    return Transition(job, _end(job, JobState.CANCELLED, now), error=event.reason, stop=running)


def _retry(job: Job, event: events.Retried, now: int) -> Transition | Refusal:
    if job.state.terminal and job.due_at <= now:
        return Refusal(Reason.UNKNOWN)
    if job.state not in (JobState.FAILED, JobState.TIMED_OUT):
        return Refusal(Reason.NOT_FAILED, job)
    return Transition(
        job,
        replace(
            _requeue(job, used=0, run_at=0),
            gen=job.gen + 1,
            seq=event.seq,
            queued_at=now,
            deadline=now + job.ttl_ms,
            finished_at=None,
            keep_until=None,
            result_attempt=None,
            execution_ms=None,
            webhook=WebhookState.NONE if job.webhook is WebhookState.NONE else WebhookState.ARMED,
        ),
    )


def _shorten(job: Job, event: events.Shortened, now: int) -> Transition | Refusal:
    if job.keep_until is None:
        return Refusal(Reason.NOT_READY, job)
    if job.due_at <= now:
        return Refusal(Reason.UNKNOWN)
    keep_until = min(job.keep_until, now + event.keep_ms)
    return Transition(job, job if keep_until == job.keep_until else replace(job, keep_until=keep_until))


def _settle_webhook(job: Job, event: events.WebhookSettled, now: int) -> Transition | Refusal:
    if job.webhook is not WebhookState.PENDING or job.gen != event.gen:
        return Refusal(Reason.STALE, job)
    state = WebhookState.DELIVERED if event.delivered else WebhookState.DEAD
    return Transition(job, replace(job, webhook=state))


def _replay_webhook(job: Job, event: events.WebhookReplayed, now: int) -> Transition | Refusal:
    if job.webhook is WebhookState.NONE:
        return Refusal(Reason.NO_WEBHOOK, job)
    if not job.state.terminal:
        return Refusal(Reason.NOT_READY, job)
    if job.due_at <= now:
        return Refusal(Reason.UNKNOWN)
    return Transition(job, replace(job, webhook=WebhookState.PENDING))


def _holds(job: Job, token: str) -> bool:
    return job.state is JobState.IN_PROGRESS and job.answers_to(token)


def _end(
    job: Job, state: JobState, now: int, *, result_attempt: int | None = None, execution_ms: int | None = None
) -> Job:
    return replace(
        job,
        state=state,
        finished_at=now,
        keep_until=now + job.retention_ms,
        lease_until=None,
        exec_limit=None,
        webhook=WebhookState.PENDING if job.webhook is WebhookState.ARMED else job.webhook,
        result_attempt=result_attempt,
        execution_ms=execution_ms,
    )


def _requeue(job: Job, *, used: int, run_at: int) -> Job:
    return replace(
        job,
        state=JobState.IN_QUEUE,
        used=used,
        run_at=run_at,
        worker=None,
        session=None,
        lease_until=None,
        taken_at=None,
        exec_limit=None,
        chunks=0,
        chunk_bytes=0,
    )


def _lost(job: Job, reason: str, now: int, *, charged: bool) -> Transition:
    if not charged:
        return Transition(job, _requeue(job, used=job.used - 1, run_at=0), stop=True)
    if job.used < job.max:
        # The first loss is most likely the worker's fault, the next ones the job's: only those wait.
        run_at = 0 if job.used <= 1 else now + _backoff_ms(job.used - 1)
        return Transition(job, _requeue(job, used=job.used, run_at=run_at), stop=True, lost=True)
    times = "1 time" if job.used == 1 else f"{job.used} times"
    error = f"worker lost {times}; the last one: {reason}"
    return Transition(job, _end(job, JobState.FAILED, now), error=error, stop=True, lost=True)


def _backoff_ms(failures: int) -> int:
    return min(BACKOFF_MS << (failures - 1), BACKOFF_MS_MAX)


# Any: each rule takes its own kind of event, and the table pairs them by that kind.
_RULES: dict[type, Callable[[Job, Any, int], Transition | Refusal]] = {
    events.Taken: _take,
    events.Heartbeat: _heartbeat,
    events.Progressed: _progress,
    events.Chunked: _chunk,
    events.Finished: _finish,
    events.Released: _release,
    events.Lost: _lose,
    events.Due: _due,
    events.Cancelled: _cancel,
    events.Retried: _retry,
    events.Shortened: _shorten,
    events.WebhookSettled: _settle_webhook,
    events.WebhookReplayed: _replay_webhook,
}
