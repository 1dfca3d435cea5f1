"""The history of a job, put together from what all operations answered."""

from collections.abc import Iterable
from itertools import pairwise

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.store import base

WORKER_WRITES = (base.Heartbeat, base.Progress, base.AppendChunk, base.Finish, base.Release, base.Lose)


def chain(start: Job, changes: Iterable[Transition]) -> list[Job]:
    """The records that the job went through, from `start` on.

    Fails when the changes are no single chain: then one of them was decided on a record that another had replaced.
    """
    steps = [change for change in changes if change.after != change.before]
    records = [start]
    while steps:
        following = [change for change in steps if change.before == records[-1]]
        assert len(following) == 1, f"{len(following)} changes were made to {records[-1]}, left are {steps}"
        steps.remove(following[0])
        assert following[0].after is not None, "nothing expires here"
        records.append(following[0].after)
    return records


def check_ends(records: list[Job]) -> None:
    """One end per generation, and nothing goes on after a cancel but that the job may be kept for less long."""
    ends = [job.gen for before, job in pairwise(records) if job.state.terminal and not before.state.terminal]
    assert len(ends) == len(set(ends)), records
    for before, job in pairwise(records):
        if before.state is JobState.CANCELLED:
            assert job == msgspec.structs.replace(before, keep_until=job.keep_until), records


def check_token(operation: base.Operation, outcome: base.Outcome) -> None:
    """A worker's write had its effect only under the token that was the live one."""
    if isinstance(operation, WORKER_WRITES) and isinstance(outcome, base.Applied) and not outcome.change.duplicate:
        before = outcome.change.before
        assert before is not None
        assert before.state is JobState.IN_PROGRESS
        assert operation.token == before.token
