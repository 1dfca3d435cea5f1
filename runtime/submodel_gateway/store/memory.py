"""The reference store: plain dictionaries, nothing durable. `memory:` in the settings, and the model in tests."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import count, islice

from submodel.contract.states import JobState
from submodel_gateway.errors import OperationFailed
from submodel_gateway.jobs.breaker import Breaker
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.execute import execute
from submodel_gateway.store.memory_rows import MemoryRows


class MemoryStore:
    """Every read is a scan or a dictionary access: the executable specification of the other engines.

    Args:
        jobs_max: how many jobs it admits, kept ones included; None for no bound.
        wall_ms: the wall clock.
    """

    blocking = False
    shared = False
    board = None

    def __init__(self, jobs_max: int | None = None, wall_ms: Callable[[], int] | None = None) -> None:
        self._rows = MemoryRows(jobs_max)
        self._wall_ms = wall_ms or (lambda: time.time_ns() // 1_000_000)
        self._names = count()
        self._now = 0

    async def start(self, news: Callable[[Iterable[str]], None]) -> None:
        """Nobody else can change anything."""

    async def close(self) -> None:
        """Nothing to let go of."""

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        rows = self._rows.copy()
        outcomes = [execute(rows, operation, now) for operation in operations]
        self._rows = rows
        self._now = now
        return outcomes

    async def stash(self, data: bytes) -> base.Blob:
        blob = base.Blob(str(next(self._names)), len(data))
        self._rows.blobs[blob.name] = data
        return blob

    async def discard(self, blob: base.Blob) -> None:
        self._rows.blobs.pop(blob.name, None)

    async def fetch(self, blob: base.Blob) -> bytes:
        if blob.name not in self._rows.blobs:
            raise OperationFailed("the payload is gone with its job")
        return self._rows.blobs[blob.name]

    async def time(self) -> base.StoreTime:
        return base.StoreTime(wall_ms=self._wall_ms(), mark_ms=self._now)

    async def job(self, endpoint: str, id: str) -> Job | None:
        return self._rows.load(endpoint, id)

    async def content(self, job: Job) -> base.Content:
        if job.state is JobState.IN_PROGRESS:
            return base.Content(self._rows.progress.get(job.id))
        return self._rows.results.get(job.id, base.Content())

    async def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        return list(islice(self._rows.chunks.get(job.id, ()), after, after + limit))

    async def requests(
        self, endpoint: str, before: int | None, limit: int, states: Collection[JobState] = ()
    ) -> base.Page:
        mine = [
            job for job in self._rows.jobs.values() if job.endpoint == endpoint and (before is None or job.seq < before)
        ]
        seen = sorted(mine, key=lambda job: -job.seq)[: base.SCAN_MAX]
        wanted = [job for job in seen if not states or job.state in states]
        if len(wanted) > limit:
            return base.Page(tuple(wanted[:limit]), wanted[limit - 1].seq)
        return base.Page(tuple(wanted), seen[-1].seq if len(mine) > len(seen) else None)

    async def held(self, endpoint: str, worker: str) -> list[Job]:
        return self._rows.held(endpoint, worker)

    async def holders(self, endpoint: str) -> dict[str, int]:
        return Counter(job.worker or "" for job in self._rows.leased() if job.endpoint == endpoint)

    def tally(self, endpoint: str) -> Tally:
        return self._rows.tallies.get(endpoint, Tally())

    async def backlogs(self, late_at: Mapping[str, int | None]) -> dict[str, base.Backlog]:
        return {endpoint: self._backlog(endpoint, at) for endpoint, at in late_at.items()}

    def _backlog(self, endpoint: str, late_at: int | None) -> base.Backlog:
        queued = self._rows.queued(endpoint)
        accepted = [job.queued_at for job in queued if not job.low_priority]
        late = 0 if late_at is None else sum(instant <= late_at for instant in accepted)
        usual = None if len(accepted) == len(queued) else min(len(accepted), base.USUAL_MAX)
        running_low = sum(job.low_priority for job in self._rows.leased() if job.endpoint == endpoint)
        oldest_at = min(accepted, default=None)
        return base.Backlog(oldest_at, min(late, base.LATE_MAX), usual, min(running_low, base.LATE_MAX))

    async def ahead(self, job: Job) -> int:
        before = [each for each in self._rows.queued(job.endpoint) if (each.place, each.seq) < (job.place, job.seq)]
        return min(len(before), base.AHEAD_MAX)

    async def breaker(self, endpoint: str) -> Breaker:
        return self._rows.breaker(endpoint)

    async def endpoints(self) -> dict[str, bytes]:
        return dict(self._rows.endpoints)

    async def next_due(self) -> int | None:
        delayed = (
            job.run_at for job in self._rows.jobs.values() if job.state is JobState.IN_QUEUE and job.run_at > self._now
        )
        expiring = (entry.expires_at for entry in self._rows.keys.values())
        return min((*(job.due_at for job in self._rows.jobs.values()), *delayed, *expiring), default=None)

    async def next_webhook(self) -> int | None:
        return min((each.next_at for each in self._rows.webhooks.values() if each.next_at is not None), default=None)

    async def webhook(self, endpoint: str, id: str) -> Webhook | None:
        return self._rows.webhook(endpoint, id)

    async def last_seq(self) -> int:
        return self._rows.seq

    async def gateways(self) -> int:
        return 1
