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


def count(tally: Tally, done: Transition) -> Tally:
    """The tally after `done`. A forgotten job was terminal: its totals stay."""
    before, after = _state(done.before), _state(done.after)
    if before is after or after is None:
        return tally
    before = None if done.reopened else before
    changes = {_FIELD[after]: getattr(tally, _FIELD[after]) + 1}
    if before is None:
        changes["arrived"] = tally.arrived + 1
    else:
        changes[_FIELD[before]] = getattr(tally, _FIELD[before]) - 1
    if done.requeued:
        changes["retried"] = tally.retried + 1
    return replace(tally, **changes)


def _state(job: Job | None) -> JobState | None:
    return job.state if job else None
