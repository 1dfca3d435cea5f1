"""What can happen to a job. Each event is a value; `transition` decides what it means for the job at hand."""

import msgspec


class Submitted(msgspec.Struct, frozen=True, kw_only=True):
    """A client's job, accepted. `id` was made before, so that the same submit may come twice."""

    id: str
    endpoint: str
    seq: int
    max_attempts: int
    execution_timeout_ms: int
    ttl_ms: int
    retention_ms: int
    pri: int = 0
    low_priority: bool = False
    retry_errors: bool = False
    webhook: bool = False
    keyed: bool = False


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """A worker's session gets the job. `nonce` is random per take: 63 bits."""

    worker: str
    session: str
    nonce: int
    lease_ms: int


class Heartbeat(msgspec.Struct, frozen=True):
    """The holder listed the job as running."""

    token: str
    lease_ms: int


class Progressed(msgspec.Struct, frozen=True):
    """The holder reported a progress value."""

    token: str


class Chunked(msgspec.Struct, frozen=True):
    """The holder streamed `sizes` (bytes of each item); `seq` is that of the first item, counted from 1."""

    token: str
    seq: int
    sizes: tuple[int, ...]


class Finished(msgspec.Struct, frozen=True):
    """The holder delivered the outcome; `failed` when it is an error, `final` when another run would end the same."""

    token: str
    failed: bool
    final: bool = False
    execution_ms: int | None = None


class Released(msgspec.Struct, frozen=True):
    """The holder gives the job back without having run it; not charged."""

    token: str


class Lost(msgspec.Struct, frozen=True):
    """The execution `token` ended with its worker. `charged` is False for infrastructure reasons."""

    token: str
    reason: str
    charged: bool = True


class Due(msgspec.Struct, frozen=True):
    """The sweeper looks at the job: time to live, execution limit, lease and retention, in this order.

    Nobody could renew or finish for a while before `back_at`: jobs that ran then last at least until `hold_until`.
    """

    back_at: int = 0
    hold_until: int = 0


class Cancelled(msgspec.Struct, frozen=True):
    """Somebody wants the job to end: a client, a purge, or the end of its endpoint. `reason` is told as its error."""

    reason: str | None = None


class Retried(msgspec.Struct, frozen=True):
    """The client wants a failed job to run again, as a new generation behind all others; `seq` is its new number."""

    seq: int


class Shortened(msgspec.Struct, frozen=True):
    """The client needs the final job for no longer than `keep_ms`."""

    keep_ms: int


class WebhookSettled(msgspec.Struct, frozen=True):
    """The generation's webhook was delivered, or given up."""

    gen: int
    delivered: bool


class WebhookReplayed(msgspec.Struct, frozen=True):
    """The client wants to be told of the outcome again."""


Event = (
    Submitted
    | Taken
    | Heartbeat
    | Progressed
    | Chunked
    | Finished
    | Released
    | Lost
    | Due
    | Cancelled
    | Retried
    | Shortened
    | WebhookSettled
    | WebhookReplayed
)
