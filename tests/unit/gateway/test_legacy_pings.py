"""What pings of the legacy dialect keep alive and what they give away, and how such a worker is told to stop."""

import pytest

from submodel.contract import limits
from submodel.contract.internal import WorkerView
from submodel.contract.states import JobState, WorkerPhase
from submodel_gateway.service.legacy_memory import OVERDUE_MS, LegacyMemory
from tests.support.gateway_world import ENDPOINT, World, presence, settle, world
from tests.support.legacy_worker import LegacyWorker, at_work

PING_MS = 10_000


async def pings(w: World, worker: LegacyWorker, *jobs: str, count: int) -> None:
    """Pings in their usual rhythm."""
    for _ in range(count):
        await w.pass_time(PING_MS)
        await worker.ping(*jobs)


async def state(w: World, id: str) -> JobState:
    return (await w.status(id)).job.state


async def view(w: World) -> WorkerView:
    (only,) = (await w.snapshot()).workers
    return only


@pytest.mark.requirement("worker.ping.renews")
async def test_a_ping_renews_the_jobs_that_it_lists() -> None:
    async with at_work() as (w, worker, id):
        await pings(w, worker, id, count=10)
        assert await state(w, id) is JobState.IN_PROGRESS


async def test_without_pings_a_job_is_lost_with_its_lease() -> None:
    async with world() as w:
        id = await w.submit()
        worker = LegacyWorker(w)
        await worker.ping()
        await worker.take()
        await w.pass_time(limits.LEASE_MS + 1_000)
        assert await state(w, id) is JobState.IN_QUEUE


async def test_a_later_attempt_is_renewed_under_its_own_id_alone() -> None:
    async with at_work() as (w, worker, id):
        await w.pass_time(6_000)
        assert (await worker.take())["id"] == f"{id}-a2"
        await pings(w, worker, f"{id}-a2", count=1)
        await pings(w, worker, id, count=3)
        assert await state(w, id) is JobState.IN_QUEUE


@pytest.mark.requirement("worker.lost.unlisted")
async def test_three_pings_that_leave_a_job_out_lose_it() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = LegacyWorker(w)
        await worker.ask(batch=2).answer()
        await pings(w, worker, first, second, count=1)
        await pings(w, worker, second, count=2)
        assert await state(w, first) is JobState.IN_PROGRESS
        await pings(w, worker, second, count=1)
        assert [await state(w, id) for id in (first, second)] == [JobState.IN_QUEUE, JobState.IN_PROGRESS]


async def test_an_answer_that_a_busy_worker_has_yet_to_read_is_not_lost() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = LegacyWorker(w)
        await worker.take()
        await worker.take(running=True)
        await pings(w, worker, first, count=12)
        assert await state(w, second) is JobState.IN_PROGRESS


async def test_an_answer_is_read_or_lost_before_the_next_ask() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = LegacyWorker(w)
        await worker.take()
        await worker.take(running=True)
        await pings(w, worker, first, count=1)
        call = worker.ask(running=True)
        await settle()
        await pings(w, worker, first, count=3)
        assert (await call.answer()).json["id"] == f"{second}-a2"


async def test_a_job_that_is_listed_again_was_not_lost() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = LegacyWorker(w)
        await worker.ask(batch=2).answer()
        for _ in range(3):
            await pings(w, worker, second, count=2)
            await pings(w, worker, first, second, count=1)
        assert await state(w, first) is JobState.IN_PROGRESS


@pytest.mark.parametrize("sdk", ["runpod/1.7.13", "submodel/1.0.1"])
async def test_empty_lists_say_nothing_where_a_list_never_held_anything(sdk: str) -> None:
    async with world() as w:
        id = await w.submit()
        worker = LegacyWorker(w, sdk=sdk)
        await worker.take()
        await pings(w, worker, count=1)
        call = worker.ask(running=True)
        await settle()
        call.hang_up()
        await pings(w, worker, count=12)
        assert await state(w, id) is JobState.IN_PROGRESS


@pytest.mark.requirement("worker.lost.unlisted")
async def test_an_sdk_that_fetches_ahead_keeps_what_its_pings_leave_out() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = LegacyWorker(w, sdk="runpod/1.7.4")
        await worker.ask(batch=2).answer()
        await pings(w, worker, first, count=12)
        assert await state(w, second) is JobState.IN_PROGRESS


async def test_a_ping_without_a_version_keeps_jobs_while_it_lists_any() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = LegacyWorker(w, sdk="")
        await worker.ask(running=None, batch=2).answer()
        await pings(w, worker, first, count=12)
        assert await state(w, second) is JobState.IN_PROGRESS
        await pings(w, worker, count=5)
        assert await state(w, second) is JobState.IN_QUEUE


@pytest.mark.requirement("worker.ping.absent")
async def test_a_worker_that_never_pings_keeps_its_job_while_its_pod_runs() -> None:
    async with world() as w:
        id = await w.submit()
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1")], w.clock.ms)
        await LegacyWorker(w).take()
        await w.pass_time(3 * limits.LEASE_MS)
        assert await state(w, id) is JobState.IN_PROGRESS
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1", "CrashLoopBackOff")], w.clock.ms)
        await w.pass_time(2 * limits.LEASE_MS)
        assert await state(w, id) is JobState.IN_QUEUE


@pytest.mark.requirement("worker.ping.absent")
async def test_a_worker_that_never_pings_keeps_its_jobs_by_whatever_else_it_asks() -> None:
    async with at_work() as (w, worker, id):
        for _ in range(8):
            await w.pass_time(20_000)
            call = worker.ask_stops()
            await settle()
            call.hang_up()
            await call.answer()
        assert await state(w, id) is JobState.IN_PROGRESS


async def test_a_worker_that_pings_and_falls_silent_is_not_kept_by_its_pod() -> None:
    async with world() as w:
        id = await w.submit()
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1")], w.clock.ms)
        worker = LegacyWorker(w)
        await worker.take()
        await worker.ping(id)
        await w.pass_time(limits.LEASE_MS + 1_000)
        assert await state(w, id) is JobState.IN_QUEUE


@pytest.mark.requirement("worker.stop.once")
async def test_a_stopped_job_is_told_once_under_the_name_that_the_worker_knows() -> None:
    async with at_work() as (w, worker, id):
        await w.pass_time(6_000)
        await worker.take()
        call = worker.ask_stops()
        await settle()
        assert not call.done
        await w.gateway.clients.cancel(ENDPOINT, id)
        assert (await call.answer()).json == {"jobsToStop": [f"{id}-a2"]}
        again = worker.ask_stops()
        await settle()
        assert not again.done


async def test_a_worker_that_runs_nothing_need_not_stop_anything() -> None:
    async with at_work() as (w, worker, id):
        await w.gateway.clients.cancel(ENDPOINT, id)
        worker.ask(running=False)
        await settle()
        stops = worker.ask_stops()
        await settle()
        assert not stops.done


async def test_a_job_that_is_listed_no_more_need_not_be_stopped() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = LegacyWorker(w)
        await worker.ask(batch=2).answer()
        await worker.ping(first, second)
        await w.gateway.clients.cancel(ENDPOINT, first)
        await worker.ping(second)
        stops = worker.ask_stops()
        await settle()
        assert not stops.done


async def test_a_job_that_ended_at_another_gateway_is_stopped_by_the_next_ping() -> None:
    async with at_work() as (w, worker, id):
        other = World(w.store)
        other.clock.ms = w.clock.ms
        await other.gateway.start()
        await other.gateway.clients.cancel(ENDPOINT, id)
        assert (await view(w)).running == 1
        await worker.ping(id)
        assert (await view(w)).running == 0
        assert (await worker.ask_stops().answer()).json == {"jobsToStop": [id]}
        await other.gateway.close()


@pytest.mark.requirement("worker.lost.overdue")
async def test_a_job_that_runs_long_after_its_limit_costs_its_worker_the_place() -> None:
    async with world() as w:
        id = await w.submit(execution_timeout_ms=60_000)
        worker = LegacyWorker(w, sdk="runpod/1.6.2")
        await worker.take()
        await pings(w, worker, id, count=7)
        assert await state(w, id) is JobState.TIMED_OUT
        assert not (await view(w)).replace
        await pings(w, worker, id, count=4)
        shown = await view(w)
        assert (shown.replace, shown.draining, shown.running) == (True, True, 0)
        assert shown.reason == f"it still runs job {id}, which has ended"


async def test_a_cancelled_job_may_go_on_for_the_time_it_had() -> None:
    async with world() as w:
        id = await w.submit(execution_timeout_ms=600_000)
        worker = LegacyWorker(w, sdk="runpod/1.6.2")
        await worker.take()
        await pings(w, worker, id, count=1)
        await w.gateway.clients.cancel(ENDPOINT, id)
        await pings(w, worker, id, count=20)
        assert not (await view(w)).replace
        await pings(w, worker, count=1)
        await w.submit()
        await worker.take()


@pytest.mark.requirement("worker.lost.wedged")
async def test_a_worker_that_lists_a_job_of_nobody_and_asks_for_none_must_go() -> None:
    async with world() as w:
        worker = LegacyWorker(w)
        await pings(w, worker, "ghost", count=3)
        assert not (await view(w)).replace
        await pings(w, worker, "ghost", count=1)
        assert "ghost" in (await view(w)).reason


async def test_a_worker_that_lists_a_job_of_another_and_asks_may_stay() -> None:
    async with world() as w:
        worker = LegacyWorker(w)
        await pings(w, worker, "ghost", count=1)
        for _ in range(5):
            call = worker.ask(running=True)
            await settle()
            call.hang_up()
            await pings(w, worker, "ghost", count=1)
        assert not (await view(w)).replace


async def test_a_worker_that_lists_a_job_of_another_and_has_one_may_stay() -> None:
    async with at_work() as (w, worker, id):
        await pings(w, worker, "ghost", id, count=6)
        assert not (await view(w)).replace


async def test_a_strange_job_counts_anew_when_it_comes_back() -> None:
    async with world() as w:
        worker = LegacyWorker(w)
        await pings(w, worker, "ghost", count=2)
        await pings(w, worker, count=2)
        await pings(w, worker, "ghost", count=2)
        assert not (await view(w)).replace


async def test_another_workers_job_is_not_kept_by_a_list_that_names_it() -> None:
    async with world() as w:
        id = await w.submit()
        owner = LegacyWorker(w)
        await owner.ping()
        await owner.take()
        await pings(w, LegacyWorker(w, "w-2"), id, count=5)
        assert await state(w, id) is JobState.IN_QUEUE


@pytest.mark.requirement("worker.ping.unhealthy")
async def test_a_worker_that_fails_its_own_checks_says_why() -> None:
    async with world() as w:
        worker = LegacyWorker(w)
        answer = await worker.ping(status="unhealthy", check="memory", reason="too%20little")
        assert answer.status == 200
        shown = await view(w)
        assert (shown.phase, shown.reason) == (WorkerPhase.UNHEALTHY, "memory: too little")
        await w.submit()
        await worker.take()
        assert (await view(w)).phase is WorkerPhase.READY


async def test_a_worker_is_starting_until_it_asks_for_a_job() -> None:
    async with world() as w:
        worker = LegacyWorker(w)
        await worker.ping()
        assert (await view(w)).phase is WorkerPhase.STARTING
        worker.ask()
        await settle()
        assert (await view(w)).phase is WorkerPhase.READY


async def test_a_worker_that_is_silent_and_holds_nothing_is_forgotten() -> None:
    async with world() as w:
        await LegacyWorker(w).ping()
        await w.pass_time(limits.LEASE_MS + 1_000)
        assert (await w.snapshot()).workers == []


@pytest.mark.parametrize(
    ("sdk", "prefetches"),
    [
        ("runpod/1.6.2", False),
        ("RunPod-Python-SDK/1.7.0", True),
        ("RunPod-Python-SDK/1.7.5", True),
        ("RunPod-Python-SDK/1.7.6", False),
        ("runpod/1.12.0", False),
        ("runpod/1.7.4.dev3", True),
        ("submodel/1.7.4", False),
        ("", False),
        ("curl/8", False),
    ],
)
def test_an_sdk_that_fetches_ahead_is_known_by_its_name_and_version(sdk: str, prefetches: bool) -> None:
    assert LegacyMemory(sdk=sdk).prefetches is prefetches


def test_a_job_of_the_past_is_given_up_only_after_its_time() -> None:
    memory = LegacyMemory()
    memory.end("a", limit_at=100, now=0)
    assert memory.given_up(["a"], 100 + OVERDUE_MS - 1, holds_nothing=True) == ""
    assert "still runs job a" in memory.given_up(["a"], 100 + OVERDUE_MS, holds_nothing=False)
