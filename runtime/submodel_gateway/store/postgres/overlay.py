"""The jobs of a unit of work: as they were loaded, as they are now, and the queue they form."""

from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.store.postgres.columns import NOTHING, Count

JOB_OVERHEAD_BYTES = 2_000
"""What a stored job takes beside its payloads: its rows, their versions and their index entries."""

Place = tuple[int, int]
"""`place` and `seq`: the position in an endpoint's queue."""

END: Place = (2**63, 0)


@dataclass(slots=True)
class Entry:
    """A job id. Its row is locked, or there is none."""

    job: Job | None
    saved: Job | None
    """The row in the database, this transaction's writes included."""

    endpoint: str = ""
    input_bytes: int = 0
    result_bytes: int = 0
    saved_bytes: int = 0

    @property
    def stored_bytes(self) -> int:
        """Payload bytes of the job as it is now."""
        return 0 if self.job is None else self.input_bytes + self.result_bytes + self.job.chunk_bytes

    def settle(self) -> Count:
        """The row is written; returns what that adds to the counts of stored jobs and bytes."""
        kept = (self.job is not None) - (self.saved is not None)
        size = self.stored_bytes - self.saved_bytes
        self.saved, self.saved_bytes = self.job, self.stored_bytes
        return (*NOTHING[:-2], kept, size)


class Queue:
    """The queued jobs of an endpoint that this unit of work knows, in order.

    `horizon` is how far it knows all of them: behind it there may be others between.
    """

    def __init__(self) -> None:
        self._places: list[tuple[Place, str]] = []
        self.horizon: Place = (-(2**63), 0)

    def replace(self, before: Job | None, after: Job | None) -> None:
        """Follow a change of a job of this endpoint."""
        was, is_now = _place(before), _place(after)
        if was == is_now:
            return
        if was is not None:
            index = bisect_left(self._places, was)
            if index < len(self._places) and self._places[index] == was:
                del self._places[index]
        if is_now is not None:
            insort(self._places, is_now)

    def known(self) -> Iterator[str]:
        """Ids in order, as far as no other job can be between."""
        for place, id in self._places:
            if place > self.horizon:
                return
            yield id


def _place(job: Job | None) -> tuple[Place, str] | None:
    if job is None or job.state is not JobState.IN_QUEUE:
        return None
    return (job.place, job.seq), job.id
