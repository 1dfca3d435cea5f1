"""The jobs of a server: those that wait, those that run, and the newest of those that have ended.

Between the threads that answer requests and the one that runs handlers; every method may be called from any of them.
"""

import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from submodel.contract.exchange import JobPolicy
from submodel.contract.states import JobState
from submodel.errors import SubModelError
from submodel.serverless import outcome as outcomes
from submodel.serverless.dialect import Flow, News
from submodel.serverless.local.jobs import JobStatus, LocalJob
from submodel.serverless.outcome import Outcome
from submodel.serverless.stopper import undisturbed

KEPT = 1000
"""How many jobs that have ended can still be read."""

Hear = Callable[[News], None]


class Closed(SubModelError):
    """No more jobs are taken."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Jobs by state; those that have ended since the process began."""

    queued: int
    running: int
    completed: int
    failed: int


class Desk:
    """Takes jobs from requests and hands them to an executor.

    Args:
        concurrency: jobs at once; 0 for as many as come.
        on_end: is given each job that has ended, in a thread that may not be kept waiting.
    """

    def __init__(self, concurrency: int, on_end: Callable[[LocalJob], None]) -> None:
        self._concurrency = concurrency
        self._on_end = on_end
        self._hear: Hear | None = None
        self._open = True
        self._jobs: dict[str, LocalJob] = {}
        self._queue: deque[LocalJob] = deque()
        self._running: set[str] = set()
        self._ended: deque[str] = deque()
        self._totals = {state: 0 for state in JobState if state.terminal}
        self._changed = threading.Condition()

    def open(self, hear: Hear) -> None:
        """Begin to hand out jobs; `hear` must not wait."""
        with self._changed:
            self._hear = hear
            self._hand_out()

    def close(self) -> None:
        """Take no more jobs; those that are here may end."""
        with self._changed:
            self._open = False

    def wait_until_idle(self) -> None:
        """Wait until no job is left to run."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running and not self._queue)

    # What requests ask:

    def submit(
        self, request: dict[str, Any], policy: JobPolicy, output_bytes_max: int, called: str | None = None
    ) -> str:
        """Queue a job; returns its id. Raises `Closed`.

        Args:
            called: the id that the handler finds, when it is not to be this one.
        """
        job_id = f"test-{uuid.uuid4()}"
        job = LocalJob(job_id, called or job_id, request, policy, output_bytes_max, time.monotonic())
        with self._changed:
            if not self._open:
                raise Closed("the server is going down or starts over; come back later")
            self._jobs[job.id] = job
            self._queue.append(job)
            self._hand_out()
        self._limit_time(job.id, policy.ttl_ms)
        return job.id

    def read(self, job_id: str, view: Callable[[LocalJob], Any]) -> Any:
        """What `view` makes of a job; None when there is no such job."""
        with self._changed:
            job = self._jobs.get(job_id)
            return None if job is None else view(job)

    def wait(self, job_id: str, seconds: float | None, until: Callable[[LocalJob], bool]) -> None:
        """Wait for a job to be as wanted, or to be gone; up to `seconds` when they are not None."""

        def done() -> bool:
            job = self._jobs.get(job_id)
            return job is None or until(job)

        with self._changed:
            self._changed.wait_for(done, seconds)

    def stop(self, job_id: str, state: JobState = JobState.CANCELLED) -> None:
        """End a job unless it is final."""
        with self._changed:
            if (job := self._jobs.get(job_id)) is not None and not job.state.terminal:
                if job.stop(state, time.monotonic()) and self._hear is not None:
                    self._hear(News([], [job.id]))
                self._settled(job)
                self._hand_out()

    def purge(self) -> int:
        """Cancel what waits; returns how many."""
        with self._changed:
            waiting = [job for job in self._queue if not job.state.terminal]
            for job in waiting:
                job.stop(JobState.CANCELLED, time.monotonic())
                self._settled(job)
            self._hand_out()
            return len(waiting)

    def counts(self) -> Counts:
        with self._changed:
            failed = self._totals[JobState.FAILED] + self._totals[JobState.TIMED_OUT]
            queued = sum(not job.state.terminal for job in self._queue)
            return Counts(queued, len(self._running), self._totals[JobState.COMPLETED], failed)

    def newest(self, limit: int) -> list[JobStatus]:
        """The newest jobs, without outputs and errors."""
        with self._changed:
            return [_brief(job) for job in list(self._jobs.values())[: -limit - 1 : -1]]

    # What the executor says:

    def begin(self, token: str) -> bool:
        with self._changed:
            job = self._jobs.get(token)
            if job is None or not job.begin(time.monotonic()):
                self._free(token)
                return False
            self._changed.notify_all()
        self._limit_time(token, job.policy.execution_timeout_ms)
        return True

    def add_chunk(self, token: str, chunk: bytes) -> Flow:
        with self._changed:
            job = self._jobs.get(token)
            if job is None or job.state.terminal:
                return Flow.END
            job.chunks.append(chunk)
            self._changed.notify_all()
            return Flow.ON

    def progress(self, job_id: str, value: Any) -> None:
        """See `submodel.serverless.progress_update`."""
        text = outcomes.progress(value)
        with undisturbed, self._changed:
            job = self._jobs.get(job_id)
            if job is not None and job.state is JobState.IN_PROGRESS:
                job.output = text

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        with self._changed:
            job = self._jobs.get(token)
            if job is not None and not job.state.terminal:
                job.finish(outcome, time.monotonic())
                self._settled(job)
            self._free(token)

    def limit(self, concurrency: int) -> bool:
        with self._changed:
            fewer = self._concurrency > concurrency
            if fewer or self._concurrency == 0:
                self._concurrency = concurrency
            return fewer

    def wait_for_room(self) -> None:
        """Nothing is ever congested: items are kept here."""

    # Inside the lock:

    def _hand_out(self) -> None:
        while self._queue and self._hear is not None:
            if not self._queue[0].state.terminal:
                if self._concurrency and len(self._running) >= self._concurrency:
                    return
                self._running.add(self._queue[0].id)
                self._hear(News([self._queue[0].leased()], []))
            self._queue.popleft()
        self._changed.notify_all()

    def _free(self, job_id: str) -> None:
        """The handler of a job does not run any more."""
        self._running.discard(job_id)
        self._hand_out()
        self._changed.notify_all()

    def _settled(self, job: LocalJob) -> None:
        """A job has become final."""
        self._totals[job.state] += 1
        self._ended.append(job.id)
        while len(self._ended) > KEPT:
            self._jobs.pop(self._ended.popleft(), None)
        self._changed.notify_all()
        self._on_end(job)

    def _limit_time(self, job_id: str, milliseconds: int) -> None:
        if milliseconds:
            timer = threading.Timer(milliseconds / 1000, self.stop, (job_id, JobState.TIMED_OUT))
            timer.daemon = True
            timer.start()


def _brief(job: LocalJob) -> JobStatus:
    found = job.status()
    return JobStatus(
        id=found.id,
        status=found.status,
        delay_time=found.delay_time,
        execution_time=found.execution_time,
        worker_id=found.worker_id,
        retries=found.retries,
    )
