"""The job record: what every store engine keeps of a job, without its payloads.

Payloads (input, output, chunks, progress, error text) live beside the record, so that scans stay narrow.
"""

import msgspec

from submodel.contract.states import JobState

NO_TOKEN = ""


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """One job. All instants (`*_at`, `*_until`, `deadline`, `exec_limit`) are milliseconds of the store's clock."""

    id: str
    endpoint: str
    state: JobState
    seq: int
    """Position in the queue; a job that goes back keeps it, so it is the first again."""

    pri: int = 0
    """Higher goes first."""

    gen: int = 1
    """A terminal state belongs to one generation."""

    attempt: int = 0
    """Grows with each take and is never reset; with `nonce` it is the lease token."""

    nonce: int = 0
    used: int = 0
    """Executions charged to this generation; at `max` a lost worker fails the job."""

    max: int
    worker: str | None = None
    session: str | None = None
    lease_until: int | None = None
    taken_at: int | None = None
    run_at: int = 0
    """Not handed out before; 0 when it may go at once."""

    created_at: int
    deadline: int
    execution_timeout_ms: int
    """0 means no limit."""

    exec_limit: int | None = None
    retention_ms: int
    finished_at: int | None = None
    keep_until: int | None = None
    result_attempt: int | None = None
    """The attempt whose worker delivered the outcome; None when the gateway ended the job itself."""

    execution_ms: int | None = None
    """What the worker measured; for people only, never part of a decision."""

    chunks: int = 0
    """Streamed items of the current attempt: the sequence number of the last one."""

    chunk_bytes: int = 0

    @property
    def token(self) -> str:
        """The lease token of the current attempt; a queued job has none."""
        return NO_TOKEN if self.state is JobState.IN_QUEUE else lease_token(self.attempt, self.nonce)

    @property
    def due_at(self) -> int:
        """When the sweeper has something to decide about this job at the latest."""
        if self.keep_until is not None:
            return self.keep_until
        limits = (self.deadline, self.exec_limit, self.lease_until)
        return min(limit for limit in limits if limit is not None)


def lease_token(attempt: int, nonce: int) -> str:
    """The text of a lease token, opaque to workers."""
    return f"{attempt}-{nonce:016x}"
