"""The interface of a job store: what every engine promises.

The service makes operations (`operations`) and hands them to `group.GroupCommit`, which calls `Store.apply`. Every
engine passes `tests/conformance`. What all operations share:

- A group is one transaction. When `apply` returns, everything in it is durable; when it raises, nothing happened, or
  with `StoreAway` perhaps all of it.
- Operations of a group see each other's effects, in order.
- A write of a worker carries its lease token, and the token is compared in the transaction that applies the write.
- `now` is an argument, in milliseconds of the one clock that all gateways of the store share; see `StoreTime`.

Operations and outcomes are re-exported here: the service knows this module alone.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.breaker import Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store.operations import (
    BLOB_BYTES,
    TAKE_BYTES,
    AppendChunk,
    Blob,
    Cancel,
    DeleteEndpoint,
    Finish,
    Heartbeat,
    IdempotencyKey,
    JobOperation,
    LeaseWebhooks,
    Lose,
    Operation,
    Payload,
    Progress,
    Purge,
    PutEndpoint,
    Release,
    ReleaseWebhook,
    ReplayWebhook,
    Retry,
    SettleWebhook,
    Shorten,
    Submit,
    Sweep,
    Take,
    WorkerGone,
    payload_bytes,
    size_of,
)
from submodel_gateway.store.outcomes import (
    Applied,
    Content,
    DueWebhook,
    Failed,
    Lease,
    Outcome,
    Refused,
    Repeated,
    Stored,
    Swept,
    Taken,
    Webhooks,
    changes,
)

__all__ = [
    "AHEAD_MAX",
    "BLOB_BYTES",
    "LATE_MAX",
    "SCAN_MAX",
    "TAKE_BYTES",
    "USUAL_MAX",
    "AppendChunk",
    "Applied",
    "Backlog",
    "Blob",
    "Board",
    "BoardNews",
    "Cancel",
    "Content",
    "DeleteEndpoint",
    "DueWebhook",
    "Failed",
    "Finish",
    "Heartbeat",
    "IdempotencyKey",
    "JobOperation",
    "Lease",
    "LeaseWebhooks",
    "Lose",
    "Operation",
    "Outcome",
    "Page",
    "Payload",
    "Posting",
    "Progress",
    "Purge",
    "PutEndpoint",
    "Refused",
    "Release",
    "ReleaseWebhook",
    "Repeated",
    "ReplayWebhook",
    "Retry",
    "SettleWebhook",
    "Shorten",
    "Store",
    "StoreTime",
    "Stored",
    "Submit",
    "Sweep",
    "Swept",
    "Take",
    "Taken",
    "Webhooks",
    "WorkerGone",
    "changes",
    "payload_bytes",
    "size_of",
]


class Backlog(msgspec.Struct, frozen=True):
    """What waits for workers at an endpoint. Ages are those of jobs that may start workers, not of low priority."""

    oldest_at: int | None = None
    """When the oldest queued job was accepted, or retried."""

    late: int = 0
    """Queued jobs accepted at or before the asked instant; counted up to `LATE_MAX`."""

    usual: int | None = None
    """Queued jobs that may start workers, counted up to `USUAL_MAX`; None when none of low priority is queued, and so
    all of them may."""

    running_low: int = 0
    """Jobs of low priority that workers hold; counted up to `LATE_MAX`."""


LATE_MAX = 1_000
"""More late jobs than this are reported as this many: no decision needs the exact number."""

USUAL_MAX = 10_000
"""Beside jobs of low priority, more jobs that may start workers than this are reported as this many."""


AHEAD_MAX = 1_000
"""A job with this many before it, or more, is far behind: a read must not count a queue without end."""

SCAN_MAX = 1_000
"""Jobs that one page looks at: with a filter, a page may be short or empty and yet have a next one."""


class Page(msgspec.Struct, frozen=True):
    """Some jobs of an endpoint, the newest first. `next` leads to the following page, None when there is none."""

    jobs: tuple[Job, ...]
    next: int | None


class StoreTime(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway sets its clock by. All in milliseconds.

    Gateways that share a store follow its last mark, so that they agree when a wall clock is stepped.
    """

    wall_ms: int
    """Wall time where the store lives, now."""

    mark_ms: int
    """`now` of the last known commit, 0 when there was none: no clock may go back behind it."""

    mark_wall_ms: int | None = None
    """Wall time at that mark, where other gateways may have written it."""


class Posting(msgspec.Struct, frozen=True):
    """The operator's word about an endpoint's workers, as some gateway heard it; `version` tells two of them apart."""

    version: int
    document: bytes


class BoardNews(msgspec.Struct, frozen=True):
    """What other gateways have said since the last look."""

    registrations: frozenset[str] = frozenset()
    """Endpoints that are registered anew, otherwise, or no more."""

    orders: dict[str, Posting] = {}
    """The operator's word by endpoint, where it is another one."""

    words: dict[str, dict[int, bytes]] = {}
    """All that the other gateways say of an endpoint, by gateway, where one of them says something else or is gone."""


class Board(Protocol):
    """What gateways that share a store tell each other beside jobs. Everything raises `StoreAway` and `StoreError`."""

    hinted: asyncio.Event
    """Set when another gateway has said something; a hint, which may be missing."""

    async def news(self) -> BoardNews:
        """What is different from the last time."""

    async def tell(self, words: Mapping[str, bytes], *, hint: bool = True) -> None:
        """Say this of these endpoints; nothing any more where it is empty. It is void 15 seconds later.

        `hint` wakes the others; without it they find out within their own time.
        """

    async def order(self, endpoint: str, known: int, document: bytes) -> int | None:
        """Replace the operator's word of version `known` (0 for none).

        Returns the new version, None when it is another one by now.
        """

    async def forget(self, endpoint: str) -> None:
        """The endpoint is gone."""

    async def registration(self, endpoint: str) -> bytes | None:
        """The stored registration of an endpoint."""

    async def running(self, endpoint: str) -> list[Job]:
        """The jobs that workers hold."""

    async def reader(self, job: str) -> tuple[int, int]:
        """How far those have come who read the job's stream and name no place: an attempt and a number of its items.

        Zeros when nobody knows.
        """

    async def read_on(self, job: str, attempt: int, after: int, to: int) -> bool:
        """One of them gets the items `after + 1` to `to`; False when some of these went to another one before."""


class Store(Protocol):
    """A job store. `apply` is called by one thread at a time, everything else by the event loop's thread only.

    Reads see the last committed group.
    """

    blocking: bool
    """Whether `apply` waits for a disk or a network, and so must not run on the event loop."""

    shared: bool
    """Whether several gateways may have it at once."""

    @property
    def board(self) -> Board | None:
        """What they tell each other by; None where there is only one."""

    async def start(self, news: Callable[[Iterable[str]], None]) -> None:
        """Begin to serve; before the first read. Raises `StoreUnusable`.

        An engine that several gateways share calls `news` with the endpoints at which others have changed something.
        """

    async def close(self) -> None:
        """Let go of everything; nothing is called afterwards."""

    def apply(self, operations: Sequence[Operation], now: int) -> list[Outcome]:
        """Apply a group in one transaction: one outcome per operation, in order.

        Raises `StoreAway` when the store cannot be reached for now, and what became of a commit that was on its way is
        not known; `StoreFull` when it has no space, anything else when an operation cannot be applied: then nothing
        happened.
        """

    async def stash(self, data: bytes) -> Blob:
        """Make a large payload durable, ahead of the operation that refers to it. Raises as `apply` does.

        A blob that no operation refers to in the end is discarded, or removed later by the store itself.
        """

    async def discard(self, blob: Blob) -> None:
        """Drop a blob whose operation is known to have had no effect.

        Never raises: what is left is removed later.
        """

    async def fetch(self, blob: Blob) -> bytes:
        """The bytes of a blob. Raises `StoreError` when it is gone with its job."""

    async def time(self) -> StoreTime:
        """Wall time at the store, and its last mark. Raises `StoreAway`."""

    async def job(self, endpoint: str, id: str) -> Job | None:
        """The record of a job of this endpoint."""

    async def content(self, job: Job) -> Content:
        """Output and error of `job`, as read by `job()`."""

    async def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        """Streamed items of `job` with a sequence number above `after`, in order, at most `limit`."""

    async def requests(self, endpoint: str, before: int | None, limit: int, states: Collection[JobState] = ()) -> Page:
        """Jobs of an endpoint, the newest first, at most `limit`, of these states (of all when none is given).

        `before` is `Page.next` of the page before, None for the first one.
        """

    async def held(self, endpoint: str, worker: str) -> list[Job]:
        """The jobs that a worker holds."""

    async def holders(self, endpoint: str) -> dict[str, int]:
        """How many jobs each worker holds, by name."""

    def tally(self, endpoint: str) -> Tally:
        """The counters of an endpoint; where gateways share the store, as of a moment ago."""

    async def backlogs(self, late_at: Mapping[str, int | None]) -> dict[str, Backlog]:
        """How old the queues of these endpoints are, and how many jobs in each were accepted at or before `late_at`.

        All at once: a snapshot asks for a thousand of them.
        """

    async def ahead(self, job: Job) -> int:
        """How many jobs go before this queued one, counted up to `AHEAD_MAX`."""

    async def breaker(self, endpoint: str) -> Breaker:
        """The endpoint's losses."""

    async def endpoints(self) -> dict[str, bytes]:
        """All stored registrations by endpoint id."""

    async def next_due(self) -> int | None:
        """The earliest instant at which a sweep has something to do or a delayed job becomes ready."""

    async def next_webhook(self) -> int | None:
        """The earliest instant at which a webhook may be leased."""

    async def webhook(self, endpoint: str, id: str) -> Webhook | None:
        """The webhook of a final job of this endpoint, sent or not."""

    async def last_seq(self) -> int:
        """The `seq` of the newest job."""

    async def gateways(self) -> int:
        """How many gateways use the store now, this one included. Raises `StoreAway`."""
