"""The native worker protocol: one exchange carries everything a worker has to say and to hear.

`POST /v2/{endpoint}/workers/{worker}/exchange` with `Authorization: Bearer <worker token>`.

A lease `token` is opaque to the worker: attempt number and nonce. Every write is compared with the live token in the
transaction that applies it; an item that does not fit comes back in `refused` and the rest of the batch goes through.
"""

import msgspec

from submodel.contract.states import WorkerPhase
from submodel.contract.wire import Message

REFUSED_STALE = "stale"
"""The token is not the live one: the job went to another worker, or ended without this one."""

REFUSED_TOO_LARGE = "too-large"
REFUSED_UNREADABLE = "unreadable"
"""Made by the worker itself when the gateway cannot parse what it sends: the same bytes would be refused for ever."""

REFUSED_GAP = "gap"
"""A chunk's `seq` leaves a hole; send again from the sequence number that was acknowledged last."""


class Held(Message):
    """A job that the worker holds; listing it renews its lease."""

    id: str
    token: str


class Result(Message):
    """The outcome of a job: `error` decides between COMPLETED and FAILED; both may be there (partial output)."""

    id: str
    token: str
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: str | None = None
    execution_ms: int | None = None
    stop_worker: bool = False
    """Whether the worker asks to be replaced by a fresh one when this result is durable."""

    trace: str = ""
    """The trace context of its execution, or the one that came with the job; see `LeasedJob`."""


class Chunks(Message):
    """Streamed items of a running job; `seq` is that of the first item, counted from 1 within the attempt."""

    id: str
    token: str
    seq: int
    items: list[msgspec.Raw]


class Progress(Message):
    """The newest progress value of a running job; the last one wins."""

    id: str
    token: str
    value: msgspec.Raw


class Startup(Message):
    """What the start of a worker was made of."""

    import_ms: int | None = None
    """From the start of its process until the runtime was loaded; None where the system does not tell."""

    load_ms: int = 0
    """Until the handler's file called `start`: its imports, and mostly the loading of a model."""

    check_ms: int = 0
    """The fitness checks; the worker asks for jobs after them."""

    process_at_ms: int | None = None
    """When its process was started, in milliseconds since 1970 by the clock of its machine, which also dates the ends
    of containers: so it tells which run of a container a session belongs to. None where the system does not tell."""


class ExchangeRequest(Message):
    """What a worker has to say.

    `session` is random per process start: a restarted container under the same name is another worker. `request`
    grows by one per new request; the same number again gets the stored answer again, or the jobs of one that was
    not kept, so that a lost answer never loses a lease. A request with `wait_ms` 0 flushes and is answered at once,
    without jobs being handed out unless `capacity` is above 0.

    A worker has several requests under way at once, so they may arrive out of order. What the answer to request `k`
    handed out can stand in `running` only when that answer has been read: a lease of answer `k` is missing from
    request `n` only if `n > k` and `k` is not in `n.unanswered`.
    """

    session: str
    request: int
    phase: WorkerPhase
    unanswered: list[int] = []
    """Numbers of the session's other requests whose answers the worker had not read when it wrote this one."""

    repeated: bool = False
    """Whether it was sent before, and its answer was not read."""

    reason: str = ""
    capacity: int = 0
    wait_ms: int = 0
    running: list[Held] = []
    results: list[Result] = []
    chunks: list[Chunks] = []
    progress: list[Progress] = []
    released: list[Held] = []
    startup: Startup | None = None
    """In the requests of a worker that has come up, until one of them is answered."""


class JobPolicy(Message):
    """The limits of one job, as they apply to this attempt."""

    execution_timeout_ms: int = 0
    """0 means no limit."""

    ttl_ms: int = 0


class LeasedJob(Message):
    """A job handed out. `input` is what the client sent, byte for byte; `extra` are the request's other fields."""

    id: str
    token: str
    input: msgspec.Raw
    policy: JobPolicy
    attempt: int = 1
    extra: dict[str, msgspec.Raw] = {}
    trace: str = ""
    """The trace context of this attempt, as the text of a W3C `traceparent` header; empty where there is none."""


class Refused(Message):
    """An item of the request that had no effect."""

    id: str
    reason: str
    token: str = ""
    """The item's: one request may carry items of two leases of one job. Empty means any of them."""


class ExchangeAnswer(Message):
    """What the gateway has to say. Results that are not in `refused` are durable."""

    jobs: list[LeasedJob] = []
    refused: list[Refused] = []
    stop: list[str] = []
    """Ids of held jobs that shall end: cancelled, timed out, or no longer this worker's."""

    stop_tokens: list[str] = []
    """The leases of which `stop` speaks. Answers may overtake each other: a worker that got the same job again goes on
    with its new lease. Only where there are none does `stop` mean every lease of those jobs."""

    drain: bool = False
    """Take no more jobs until an answer says otherwise."""

    lease_ms: int = 0
    retry_after_ms: int = 0
    """Wait this long before the next request; the gateway is going down."""
