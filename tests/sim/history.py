"""What happened in one simulated run, as values: what callers saw, what the store committed, what was done to whom.

All instants are milliseconds of true time since the run began, which no simulated clock can touch. An answer carries
`asked_at` too: whatever it says must have been true at some instant between the two.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, or was answered, at `at`."""

    at: int


class Committed(Event, frozen=True, kw_only=True):
    """An operation of a transaction that the store applied. `timed_at` is when the gateway read its clock for it."""

    timed_at: int
    operation: base.Operation
    outcome: base.Outcome


class Answer(Event, frozen=True, kw_only=True):
    """A client's call came back."""

    asked_at: int


class Submitted(Answer, frozen=True, kw_only=True):
    """`job` is None when the client does not know whether its job was stored."""

    number: int
    job: str | None
    keyed: bool


class Read(Answer, frozen=True, kw_only=True):
    """`state` is None when the job was not found."""

    job: str
    state: JobState | None
    gen: int = 0
    attempt: int = 0
    output: bytes | None = None
    error: str | None = None


class Streamed(Answer, frozen=True, kw_only=True):
    gateway: str
    """The process that answered."""

    """`asked_offset` is None for a reader that leaves its place to the gateway."""

    reader: str
    job: str
    asked_offset: int | None
    gen: int
    attempt: int
    state: JobState
    offset: int
    items: tuple[bytes, ...]


class CancelAnswered(Answer, frozen=True, kw_only=True):
    """`state` is None when the job was not found."""

    job: str
    state: JobState | None


class RetryAnswered(Answer, frozen=True, kw_only=True):
    """`accepted` says whether a new generation began."""

    job: str
    accepted: bool


class PurgeAnswered(Answer, frozen=True, kw_only=True):
    """The queue was purged."""

    removed: int


class SnapshotRead(Answer, frozen=True, kw_only=True):
    """What the scaler saw."""

    queued: int
    in_progress: int


class Begun(Event, frozen=True, kw_only=True):
    """A worker called the handler: an execution."""

    session: str
    job: str
    token: str


class Acknowledged(Event, frozen=True, kw_only=True):
    """A worker read that its result is durable."""

    session: str
    job: str
    token: str


class WorkerUp(Event, frozen=True, kw_only=True):
    worker: str
    session: str


class WorkerDown(Event, frozen=True, kw_only=True):
    """The session's process is no more. `idle` when the operator ended it because it was told that it held nothing."""

    worker: str
    session: str
    how: str
    idle: bool = False
    told_at: int = 0


class Frozen(Event, frozen=True, kw_only=True):
    """A process stands still until `until`; `who` is a session, or `gateway`."""

    who: str
    until: int


class GatewayUp(Event, frozen=True, kw_only=True):
    number: int


class GatewayDown(Event, frozen=True, kw_only=True):
    number: int
    how: str


class StoreAwayUntil(Event, frozen=True, kw_only=True):
    """The store answers nothing before `until`."""

    until: int


class WallStepped(Event, frozen=True, kw_only=True):
    """The wall clock is now `ahead_ms` ahead of true time."""

    ahead_ms: int


class Healed(Event, frozen=True, kw_only=True):
    """No faults from here on."""


class Defect(Event, frozen=True, kw_only=True):
    """An exception that nobody expected, or a run that cannot go on."""

    text: str


class Recount(Event, frozen=True, kw_only=True):
    """The store at the end, counted afresh: jobs by state, and what the store says of them by itself."""

    states: dict[JobState, int]
    tally: Tally
    holders: dict[str, int]
    oldest_queued_at: int | None


class History:
    """The events of a run in the order in which they happened."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def add(self, event: Event) -> None:
        self.events.append(event)

    def lines(self) -> Iterator[str]:
        """The run as text, one event per line; the same seed gives the same lines."""
        for event in self.events:
            yield f"{event.at / 1000:9.3f}  {line(event)}"


def line(event: Event) -> str:
    """An event as text, without its instant."""
    if isinstance(event, Committed):
        return f"store        {_short(event.operation)} -> {_outcome(event.outcome)}"
    kind = type(event).__name__
    fields = ((name, getattr(event, name)) for name in event.__struct_fields__ if name != "at")
    return f"{kind:<12} " + " ".join(f"{name}={_value(value)}" for name, value in fields)


def _short(operation: base.Operation) -> str:
    kept = ((name, getattr(operation, name)) for name in operation.__struct_fields__)
    return f"{type(operation).__name__} " + " ".join(
        f"{name}={_value(value)}" for name, value in kept if name not in ("endpoint", "extra", "max_bytes", "away_ms")
    )


def _outcome(outcome: base.Outcome) -> str:
    if isinstance(outcome, base.Refused):
        return f"refused: {outcome.reason}"
    changed = base.changes(outcome)
    if not changed:
        return type(outcome).__name__
    return "; ".join(_change(change) for change in changed)


def _change(change: Any) -> str:
    before, after = change.before, change.after
    job = after or before
    sides = " => ".join("gone" if side is None else f"{side.state} {side.token}".strip() for side in (before, after))
    return f"{job.id[-11:]} gen {job.gen} used {job.used}: {sides}{' (known)' if change.duplicate else ''}"


def _value(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")[:60]
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_value(each) for each in value) + "]"
    if isinstance(value, str) and value.endswith("-u1"):
        return value[-11:]
    return str(value)
