"""The interface of a job store: the operations, their outcomes and the reads.

The service makes operations and hands them to `group.GroupCommit`, which calls `Store.apply`. Every engine passes
`tests/conformance`. What all operations share:

- A group is one transaction. When `apply` returns, everything in it is durable; when it raises, nothing happened.
- Operations of a group see each other's effects, in order.
- A write of a worker carries its lease token, and the token is compared in the transaction that applies the write.
- `now` is an argument, in milliseconds of the gateway's clock; no engine reads a clock.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.jobs.transition import Reason, Transition


class Submit(msgspec.Struct, frozen=True, kw_only=True):
    """Store a new job, last in its queue. The same id again changes nothing and is refused as `exists`."""

    id: str
    endpoint: str
    input: bytes
    extra: bytes = b"{}"
    """A JSON object: what the client sent beside `input`."""

    max_attempts: int
    execution_timeout_ms: int
    ttl_ms: int
    retention_ms: int
    pri: int = 0


class Take(msgspec.Struct, frozen=True, kw_only=True):
    """Lease up to `limit` jobs to a worker's session: highest priority first, then oldest. Answer: `Taken`.

    Stops before the inputs exceed `max_bytes`, but always takes one. Jobs past their deadline are never handed out.
    `nonce` is random and belongs to the first job, the next ones count up: no two leases have the same token.
    """

    endpoint: str
    worker: str
    session: str
    limit: int
    nonce: int
    lease_ms: int
    max_bytes: int = 16 * 1024 * 1024


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True):
    """Renew a lease; never shortens it."""

    endpoint: str
    id: str
    token: str
    lease_ms: int


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """Set the progress value of a running job; the last one wins, and the end of the attempt drops it."""

    endpoint: str
    id: str
    token: str
    value: bytes


class AppendChunk(msgspec.Struct, frozen=True, kw_only=True):
    """Append streamed items; `seq` is that of the first, from 1 within the attempt. Known items are skipped, a hole
    is refused as `gap`, too much of it as `too-large`."""

    endpoint: str
    id: str
    token: str
    seq: int
    items: tuple[bytes, ...]


class Finish(msgspec.Struct, frozen=True, kw_only=True):
    """Publish the outcome: COMPLETED, or FAILED when `error` is given. Twice with one token is harmless."""

    endpoint: str
    id: str
    token: str
    output: bytes | None = None
    error: str | None = None
    execution_ms: int | None = None


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """Give a job back unharmed: it is the first in its queue again and not charged."""

    endpoint: str
    id: str
    token: str


class Lose(msgspec.Struct, frozen=True, kw_only=True):
    """End one execution whose worker does not know of it: back to the queue, or FAILED when all are used."""

    endpoint: str
    id: str
    token: str
    reason: str
    charged: bool = True


class Cancel(msgspec.Struct, frozen=True, kw_only=True):
    """End a job that is not final yet; refused as `finished` with the job when it is."""

    endpoint: str
    id: str


class WorkerGone(msgspec.Struct, frozen=True, kw_only=True):
    """End all executions of a worker, but for those of the session `keep`. Answer: `Swept`."""

    endpoint: str
    worker: str
    reason: str
    keep: str | None = None
    charged: bool = True


class Purge(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel up to `limit` queued jobs with a `seq` of at most `up_to`; running ones too if asked. Answer: `Swept`."""

    endpoint: str
    up_to: int
    limit: int
    running: bool = False


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """Decide about up to `limit` jobs that are due: limits, leases, retention. Answer: `Swept`, most overdue first."""

    limit: int = 1_000


class ExtendLeases(msgspec.Struct, frozen=True, kw_only=True):
    """Let every lease last at least until the given instant: nobody could renew for a while. Answer: `Swept`."""

    until: int


class PutEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Remember an endpoint's registration, so that a restarted gateway knows it. Answer: `Stored`."""

    endpoint: str
    registration: bytes


class DeleteEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Forget an endpoint's registration; its jobs are ended by `Purge`. Answer: `Stored`."""

    endpoint: str


JobOperation = Heartbeat | Progress | AppendChunk | Finish | Release | Lose | Cancel
"""Operations on one job. Answer: `Applied`, or `Refused` without effect."""

Operation = Submit | Take | JobOperation | WorkerGone | Purge | Sweep | ExtendLeases | PutEndpoint | DeleteEndpoint


class Applied(msgspec.Struct, frozen=True):
    """The operation had its effect, now or (`change.duplicate`) before."""

    change: Transition


class Refused(msgspec.Struct, frozen=True):
    """The operation had no effect. `job` is the job as it is, None when there is none of that id."""

    reason: Reason
    job: Job | None = None


class Lease(msgspec.Struct, frozen=True):
    """A job handed out, with its payload."""

    job: Job
    input: bytes
    extra: bytes


class Taken(msgspec.Struct, frozen=True):
    """What a take got, possibly nothing."""

    leases: tuple[Lease, ...]
    changes: tuple[Transition, ...]


class Swept(msgspec.Struct, frozen=True):
    """What an operation over many jobs changed."""

    changes: tuple[Transition, ...]


class Stored(msgspec.Struct, frozen=True):
    """A registry write is durable."""


class Failed(msgspec.Struct, frozen=True):
    """The operation raised and had no effect; made by the group commit, never by an engine."""

    error: str


Outcome = Applied | Refused | Taken | Swept | Stored | Failed


def changes(outcome: Outcome) -> tuple[Transition, ...]:
    """The transitions of an outcome, in order."""
    if isinstance(outcome, Applied):
        return (outcome.change,)
    return outcome.changes if isinstance(outcome, Taken | Swept) else ()


class Content(msgspec.Struct, frozen=True):
    """What a reader sees of a job beside its record. `output` of a running job is its latest progress value."""

    output: bytes | None = None
    error: str | None = None


class Backlog(msgspec.Struct, frozen=True):
    """Age of an endpoint's queue."""

    oldest_at: int | None = None
    """When the oldest queued job was accepted."""

    late: int = 0
    """Queued jobs accepted at or before the asked instant; counted up to `LATE_MAX`."""


LATE_MAX = 1_000
"""More late jobs than this are reported as this many: no decision needs the exact number."""


class Store(Protocol):
    """A job store. `apply` is called by one thread at a time, the reads by the event loop's thread only.

    Reads see the last committed group and are small: they may run on the event loop.
    """

    blocking: bool
    """Whether `apply` waits for a disk or a network, and so must not run on the event loop."""

    def apply(self, operations: Sequence[Operation], now: int) -> list[Outcome]:
        """Apply a group in one transaction: one outcome per operation, in order. Raises when nothing happened."""

    def job(self, endpoint: str, id: str) -> Job | None:
        """The record of a job of this endpoint."""

    def content(self, job: Job) -> Content:
        """Output and error of `job`, as read by `job()`."""

    def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        """Streamed items of `job` with a sequence number above `after`, in order, at most `limit`."""

    def held(self, endpoint: str, worker: str) -> list[Job]:
        """The jobs that a worker holds."""

    def holders(self, endpoint: str) -> dict[str, int]:
        """How many jobs each worker holds, by name."""

    def tally(self, endpoint: str) -> Tally:
        """The counters of an endpoint."""

    def backlog(self, endpoint: str, late_at: int | None) -> Backlog:
        """How old the queue is, and how many jobs in it were accepted at or before `late_at`."""

    def endpoints(self) -> dict[str, bytes]:
        """All stored registrations by endpoint id."""

    def next_due(self) -> int | None:
        """The earliest instant at which a sweep has something to do or a delayed job becomes ready."""

    def last_seq(self) -> int:
        """The `seq` of the newest job."""

    def last_now(self) -> int:
        """`now` of the last committed group, 0 when there was none: a restart must not go back behind it."""

    def close(self) -> None:
        """Let go of everything; nothing is called afterwards."""
