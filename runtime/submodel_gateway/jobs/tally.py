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


_FIELD = {
    JobState.IN_QUEUE: "queued",
    JobState.IN_PROGRESS: "in_progress",
    JobState.COMPLETED: "completed",
    JobState.FAILED: "failed",
    JobState.CANCELLED: "cancelled",
    JobState.TIMED_OUT: "timed_out",
}


Step = tuple[JobState | None, JobState]
"""From which state to which. From none: an arrival."""


def count(tally: Tally, done: Transition) -> Tally:
    """The tally after `done`."""
    kind = step(done)
    return tally if kind is None else add(tally, kind)


def step(done: Transition) -> Step | None:
    """What counts of `done`; None when nothing does. A forgotten job was terminal: its totals stay."""
    before, after = _state(done.before), _state(done.after)
    if before is after or after is None:
        return None
    return None if done.reopened else before, after


def add(tally: Tally, kind: Step, times: int = 1) -> Tally:
    """The tally after as many steps of one kind."""
    before, after = kind
    changes = {_FIELD[after]: getattr(tally, _FIELD[after]) + times}
    if before is None:
        changes["arrived"] = tally.arrived + times
    else:
        changes[_FIELD[before]] = getattr(tally, _FIELD[before]) - times
    if before is JobState.IN_PROGRESS and after is JobState.IN_QUEUE:
        changes["retried"] = tally.retried + times
    return replace(tally, **changes)


def _state(job: Job | None) -> JobState | None:
    return job.state if job else None
