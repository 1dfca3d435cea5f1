"""The heads of queues: ready jobs that the takes of a group need, read at once instead of one by one.

A head is the first jobs of an endpoint's queue in the order of the take, as the transaction sees them. It follows the
transaction's changes as long as they leave it a head, and is read anew otherwise.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.store import base
from submodel_gateway.store.group import GROUP_MAX

READ_MAX = GROUP_MAX
"""Jobs that one read may look ahead."""


@dataclass
class _Head:
    jobs: deque[Job]
    whole: bool
    """Whether these are all jobs of the queue that are ready."""

    now: int


class Heads:
    """What is known of queues inside one transaction, whose `now` is one instant.

    Args:
        read: the first ready jobs of an endpoint at an instant, as stored.
    """

    def __init__(self, read: Callable[[str, int, int], list[Job]]) -> None:
        self._read = read
        self.clear()

    def clear(self) -> None:
        """The transaction is over."""
        self._heads: dict[str, _Head] = {}
        self._wanted: Counter[str] = Counter()

    def foresee(self, operations: Iterable[base.Operation]) -> None:
        """Learn how many jobs the takes of a group will ask for."""
        for operation in operations:
            if isinstance(operation, base.Take):
                self._wanted[operation.endpoint] += operation.limit

    def ready(self, endpoint: str, now: int, limit: int) -> list[Job]:
        """The first ready jobs of the endpoint, at most `limit`."""
        head = self._heads.get(endpoint)
        if head is None or (len(head.jobs) < limit and not head.whole):
            asked = max(limit, min(self._wanted[endpoint], READ_MAX))
            jobs = self._read(endpoint, now, asked)
            head = self._heads[endpoint] = _Head(deque(jobs), len(jobs) < asked, now)
        self._wanted[endpoint] -= limit
        return list(islice(head.jobs, limit))

    def follow(self, change: Transition) -> None:
        """Keep the head that the change leaves."""
        job = change.after or change.before
        head = self._heads.get(job.endpoint) if job else None
        if job is None or head is None:
            return
        if change.before is not None and change.before.state is JobState.IN_QUEUE:
            if head.jobs and head.jobs[0].id == job.id:
                head.jobs.popleft()
            else:
                del self._heads[job.endpoint]
                return
        if job.state is JobState.IN_QUEUE:
            self._queued(head, job)

    def _queued(self, head: _Head, job: Job) -> None:
        if head.jobs and (job.place, job.seq) < (head.jobs[-1].place, head.jobs[-1].seq):
            del self._heads[job.endpoint]
        elif head.whole and job.run_at <= head.now < job.deadline:
            head.jobs.append(job)
