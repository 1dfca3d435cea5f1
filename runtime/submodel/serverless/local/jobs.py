"""A job in the memory of this process, and how clients read it. Pure: `now` is a monotonic clock in seconds.

The documents are those of the gateway's job API.
"""

import json
import socket
from dataclasses import dataclass, field
from typing import Any

import msgspec

import submodel
from submodel.contract import limits
from submodel.contract.exchange import JobPolicy, LeasedJob
from submodel.contract.states import JobState
from submodel.contract.wire import Message
from submodel.serverless.outcome import Identity, Outcome

WORKER_ID = "local"

_NOT_FOR_HANDLERS = frozenset({"id", "input", "policy", "webhook", "webhookV2"})


class JobStatus(Message):
    """A job as clients read it; times are whole milliseconds."""

    id: str
    status: JobState
    delay_time: int | msgspec.UnsetType = msgspec.UNSET
    execution_time: int | msgspec.UnsetType = msgspec.UNSET
    output: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: str | msgspec.UnsetType = msgspec.UNSET
    worker_id: str | msgspec.UnsetType = msgspec.UNSET
    retries: int | msgspec.UnsetType = msgspec.UNSET


class StreamItem(msgspec.Struct):
    """One streamed item."""

    output: msgspec.Raw


class StreamStatus(msgspec.Struct):
    """Streamed items of a job. `offset` is where the next read goes on."""

    id: str
    status: JobState
    stream: list[StreamItem]
    offset: int
    attempt: int = 1


@dataclass(slots=True)
class LocalJob:
    """One job. `output_bytes_max` is what the gateway would take of it."""

    id: str
    called: str
    """Its id for the handler."""

    request: dict[str, Any]
    policy: JobPolicy
    output_bytes_max: int
    queued_at: float
    state: JobState = JobState.IN_QUEUE
    begun_at: float | None = None
    ended_at: float | None = None
    output: bytes | None = None
    """While the job runs its newest progress value."""

    error: str | None = None
    chunks: list[bytes] = field(default_factory=list)
    cursor: int = 0
    """Place of readers that keep none themselves."""

    @property
    def webhook(self) -> str | None:
        """Who wants to hear of the outcome."""
        url = self.request.get("webhookV2") or self.request.get("webhook")
        return url if isinstance(url, str) else None

    def leased(self) -> LeasedJob:
        """What the executor takes."""
        return leased(self.called, self.id, self.request, self.policy)

    def begin(self, now: float) -> bool:
        """The handler is called; False when the job has ended before."""
        if self.state is not JobState.IN_QUEUE:
            return False
        self.state, self.begun_at = JobState.IN_PROGRESS, now
        return True

    def finish(self, outcome: Outcome, now: float) -> None:
        """The handler has ended; has no effect on a job that was cancelled meanwhile."""
        if self.state.terminal:
            return
        size = len(outcome.output or b"")
        if size > self.output_bytes_max:
            limit = self.output_bytes_max / 2**20
            error = f"output: {size / 2**20:.1f} MiB is more than the {limit:g} MiB that a job of `run` may have"
            outcome = Outcome(error=f"{error}; upload it and return its URL")
        state = JobState.COMPLETED if outcome.error is None else JobState.FAILED
        self.output, self.error = outcome.output, outcome.error
        self._end(state, now)

    def stop(self, state: JobState, now: float) -> bool:
        """End the job without an outcome; whether its handler runs and must be told."""
        runs = self.state is JobState.IN_PROGRESS
        if self.state.terminal:
            return False
        self.output = None
        self._end(state, now)
        return runs

    def _end(self, state: JobState, now: float) -> None:
        self.state, self.ended_at = state, now

    def status(self) -> JobStatus:
        """The job as it is now."""
        found = JobStatus(id=self.id, status=self.state)
        if self.begun_at is not None:
            found.delay_time = _ms(self.begun_at - self.queued_at)
            found.worker_id, found.retries = WORKER_ID, 0
            if self.ended_at is not None:
                found.execution_time = _ms(self.ended_at - self.begun_at)
        if self.output is not None:
            found.output = msgspec.Raw(self.output)
        if self.error is not None:
            found.error = self.error
        return found

    def stream(self, offset: int) -> StreamStatus:
        """The items after `offset`."""
        items = [StreamItem(msgspec.Raw(chunk)) for chunk in self.chunks[offset:]]
        return StreamStatus(self.id, self.state, items, max(offset, len(self.chunks)))

    def raw_result(self) -> dict[str, Any]:
        """What the handler gave, without the job around it; items that it streamed are the output."""
        if self.error is not None:
            return {"error": self.error}
        if self.chunks:
            return {"output": [msgspec.Raw(chunk) for chunk in self.chunks]}
        return {} if self.output is None else {"output": msgspec.Raw(self.output)}


def leased(job_id: str, token: str, request: dict[str, Any], policy: JobPolicy | None = None) -> LeasedJob:
    """A request as the job that an executor takes: its `input`, and what the handler finds beside it."""
    extra = {name: _raw(value) for name, value in request.items() if name not in _NOT_FOR_HANDLERS}
    return LeasedJob(id=job_id, token=token, input=_raw(request["input"]), policy=policy or JobPolicy(), extra=extra)


def identity() -> Identity:
    """Where failures of this process happen."""
    return Identity(socket.gethostname(), WORKER_ID, submodel.__version__)


def body_bytes_max(sync: bool) -> int:
    """How large a request, and the output of its job, may be."""
    return limits.RUNSYNC_BODY_BYTES if sync else limits.RUN_BODY_BYTES


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(value).encode())


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
