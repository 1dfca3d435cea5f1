"""A queued job says why it waits, and how many go before it."""

from collections.abc import Sequence

import pytest

from submodel.contract.internal import WorkerPresence
from submodel.contract.states import JobState, WorkerPhase
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.capacity import Wait, WaitReason, why
from submodel_gateway.service.clients import Waiting
from submodel_gateway.service.endpoints import EndpointState
from submodel_gateway.service.session import Session
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, Worker, World, here, presence, registration, world
from tests.support.jobs import job

NOW = 1_000


def session(phase: WorkerPhase, *, busy: bool = False, gone: bool = False, reason: str = "") -> Session:
    made = Session(
        worker=f"s-{phase}", id="s", revision="r1", last_seen_ms=NOW, idle_since_ms=None if busy else NOW, phase=phase
    )
    made.gone, made.reason = gone, reason
    if busy:
        made.held["job"] = None  # type: ignore[assignment]  # whether there is one is all that counts
    return made


def told(
    sessions: Sequence[Session] = (),
    workers: Sequence[WorkerPresence] = (),
    *,
    held_back: bool = False,
    run_at: int = 0,
    workers_max: int | None = None,
    low_priority: bool = False,
) -> Wait | None:
    state = EndpointState(registration(workers_max=workers_max))
    state.sessions = {each.worker: each for each in sessions}
    state.presence = {each.worker: each for each in workers}
    return why(state, job(run_at=run_at, low_priority=low_priority), NOW, held_back=held_back)


READY, BUSY = session(WorkerPhase.READY), session(WorkerPhase.READY, busy=True)
CASES: list[tuple[Wait | None, WaitReason | None, str]] = [
    (told(), WaitReason.NO_WORKERS, "one has been asked for"),
    (told([READY]), None, ""),
    (told([BUSY]), WaitReason.BUSY, "all 1 workers"),
    (told([BUSY], [presence("new", "Pending")]), WaitReason.BUSY, "all 1 workers"),
    (told([session(WorkerPhase.STARTING)]), WaitReason.STARTING, "is starting"),
    (told([session(WorkerPhase.STARTING, gone=True)]), WaitReason.NO_WORKERS, ""),
    (told([], [presence("new", "Running")]), WaitReason.STARTING, "is starting"),
    (told([], [presence("new", "Unschedulable")]), WaitReason.NO_CAPACITY, "no place"),
    (told([], [presence("new", "CrashLoopBackOff")]), WaitReason.WORKERS_FAIL, "CrashLoopBackOff"),
    (told([], [presence("old", "Terminating")]), WaitReason.NO_WORKERS, ""),
    (told([session(WorkerPhase.UNHEALTHY, reason="no GPU")]), WaitReason.WORKERS_FAIL, "no GPU"),
    (told([session(WorkerPhase.UNHEALTHY)]), WaitReason.WORKERS_FAIL, "unhealthy"),
    (told([READY], held_back=True), WaitReason.CRASH_LOOP, "one at a time"),
    (told([READY], run_at=NOW + 20), WaitReason.RETRY_DELAY, "in 20 ms"),
    (told([READY], workers_max=0), WaitReason.PAUSED, "workersMax is 0"),
    (told([READY], workers_max=1), None, ""),
    (told(low_priority=True), WaitReason.LOW_PRIORITY, "starts no worker"),
    (told([BUSY], low_priority=True), WaitReason.BUSY, "all 1 workers"),
    (told([], [presence("new", "Running")], low_priority=True), WaitReason.STARTING, "is starting"),
]  # fmt: skip


@pytest.mark.parametrize(("wait", "reason", "sentence"), CASES)
def test_a_job_waits_for_a_reason(wait: Wait | None, reason: WaitReason | None, sentence: str) -> None:
    assert (wait.reason if wait else None) is reason
    assert sentence in (wait.message if wait else "")


async def waiting(w: World, id: str) -> Waiting | None:
    return (await w.status(id)).waits


async def test_the_place_in_the_queue_counts_the_jobs_that_go_before() -> None:
    async with world() as w:
        first, second, urgent = await w.submit(), await w.submit(), await w.submit(priority=1)
        places = [found.position for id in (urgent, first, second) if (found := await waiting(w, id))]
        assert places == [1, 2, 3]
        worker = Worker(w)
        await worker.take()
        assert await waiting(w, urgent) is None
        assert (await waiting(w, first)) == Waiting(1, Wait(WaitReason.BUSY, "all 1 workers run other jobs"))


async def test_a_job_that_is_far_behind_has_no_place() -> None:
    class Long(MemoryStore):
        async def ahead(self, job: Job) -> int:
            return base.AHEAD_MAX

    async with world(Long()) as w:
        found = await waiting(w, await w.submit())
        assert found
        assert found.position is None


async def test_a_wait_that_ends_before_the_job_says_why_too() -> None:
    async with world() as w:
        view = await w.gateway.clients.wait(ENDPOINT, await w.submit(), 1, here())
        assert view.job.state is JobState.IN_QUEUE
        assert view.waits
        assert view.waits.wait
        assert view.waits.wait.reason is WaitReason.NO_WORKERS
