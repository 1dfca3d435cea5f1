"""What each operation means, once for every engine.

`execute` loads rows, asks `jobs.transition`, and writes what it says. An engine brings the `Rows` underneath and the
transaction around it.
"""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from submodel_gateway.jobs import events
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Refusal, Transition, transition
from submodel_gateway.store import base

NONCES = 2**63
"""Nonces fit into a signed 64-bit column."""


class Rows(Protocol):
    """The stored rows, as seen inside the transaction."""

    def load(self, endpoint: str, id: str) -> Job | None:
        """The job of that id, if it belongs to the endpoint."""

    def next_seq(self) -> int:
        """A number above all given before."""

    def save(self, change: Transition) -> None:
        """Write the record after `change`, count it, and drop what it ended: streamed items and progress of an
        attempt that is over without outcome, everything of a forgotten job. Stores `change.error`."""

    def put_payload(self, job: Job, input: bytes, extra: bytes) -> None: ...
    def payload(self, job: Job) -> tuple[bytes, bytes]: ...
    def put_result(self, job: Job, output: bytes | None, error: str | None) -> None: ...
    def put_progress(self, job: Job, value: bytes) -> None: ...
    def append_chunks(self, job: Job, first: int, items: Iterable[bytes]) -> None: ...

    def ready(self, endpoint: str, now: int, limit: int) -> list[Job]:
        """Queued jobs that may go, in order of the queue."""

    def held(self, endpoint: str, worker: str) -> list[Job]: ...
    def due(self, now: int, limit: int) -> list[Job]:
        """Jobs whose `due_at` has come, the earliest first."""

    def leased(self) -> list[Job]:
        """All running jobs in order of `seq`."""

    def live(self, endpoint: str, up_to: int, limit: int, *, running: bool) -> list[Job]:
        """Queued jobs with a `seq` of at most `up_to` in order of the queue, then, if asked, the running ones."""

    def put_endpoint(self, endpoint: str, registration: bytes) -> None: ...
    def delete_endpoint(self, endpoint: str) -> None: ...


def execute(rows: Rows, operation: base.Operation, now: int) -> base.Outcome:
    """Apply one operation to `rows`."""
    return _MEANING[type(operation)](rows, operation, now)


def _submit(rows: Rows, op: base.Submit, now: int) -> base.Outcome:
    known = rows.load(op.endpoint, op.id)
    event = events.Submitted(
        id=op.id,
        endpoint=op.endpoint,
        seq=known.seq if known else rows.next_seq(),
        max_attempts=op.max_attempts,
        execution_timeout_ms=op.execution_timeout_ms,
        ttl_ms=op.ttl_ms,
        retention_ms=op.retention_ms,
        pri=op.pri,
    )
    done = transition(known, event, now)
    if isinstance(done, Refusal):
        return base.Refused(done.reason, done.job)
    rows.save(done)
    if done.after is not None:
        rows.put_payload(done.after, op.input, op.extra)
    return base.Applied(done)


def _take(rows: Rows, op: base.Take, now: int) -> base.Outcome:
    leases: list[base.Lease] = []
    taken: list[Transition] = []
    size = 0
    for job in rows.ready(op.endpoint, now, op.limit):
        input, extra = rows.payload(job)
        size += len(input) + len(extra)
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
    event = events.Finished(op.token, op.error is not None, op.execution_ms)
    outcome = _one(rows, op, event, now)
    if isinstance(outcome, base.Applied) and not outcome.change.duplicate and outcome.change.after is not None:
        rows.put_result(outcome.change.after, op.output, op.error)
    return outcome


def _release(rows: Rows, op: base.Release, now: int) -> base.Outcome:
    return _one(rows, op, events.Released(op.token), now)


def _lose(rows: Rows, op: base.Lose, now: int) -> base.Outcome:
    return _one(rows, op, events.Lost(op.token, op.reason, op.charged), now)


def _cancel(rows: Rows, op: base.Cancel, now: int) -> base.Outcome:
    return _one(rows, op, events.Cancelled(), now)


def _worker_gone(rows: Rows, op: base.WorkerGone, now: int) -> base.Outcome:
    held = [job for job in rows.held(op.endpoint, op.worker) if job.session != op.keep]
    return _each(rows, held, lambda job: events.Lost(job.token, op.reason, op.charged), now)


def _purge(rows: Rows, op: base.Purge, now: int) -> base.Outcome:
    jobs = rows.live(op.endpoint, op.up_to, op.limit, running=op.running)
    return _each(rows, jobs, lambda job: events.Cancelled(), now)


def _sweep(rows: Rows, op: base.Sweep, now: int) -> base.Outcome:
    return _each(rows, rows.due(now, op.limit), lambda job: events.Due(), now)


def _extend_leases(rows: Rows, op: base.ExtendLeases, now: int) -> base.Outcome:
    return _each(rows, rows.leased(), lambda job: events.Extended(op.until), now)


def _put_endpoint(rows: Rows, op: base.PutEndpoint, now: int) -> base.Outcome:
    rows.put_endpoint(op.endpoint, op.registration)
    return base.Stored()


def _delete_endpoint(rows: Rows, op: base.DeleteEndpoint, now: int) -> base.Outcome:
    rows.delete_endpoint(op.endpoint)
    return base.Stored()


def _one(rows: Rows, op: base.JobOperation, event: events.Event, now: int) -> base.Outcome:
    done = transition(rows.load(op.endpoint, op.id), event, now)
    if isinstance(done, Refusal):
        return base.Refused(done.reason, done.job)
    if done.after is not done.before:
        rows.save(done)
    return base.Applied(done)


def _each(rows: Rows, jobs: Iterable[Job], event: Callable[[Job], events.Event], now: int) -> base.Swept:
    changed: list[Transition] = []
    for job in jobs:
        done = transition(job, event(job), now)
        if isinstance(done, Transition):
            rows.save(done)
            changed.append(done)
    return base.Swept(tuple(changed))


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
    base.WorkerGone: _worker_gone,
    base.Purge: _purge,
    base.Sweep: _sweep,
    base.ExtendLeases: _extend_leases,
    base.PutEndpoint: _put_endpoint,
    base.DeleteEndpoint: _delete_endpoint,
}
