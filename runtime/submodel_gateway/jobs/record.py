"""The job record: what every store engine keeps of a job, without its payloads.

Payloads (input, output, chunks, progress, error text) live beside the record, so that scans stay narrow.
"""

from enum import StrEnum

import msgspec

from submodel.contract.states import JobState

NO_TOKEN = ""

AGING_MS = 300_000
"""A job that has waited this long is as urgent as a fresh one of the next higher priority."""

WEBHOOK_LIMIT_MS = 7_200_000
"""A job whose webhook did not arrive is kept this long after its end, whatever its retention: longer than all tries
take, so that there is time to see that it failed and to send it again."""


class WebhookState(StrEnum):
    """Where a job is with telling its client's URL of the outcome."""

    NONE = ""
    ARMED = "ARMED"
    """The job has a URL and no outcome yet."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    DEAD = "DEAD"


class Job(msgspec.Struct, frozen=True):
    """One job. All instants (`*_at`, `*_until`, `deadline`, `exec_limit`) are milliseconds of the store's clock.

    Built by name, except from a row of all columns: by position that takes a fifth of the time.
    """

    id: str
    endpoint: str
    state: JobState
    seq: int
    """Position in the queue; a job that goes back keeps it, so it is the first again."""

    queued_at: int
    """When this generation was accepted; a job that goes back to the queue keeps it."""

    created_at: int
    ttl_ms: int
    deadline: int
    """`queued_at + ttl_ms`, for queued and running jobs alike."""

    execution_timeout_ms: int
    """0 means no limit."""

    retention_ms: int
    max: int
    used: int = 0
    """Executions charged to this generation; at `max` a lost worker fails the job."""

    pri: int = 0
    """Higher goes first."""

    low_priority: bool = False
    """Whether it starts no worker: it waits until one is there for other jobs. It takes its place in the queue all the
    same."""

    gen: int = 1
    """Grows with each retry by the client; a terminal state belongs to one generation."""

    attempt: int = 0
    """Grows with each take and is never reset; with `nonce` it is the lease token."""

    nonce: int = 0
    retry_errors: bool = False
    """Whether an execution that ends in an error is repeated while `used` is below `max`."""

    worker: str | None = None
    session: str | None = None
    lease_until: int | None = None
    taken_at: int | None = None
    run_at: int = 0
    """Not handed out before; 0 when it may go at once."""

    exec_limit: int | None = None
    finished_at: int | None = None
    keep_until: int | None = None
    result_attempt: int | None = None
    """The attempt whose worker delivered the outcome; None when the gateway ended the job itself."""

    execution_ms: int | None = None
    """What the worker measured; for people only, never part of a decision."""

    chunks: int = 0
    """Streamed items of the current attempt: the sequence number of the last one."""

    chunk_bytes: int = 0
    keyed: bool = False
    """Whether an idempotency key leads to this job."""

    webhook: WebhookState = WebhookState.NONE

    @property
    def place(self) -> int:
        """Position in the queue, the lowest first; jobs of one place go in order of `seq`.

        Waiting raises the priority by one per `AGING_MS`. Both grow linearly with time for every job, so their order
        never changes while they wait, and one static index serves it.
        """
        return self.queued_at - self.pri * AGING_MS

    @property
    def token(self) -> str:
        """The lease token of the current attempt; a queued job has none."""
        return NO_TOKEN if self.state is JobState.IN_QUEUE else lease_token(self.attempt, self.nonce)

    def answers_to(self, token: str) -> bool:
        """Whether `token` is that of the current attempt: its lease token, or its `attempt_token`."""
        if self.state is JobState.IN_QUEUE:
            return False
        return token == self.token or ("@" in token and token == attempt_token(self.attempt, self.worker or ""))

    @property
    def due_at(self) -> int:
        """When the sweeper has something to decide about this job at the latest."""
        if self.keep_until is not None:
            if self.webhook in (WebhookState.PENDING, WebhookState.DEAD) and self.finished_at is not None:
                return max(self.keep_until, self.finished_at + WEBHOOK_LIMIT_MS)
            return self.keep_until
        limits = (self.deadline, self.exec_limit, self.lease_until)
        return min(limit for limit in limits if limit is not None)


def lease_token(attempt: int, nonce: int) -> str:
    """The text of a lease token, opaque to workers."""
    return f"{attempt}-{nonce:016x}"


def attempt_token(attempt: int, worker: str) -> str:
    """The token of a worker that was given none: its job's id names the attempt, its requests name the worker.

    Weaker than a lease token, for it repeats when a store loses a take in a failover.
    """
    return f"{attempt}@{worker}"
