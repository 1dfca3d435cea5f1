"""When the jobs of each endpoint came, how long they waited and ran: what another scaling setting is tried on.

No ids and no payloads. It is in memory and bounded, so it begins anew with the process; several gateways that share a
store have a part each, of the jobs whose workers spoke to them.
"""

from array import array
from collections.abc import Callable, Iterator
from typing import Final

from submodel_gateway.jobs.record import Job

JOBS_OF_AN_ENDPOINT: Final = 10_000
JOBS_OF_ALL: Final = 1_000_000
"""At 16 bytes each."""

_LONGEST_MS: Final = 2**32 - 1

Run = tuple[int, int, int]
"""When a job was accepted, how long it waited, and how long its last execution took, in milliseconds."""


class _Record:
    """The jobs of one endpoint that ended since an instant, in the order in which they ended."""

    def __init__(self, since_ms: int) -> None:
        self.since_ms = since_ms
        self._accepted, self._waited, self._ran = array("q"), array("I"), array("I")

    def __len__(self) -> int:
        return len(self._accepted)

    def add(self, run: Run) -> None:
        accepted, waited, ran = run
        self._accepted.append(accepted)
        self._waited.append(min(max(0, waited), _LONGEST_MS))
        self._ran.append(min(max(0, ran), _LONGEST_MS))

    def drop(self, count: int) -> None:
        """Forget the first ones."""
        last = count - 1
        self.since_ms = max(self.since_ms, self._accepted[last] + self._waited[last] + self._ran[last])
        for column in (self._accepted, self._waited, self._ran):
            del column[:count]

    def runs(self) -> Iterator[Run]:
        return zip(self._accepted, self._waited, self._ran, strict=True)


class Records:
    """The records of all endpoints.

    Args:
        exists: whether there still is an endpoint of that id.
    """

    def __init__(
        self,
        exists: Callable[[str], bool],
        jobs_of_an_endpoint: int = JOBS_OF_AN_ENDPOINT,
        jobs_of_all: int = JOBS_OF_ALL,
    ) -> None:
        self._exists = exists
        self._most = jobs_of_an_endpoint
        self._most_of_all = jobs_of_all
        self._records: dict[str, _Record] = {}
        self._count = 0

    def ended(self, job: Job) -> None:
        """A job is final. One that never ran, or that starts no worker, is not told."""
        if job.taken_at is None or job.finished_at is None or job.low_priority:
            return
        record = self._records.get(job.endpoint)
        if record is None:
            record = self._records[job.endpoint] = _Record(job.queued_at)
        record.add((job.queued_at, job.taken_at - job.queued_at, job.finished_at - job.taken_at))
        self._count += 1
        if len(record) > self._most:
            self._drop(record, len(record) // 4)
        if self._count > self._most_of_all:
            self._make_room()

    def of(self, endpoint: str) -> tuple[int, list[Run]]:
        """From which instant on the record is whole, and the jobs that were accepted since, the oldest first."""
        record = self._records.get(endpoint)
        if record is None:
            return 0, []
        return record.since_ms, sorted(run for run in record.runs() if run[0] >= record.since_ms)

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone."""
        self._count -= len(self._records.pop(endpoint, ()))

    def _make_room(self) -> None:
        for endpoint in [each for each in self._records if not self._exists(each)]:
            self.forget(endpoint)
        if self._count > self._most_of_all:
            longest = max(self._records.values(), key=len)
            self._drop(longest, (len(longest) + 1) // 2)

    def _drop(self, record: _Record, count: int) -> None:
        record.drop(count)
        self._count -= count
