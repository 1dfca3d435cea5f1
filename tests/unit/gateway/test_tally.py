"""Counters of an endpoint: what each kind of change adds to them."""

import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.tally import Tally, count
from submodel_gateway.jobs.transition import Transition
from tests.support.jobs import job

BUSY = Tally(
    queued=5, in_progress=5, arrived=50, completed=10, failed=10, cancelled=10, timed_out=10, retried=7, arrived_low=4
)


def change(before: JobState | None, after: JobState | None, *, low_priority: bool = False) -> Transition:
    """Of a job from one state to another; None where there is no job."""
    was, now = (job(state, low_priority=low_priority) if state else None for state in (before, after))
    return Transition(was, now)


QUEUED, RUNNING, FAILED = JobState.IN_QUEUE, JobState.IN_PROGRESS, JobState.FAILED


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (None, QUEUED, {"arrived": 1, "queued": 1}),
        (QUEUED, RUNNING, {"queued": -1, "in_progress": 1}),
        (RUNNING, RUNNING, {}),
        (RUNNING, JobState.COMPLETED, {"in_progress": -1, "completed": 1}),
        (RUNNING, FAILED, {"in_progress": -1, "failed": 1}),
        (RUNNING, JobState.CANCELLED, {"in_progress": -1, "cancelled": 1}),
        (RUNNING, JobState.TIMED_OUT, {"in_progress": -1, "timed_out": 1}),
        (QUEUED, JobState.CANCELLED, {"queued": -1, "cancelled": 1}),
        (QUEUED, JobState.TIMED_OUT, {"queued": -1, "timed_out": 1}),
        (RUNNING, QUEUED, {"in_progress": -1, "queued": 1, "retried": 1}),
        (FAILED, FAILED, {}),
        (FAILED, None, {}),
        (FAILED, QUEUED, {"arrived": 1, "queued": 1}),
        (JobState.TIMED_OUT, QUEUED, {"arrived": 1, "queued": 1}),
    ],
)
def test_a_change_moves_the_counters_of_both_states(
    before: JobState | None, after: JobState | None, changes: dict[str, int]
) -> None:
    counted = count(BUSY, change(before, after))
    expected = {name: getattr(BUSY, name) + changes.get(name, 0) for name in Tally.__struct_fields__}
    assert counted == Tally(**expected)
    live = counted.queued + counted.in_progress
    assert counted.arrived == live + counted.completed + counted.failed + counted.cancelled + counted.timed_out


@pytest.mark.parametrize("before", [None, FAILED])
def test_an_arrival_of_low_priority_is_counted_apart_too(before: JobState | None) -> None:
    counted = count(BUSY, change(before, QUEUED, low_priority=True))
    assert (counted.arrived - BUSY.arrived, counted.arrived_low - BUSY.arrived_low) == (1, 1)
    assert count(BUSY, change(QUEUED, RUNNING, low_priority=True)).arrived_low == 4
