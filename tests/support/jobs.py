"""Jobs as the state machine sees them, with the fields that a test does not care about filled in."""

from typing import Any

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job


def job(state: JobState = JobState.IN_QUEUE, **fields: Any) -> Job:
    """A job `a` of endpoint `e` that came at 1 ms and has until 10 ms; `fields` are those of `Job`."""
    values = {
        "id": "a",
        "endpoint": "e",
        "seq": 1,
        "max": 3,
        "created_at": 1,
        "queued_at": 1,
        "ttl_ms": 9,
        "deadline": 10,
        "execution_timeout_ms": 0,
        "retention_ms": 1,
        **fields,
    }
    return Job(state=state, **values)
