"""The job API's use cases: submit, wait, read, stream, cancel, purge, health."""

from collections.abc import Callable
from dataclasses import dataclass

from submodel.contract import limits
from submodel.contract.states import WorkerPhase
from submodel_gateway.errors import NotFound
from submodel_gateway.jobs.ids import job_id
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.waiting import Hangup, Hold, JobWatchers
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit

STREAM_ITEMS = 1_000
"""Streamed items per answer, unless it is the last one."""

PURGE_BATCH = 1_000

_INITIALIZING = {"Pending", "Running", "ContainerCreating", "PodInitializing"}
_THROTTLED = {"Unschedulable"}


@dataclass(frozen=True, slots=True)
class NewJob:
    """A client's request as parsed: payloads are JSON text, limits are None where the endpoint's apply."""

    input: bytes
    extra: bytes = b"{}"
    execution_timeout_ms: int | None = None
    ttl_ms: int | None = None


@dataclass(frozen=True, slots=True)
class JobView:
    """A job with its output and error, as a reader sees it."""

    job: Job
    content: base.Content


@dataclass(frozen=True, slots=True)
class StreamPart:
    """Streamed items `offset + 1` to `offset + len(items)` of the current attempt."""

    job: Job
    offset: int
    items: list[bytes]


@dataclass(frozen=True, slots=True)
class Health:
    """Jobs and workers of an endpoint. Totals count since the endpoint was first known; `failed` includes timeouts."""

    jobs: dict[str, int]
    workers: dict[str, int]


class Clients:
    """What clients can ask for. `watchers` is woken by the gateway after each commit."""

    def __init__(
        self,
        store: GroupCommit,
        endpoints: Endpoints,
        watchers: JobWatchers,
        clock: Clock,
        random_bits: Callable[[int], int],
    ) -> None:
        self._store = store
        self._endpoints = endpoints
        self._watchers = watchers
        self._clock = clock
        self._random_bits = random_bits
        self._cursors: dict[str, tuple[int, int]] = {}

    async def submit(self, endpoint: str, new: NewJob, *, sync: bool = False) -> str:
        """Store a job and return its id; it is durable then. Raises `NotFound`, `OperationFailed`, `Unavailable`."""
        state = self._endpoints.get(endpoint)
        registration = state.registration
        id = job_id(self._clock.now_ms(), self._random_bits(74), sync=sync)
        # Waking a take before the submit is queued lets both travel in one transaction.
        state.wake_takers(1)
        await self._store.one(
            base.Submit(
                id=id,
                endpoint=endpoint,
                input=new.input,
                extra=new.extra,
                max_attempts=registration.max_attempts,
                execution_timeout_ms=_or(new.execution_timeout_ms, registration.execution_timeout_ms),
                ttl_ms=_or(new.ttl_ms, registration.ttl_ms),
                retention_ms=limits.RESULT_TTL_SYNC_MS if sync else limits.RESULT_TTL_ASYNC_MS,
            )
        )
        return id

    def status(self, endpoint: str, id: str) -> JobView:
        """The job as it is now. Raises `NotFound`."""
        self._endpoints.get(endpoint)
        return self._view(self._job(endpoint, id))

    async def wait(self, endpoint: str, id: str, wait_ms: int, hangup: Hangup) -> JobView:
        """The job once it is final, or as it is after `wait_ms`. Raises `NotFound`."""
        self._endpoints.get(endpoint)
        with Hold(wait_ms, hangup) as hold:
            self._watchers.add(id, hold)
            try:
                while not (job := self._job(endpoint, id)).state.terminal and not hold.ended:
                    await hold.woken()
            finally:
                self._watchers.remove(id, hold)
        return self._view(job)

    async def stream(self, endpoint: str, id: str, offset: int | None, wait_ms: int, hangup: Hangup) -> StreamPart:
        """Streamed items after `offset`, waiting up to `wait_ms` while there are none and the job goes on.

        Without an offset, each item is returned once per job: the gateway keeps a cursor, which starts again when
        another attempt does. With one, the read changes nothing. Raises `NotFound`.
        """
        self._endpoints.get(endpoint)
        with Hold(wait_ms, hangup) as hold:
            self._watchers.add(id, hold)
            try:
                while True:
                    part = self._part(endpoint, id, offset)
                    if part.items or part.job.state.terminal or hold.ended:
                        break
                    await hold.woken()
            finally:
                self._watchers.remove(id, hold)
        if offset is None and not hangup.done():
            self._cursors[id] = (part.job.attempt, part.offset + len(part.items))
        return part

    async def cancel(self, endpoint: str, id: str) -> JobView:
        """End the job unless it is final; returns it as it is then. Raises `NotFound`, `OperationFailed`."""
        self._endpoints.get(endpoint)
        outcome = await self._store.one(base.Cancel(endpoint=endpoint, id=id))
        job = outcome.change.after if isinstance(outcome, base.Applied) else _refused(outcome)
        if job is None:
            raise _unknown_job(id)
        return self._view(job)

    async def purge(self, endpoint: str) -> int:
        """Cancel the jobs that are queued now, none that comes later; returns how many."""
        self._endpoints.get(endpoint)
        up_to = self._store.store.last_seq()
        removed = 0
        while True:
            outcome = await self._store.one(base.Purge(endpoint=endpoint, up_to=up_to, limit=PURGE_BATCH))
            batch = len(base.changes(outcome))
            removed += batch
            if batch < PURGE_BATCH:
                return removed

    def health(self, endpoint: str) -> Health:
        """Counts of jobs and workers. Raises `NotFound`."""
        state = self._endpoints.get(endpoint)
        tally = self._store.store.tally(endpoint)
        jobs = {
            "completed": tally.completed,
            "failed": tally.failed + tally.timed_out,
            "inProgress": tally.in_progress,
            "inQueue": tally.queued,
            "retried": tally.retried,
        }
        return Health(jobs, _worker_counts(state))

    def forget(self, id: str) -> None:
        """The job is gone, and the reader's place in its stream with it."""
        self._cursors.pop(id, None)

    def _job(self, endpoint: str, id: str) -> Job:
        job = self._store.store.job(endpoint, id)
        if job is None:
            raise _unknown_job(id)
        return job

    def _view(self, job: Job) -> JobView:
        return JobView(job, self._store.store.content(job))

    def _part(self, endpoint: str, id: str, offset: int | None) -> StreamPart:
        job = self._job(endpoint, id)
        if offset is None:
            attempt, offset = self._cursors.get(id, (job.attempt, 0))
            offset = offset if attempt == job.attempt else 0
        # Clients stop reading at the first final state, so that answer carries everything that is left.
        limit = job.chunks if job.state.terminal else STREAM_ITEMS
        items = self._store.store.chunks(job, offset, limit) if job.chunks > offset else []
        return StreamPart(job, offset, items)


def _or(value: int | None, default: int) -> int:
    return default if value is None else value


def _refused(outcome: base.Outcome) -> Job | None:
    return outcome.job if isinstance(outcome, base.Refused) else None


def _unknown_job(id: str) -> NotFound:
    return NotFound(f"job {id!r} does not exist at this endpoint, or its result has expired")


def _worker_counts(state: EndpointState) -> dict[str, int]:
    counts = dict.fromkeys(("idle", "initializing", "ready", "running", "throttled", "unhealthy"), 0)
    for session in state.sessions.values():
        if session.held:
            counts["running"] += 1
        elif session.phase is WorkerPhase.STARTING:
            counts["initializing"] += 1
        elif session.phase is WorkerPhase.UNHEALTHY:
            counts["unhealthy"] += 1
        elif session.phase is WorkerPhase.READY and not state.drains(session):
            counts["idle"] += 1
    for worker in state.presence.values():
        if worker.worker not in state.sessions:
            kind = "initializing" if worker.phase in _INITIALIZING else "unhealthy"
            counts["throttled" if worker.phase in _THROTTLED else kind] += 1
    counts["ready"] = counts["idle"] + counts["running"]
    return counts
