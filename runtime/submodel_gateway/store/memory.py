"""The reference store: plain dictionaries, nothing durable. `memory:` in the settings, and the model in tests."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally, count
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.store import base
from submodel_gateway.store.execute import execute


class MemoryStore:
    """Every read is a scan or a dictionary access: the executable specification of the other engines."""

    blocking = False

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._payloads: dict[str, tuple[bytes, bytes]] = {}
        self._results: dict[str, base.Content] = {}
        self._progress: dict[str, bytes] = {}
        self._chunks: dict[str, list[bytes]] = {}
        self._tallies: dict[str, Tally] = {}
        self._endpoints: dict[str, bytes] = {}
        self._seq = 0
        self._now = 0

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        outcomes = [execute(self, operation, now) for operation in operations]
        self._now = now
        return outcomes

    def load(self, endpoint: str, id: str) -> Job | None:
        job = self._jobs.get(id)
        return job if job and job.endpoint == endpoint else None

    def next_seq(self) -> int:
        self._seq += 1
        return self._seq

    def save(self, change: Transition) -> None:
        job = change.after or change.before
        assert job is not None, "a transition has a job on one side at least"
        self._tallies[job.endpoint] = count(self.tally(job.endpoint), change)
        if change.after is None:
            for table in (self._jobs, self._payloads, self._results, self._progress, self._chunks):
                table.pop(job.id, None)
            return
        self._jobs[job.id] = change.after
        if change.requeued:
            self._chunks.pop(job.id, None)
        if change.requeued or job.state.terminal:
            self._progress.pop(job.id, None)
        if change.error is not None:
            self.put_result(job, None, change.error)

    def put_payload(self, job: Job, input: bytes, extra: bytes) -> None:
        self._payloads[job.id] = (input, extra)

    def payload(self, job: Job) -> tuple[bytes, bytes]:
        return self._payloads[job.id]

    def put_result(self, job: Job, output: bytes | None, error: str | None) -> None:
        self._results[job.id] = base.Content(output, error)

    def put_progress(self, job: Job, value: bytes) -> None:
        self._progress[job.id] = value

    def append_chunks(self, job: Job, first: int, items: Iterable[bytes]) -> None:
        stored = self._chunks.setdefault(job.id, [])
        assert len(stored) == first - 1, "the transition leaves no hole"
        stored.extend(items)

    def ready(self, endpoint: str, now: int, limit: int) -> list[Job]:
        jobs = [job for job in self._queued(endpoint) if job.run_at <= now < job.deadline]
        return sorted(jobs, key=_place)[:limit]

    def due(self, now: int, limit: int) -> list[Job]:
        jobs = [job for job in self._jobs.values() if job.due_at <= now]
        return sorted(jobs, key=lambda job: (job.due_at, job.seq))[:limit]

    def leased(self) -> list[Job]:
        jobs = [job for job in self._jobs.values() if job.state is JobState.IN_PROGRESS]
        return sorted(jobs, key=lambda job: job.seq)

    def live(self, endpoint: str, up_to: int, limit: int, *, running: bool) -> list[Job]:
        jobs = sorted(self._queued(endpoint), key=_place)
        if running:
            jobs += [job for job in self.leased() if job.endpoint == endpoint]
        return [job for job in jobs if job.seq <= up_to][:limit]

    def put_endpoint(self, endpoint: str, registration: bytes) -> None:
        self._endpoints[endpoint] = registration

    def delete_endpoint(self, endpoint: str) -> None:
        self._endpoints.pop(endpoint, None)

    def job(self, endpoint: str, id: str) -> Job | None:
        return self.load(endpoint, id)

    def content(self, job: Job) -> base.Content:
        if job.state is JobState.IN_PROGRESS:
            return base.Content(self._progress.get(job.id))
        return self._results.get(job.id, base.Content())

    def chunks(self, job: Job, after: int, limit: int) -> list[bytes]:
        return list(islice(self._chunks.get(job.id, ()), after, after + limit))

    def held(self, endpoint: str, worker: str) -> list[Job]:
        return [job for job in self.leased() if job.endpoint == endpoint and job.worker == worker]

    def holders(self, endpoint: str) -> dict[str, int]:
        return Counter(job.worker or "" for job in self.leased() if job.endpoint == endpoint)

    def tally(self, endpoint: str) -> Tally:
        return self._tallies.get(endpoint, Tally())

    def backlog(self, endpoint: str, late_at: int | None) -> base.Backlog:
        accepted = [job.created_at for job in self._queued(endpoint)]
        late = 0 if late_at is None else sum(instant <= late_at for instant in accepted)
        return base.Backlog(min(accepted, default=None), min(late, base.LATE_MAX))

    def endpoints(self) -> dict[str, bytes]:
        return dict(self._endpoints)

    def next_due(self) -> int | None:
        delayed = (
            job.run_at for job in self._jobs.values() if job.state is JobState.IN_QUEUE and job.run_at > self._now
        )
        return min((*(job.due_at for job in self._jobs.values()), *delayed), default=None)

    def last_seq(self) -> int:
        return self._seq

    def last_now(self) -> int:
        return self._now

    def close(self) -> None:
        """Nothing to let go of."""

    def _queued(self, endpoint: str) -> list[Job]:
        return [job for job in self._jobs.values() if job.endpoint == endpoint and job.state is JobState.IN_QUEUE]


def _place(job: Job) -> tuple[int, int]:
    return -job.pri, job.seq
