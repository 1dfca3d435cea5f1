"""The operations of a job store, as values. `execute` gives them their meaning, `outcomes` are their answers."""

import msgspec

MEBIBYTE = 1024 * 1024
BLOB_BYTES = MEBIBYTE
"""Payloads above this are stashed before the operation that refers to them, outside its transaction."""

TAKE_BYTES = 4 * MEBIBYTE
"""Inputs that one answer to a worker brings at most, unless a single one has more: as much as is worth a request."""


class Blob(msgspec.Struct, frozen=True):
    """A large payload that is durable already, under a name of the engine's choice; see `Store.stash`."""

    name: str
    size: int


Payload = bytes | Blob


def size_of(payload: Payload | None) -> int:
    """Bytes of a payload, wherever they are."""
    if payload is None:
        return 0
    return payload.size if isinstance(payload, Blob) else len(payload)


class IdempotencyKey(msgspec.Struct, frozen=True, kw_only=True):
    """A client's promise that submits with this key are one and the same; `principal` keeps clients apart."""

    principal: str
    key: str
    body_hash: str
    expires_at: int


class Submit(msgspec.Struct, frozen=True, kw_only=True):
    """Store a new job, last in its queue.

    The same id again changes nothing and is refused as `exists`. A known `idempotency` key answers `Repeated`, or is
    refused as `key-reused` when it came with another body. Refused as `full` when the store takes no more jobs.
    """

    id: str
    endpoint: str
    input: Payload
    extra: bytes = b"{}"
    """A JSON object: what the client sent beside `input`."""

    max_attempts: int
    execution_timeout_ms: int
    ttl_ms: int
    retention_ms: int
    pri: int = 0
    low_priority: bool = False
    retry_errors: bool = False
    webhook: str | None = None
    """URL that hears of the outcome."""

    idempotency: IdempotencyKey | None = None


class Take(msgspec.Struct, frozen=True, kw_only=True):
    """Lease up to `limit` jobs to a worker's session, in order of the queue (`Job.place`). Answer: `Taken`.

    Stops before the inputs exceed `max_bytes`, but always takes one. Jobs past their deadline are never handed out.
    While the endpoint's breaker is open, one job runs at a time.
    `nonce` is random and belongs to the first job, the next ones count up: no two leases have the same token.
    """

    endpoint: str
    worker: str
    session: str
    limit: int
    nonce: int
    lease_ms: int
    max_bytes: int = TAKE_BYTES


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
    """Publish the outcome: COMPLETED, or FAILED when `error` is given. Twice with one token is harmless.

    An error goes back to the queue while the job's policy and attempts allow, unless it is `final`.
    """

    endpoint: str
    id: str
    token: str
    output: Payload | None = None
    error: str | None = None
    final: bool = False
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


class Retry(msgspec.Struct, frozen=True, kw_only=True):
    """Run a FAILED or TIMED_OUT job again as a new generation; refused as `not-failed` in every other state."""

    endpoint: str
    id: str


class Shorten(msgspec.Struct, frozen=True, kw_only=True):
    """Keep a final job for `keep_ms` from now at most; one whose webhook has not arrived is kept for that all the same.

    Answer: `Applied`, or refused: `not-ready` while the job has no outcome, `unknown`.
    """

    endpoint: str
    id: str
    keep_ms: int


class WorkerGone(msgspec.Struct, frozen=True, kw_only=True):
    """End all executions of a worker but for those of the session `keep`, or those of the session `only`.

    Answer: `Swept`.
    """

    endpoint: str
    worker: str
    reason: str
    keep: str | None = None
    only: str | None = None
    charged: bool = True

    def concerns(self, session: str | None) -> bool:
        """Whether what this session holds ends."""
        return session != self.keep and self.only in (None, session)


class Purge(msgspec.Struct, frozen=True, kw_only=True):
    """Cancel up to `limit` queued jobs with a `seq` of at most `up_to`; running ones too if asked. Answer: `Swept`."""

    endpoint: str
    up_to: int
    limit: int
    running: bool = False
    reason: str = "the queue was purged"


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """Decide about up to `limit` jobs that are due: limits, leases, retention. Answer: `Swept`, most overdue first.

    Time stops while nobody can renew: when neither `seen_at` nor the last sweep of any gateway is within `away_ms`,
    jobs that run by now last at least another `hold_ms`, which is the same for all gateways. `seen_at` is when this
    gateway last reached the store. Removes expired idempotency keys too.
    """

    limit: int = 256
    seen_at: int = 0
    away_ms: int = 5_000
    hold_ms: int


class LeaseWebhooks(msgspec.Struct, frozen=True, kw_only=True):
    """Lease up to `limit` due webhooks to a dispatcher, the longest due first. Answer: `Webhooks`."""

    limit: int
    nonce: int
    lease_ms: int


class SettleWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """How a try went. Answer: `Applied` when it was the last one, `Stored` when another follows, or `stale`.

    `answer` is what the try came to, see `Webhook`. `jitter` is random, -1 to 1, and spreads the next try.
    """

    endpoint: str
    id: str
    gen: int
    nonce: int
    delivered: bool
    answer: str = ""
    jitter: float = 0.0


class ReleaseWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """Give back a leased webhook that was not sent; it may be leased after `delay_ms`, and no try is counted.

    Answer: `Stored`, or refused as `stale`.
    """

    endpoint: str
    id: str
    gen: int
    nonce: int
    delay_ms: int


class ReplayWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """Send the webhook of a final job once more, with all tries; what is on its way may arrive too.

    Answer: `Applied`, or refused: `no-webhook`, `not-ready` while the job has no outcome, `unknown`.
    """

    endpoint: str
    id: str


class PutEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Remember an endpoint's registration, so that a restarted gateway knows it. Answer: `Stored`."""

    endpoint: str
    registration: bytes


class DeleteEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """Forget an endpoint; its jobs are ended by `Purge`. Answer: `Stored`.

    Up to `limit` of its idempotency keys go at once, which may be a day's submits; once there are no more, so do its
    breaker and its registration. Until then the answer says that there is `more`: ask again.
    """

    endpoint: str
    limit: int = 256


JobOperation = Heartbeat | Progress | AppendChunk | Finish | Release | Lose | Cancel | Retry
"""Operations on one job. Answer: `Applied`, or `Refused` without effect."""

Operation = (
    Submit
    | Take
    | JobOperation
    | WorkerGone
    | Purge
    | Sweep
    | LeaseWebhooks
    | SettleWebhook
    | ReleaseWebhook
    | ReplayWebhook
    | Shorten
    | PutEndpoint
    | DeleteEndpoint
)


def payload_bytes(operation: Operation) -> int:
    """Bytes of payload that travel with an operation, not counting what was stashed."""
    if isinstance(operation, Submit):
        return len(operation.extra) + (len(operation.input) if isinstance(operation.input, bytes) else 0)
    if isinstance(operation, Finish):
        return len(operation.output) if isinstance(operation.output, bytes) else 0
    if isinstance(operation, AppendChunk):
        return sum(map(len, operation.items))
    return 0
