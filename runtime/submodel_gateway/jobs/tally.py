"""Counters per endpoint, kept with every transition so that nobody ever counts jobs.

Conservation: `arrived == queued + in_progress + completed + failed + cancelled + timed_out`, at every commit. Each
generation of a job is an arrival of its own: a retried job leaves its failure in the totals.
"""

import msgspec
from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Transition


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Jobs of one endpoint: those alive now, and totals that never shrink."""

    queued: int = 0
    in_progress: int = 0
    arrived: int = 0
    completed: int = 0
    failed: int = 0
    cancelled: int = 0
    timed_out: int = 0
    retried: int = 0
    """Executions that were lost or given back, each a return to the queue."""

    arrived_low: int = 0
    """Arrivals of jobs of low priority; `arrived` counts them too."""


_FIELD = {
    JobState.IN_QUEUE: "queued",
    JobState.IN_PROGRESS: "in_progress",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.TIMED_OUT: "timed_out",
}


Step = tuple[JobState | None, JobState, bool]
"""From which state to which; from none: an arrival. And whether it is an arrival of low priority."""


def count(tally: Tally, done: Transition) -> Tally:
    """The tally after `done`."""
    kind = step(done)
    return tally if kind is None else add(tally, kind)


def step(done: Transition) -> Step | None:
    """What counts of `done`; None when nothing does. A forgotten job was terminal: its totals stay."""
    before, after = _state(done.before), _state(done.after)
    if before is after or after is None:
        return None
    arrives = before is None or done.reopened
    low = arrives and done.after is not None and done.after.low_priority
    return None if arrives else before, after, low


def add(tally: Tally, kind: Step, times: int = 1) -> Tally:
    """The tally after as many steps of one kind."""
    before, after, low = kind
    changes = {_FIELD[after]: getattr(tally, _FIELD[after]) + times}
    if before is None:
        changes["arrived"] = tally.arrived + times
        if low:
            changes["arrived_low"] = tally.arrived_low + times
    else:
        changes[_FIELD[before]] = getattr(tally, _FIELD[before]) - times
    if before is JobState.IN_PROGRESS and after is JobState.IN_QUEUE:
        changes["retried"] = tally.retried + times
    return replace(tally, **changes)


def _state(job: Job | None) -> JobState | None:
    return job.state if job else None
