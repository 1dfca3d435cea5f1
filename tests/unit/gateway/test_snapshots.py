"""What the operator's long poll returns, and when."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from submodel.contract.internal import Snapshots
from submodel.contract.states import WorkerPhase
from submodel_gateway.service.endpoints import EndpointState
from submodel_gateway.service.snapshots import COALESCE_MS
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.gateway_world import ENDPOINT, Worker, World, at_work, here, presence, registration, settle, world


async def read(w: World, since: int, wait_ms: int = 0, boot: str | None = None) -> Snapshots:
    return await w.gateway.snapshots.read(since, boot, wait_ms, here())


async def test_everything_is_told_to_a_reader_without_a_place() -> None:
    async with world() as w:
        await w.register("other")
        for answer in (await read(w, 0), await read(w, 10**6), await read(w, 1, boot="another process")):
            assert {snapshot.endpoint_id for snapshot in answer.endpoints} == {ENDPOINT, "other"}


async def test_only_changes_are_told_to_a_reader_with_one() -> None:
    async with world() as w:
        since = (await read(w, 0)).version
        await w.register("other")
        answer = await read(w, since)
        assert [snapshot.endpoint_id for snapshot in answer.endpoints] == ["other"]
        assert (await read(w, answer.version)).endpoints == []


async def test_a_job_that_meets_no_worker_wakes_the_reader_at_once() -> None:
    async with world() as w:
        since = (await read(w, 0)).version
        poll = asyncio.create_task(read(w, since, 600_000))
        await settle()
        assert not poll.done()
        await w.submit()
        (snapshot,) = (await poll).endpoints
        assert (snapshot.queued, snapshot.oldest_queued_ms, snapshot.workers) == (1, w.clock.ms, [])


async def test_a_gateway_that_leaves_holds_no_reader() -> None:
    async with world() as w:
        since = (await read(w, 0)).version
        w.gateway.drain()
        assert (await read(w, since, 600_000)).endpoints == []


async def test_demand_that_is_known_does_not_wake_again() -> None:
    async with world() as w:
        await w.submit()
        since = (await read(w, 0)).version
        poll = asyncio.create_task(read(w, since, 600_000))
        await settle()
        assert not poll.done()
        await w.submit()
        await settle()
        assert not poll.done()
        w.gateway.snapshots.end_all()
        assert (await poll).endpoints[0].queued == 2


async def test_a_job_for_a_starting_worker_is_no_reason_to_hurry() -> None:
    async with world() as w:
        await Worker(w).say(phase=WorkerPhase.STARTING)
        since = (await read(w, 0)).version
        poll = asyncio.create_task(read(w, since, 600_000))
        await w.submit()
        await settle()
        assert not poll.done()
        w.clock.ms += COALESCE_MS
        await w.submit()
        assert (await poll).endpoints[0].queued == 2


async def test_demand_is_urgent_again_when_the_last_worker_drains() -> None:
    async with world() as w:
        await Worker(w).say()
        await w.submit()
        since = (await read(w, 0)).version
        poll = asyncio.create_task(read(w, since, 600_000))
        await settle()
        await w.gateway.registry.drain(ENDPOINT, ["w-1"])
        assert (await poll).endpoints[0].workers[0].draining


async def test_a_drain_of_a_worker_that_was_never_heard_of_is_told() -> None:
    async with world() as w:
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-9")], began_ms=w.clock.ms)
        await w.gateway.registry.drain(ENDPOINT, ["w-9"])
        (view,) = (await read(w, 0)).endpoints[0].workers
        assert (view.worker, view.revision, view.running, view.draining) == ("w-9", "r1", 0, True)


async def test_after_a_restart_a_worker_that_has_not_come_back_is_known_to_hold_its_jobs() -> None:
    store = MemoryStore()
    async with world(store) as w:
        await w.submit()
        await Worker(w).take()
        restarted = World(store)
        await restarted.register()
        await restarted.gateway.registry.put_workers(ENDPOINT, [presence("w-1")], began_ms=w.clock.ms)
        await restarted.gateway.registry.drain(ENDPOINT, ["w-1"])
        (view,) = (await read(restarted, 0)).endpoints[0].workers
        assert (view.worker, view.revision, view.phase, view.running) == ("w-1", "r1", WorkerPhase.READY, 1)


@pytest.mark.parametrize("turns", range(6))
async def test_a_drained_worker_that_is_told_to_hold_nothing_never_gets_a_job(tmp_path: Path, turns: int) -> None:
    """The drain meets the take at every point of its way to disk and back: what is told must be safe to act on."""
    async with world(SqliteStore(tmp_path / "jobs.db")) as w:
        worker = Worker(w)
        held = asyncio.create_task(worker.take(wait_ms=20_000))
        while not (await read(w, 0)).endpoints[0].workers:
            await settle(1)
        await w.submit()
        await settle(turns)
        await w.gateway.registry.drain(ENDPOINT, ["w-1"])
        (view,) = (await read(w, 0)).endpoints[0].workers
        assert view.draining
        assert view.running >= len(await held)


async def test_endpoints_with_queued_jobs_are_in_every_answer() -> None:
    async with world() as w:
        await w.submit()
        since = (await read(w, 0)).version
        w.clock.ms += 60_000
        (snapshot,) = (await read(w, since)).endpoints
        assert snapshot.queued == 1


async def test_late_jobs_are_counted_against_the_endpoints_target() -> None:
    async with world() as w:
        await w.register(generation=2, late_after_ms=4_000)
        await w.submit()
        w.clock.ms += 4_000
        await w.submit()
        assert (await w.snapshot()).late == 1


async def test_a_deleted_endpoint_is_told_until_it_comes_back() -> None:
    async with world() as w:
        since = (await read(w, 0)).version
        await w.gateway.registry.delete(ENDPOINT)
        assert (await read(w, since)).deleted == [ENDPOINT]
        assert (await read(w, 0)).deleted == []
        await w.register()
        assert (await read(w, since)).deleted == []


async def test_workers_are_told_with_what_they_hold() -> None:
    async with at_work() as (w, worker, job):
        (view,) = (await w.snapshot()).workers
        assert (view.worker, view.revision, view.running, view.idle_since_ms) == ("w-1", "r1", 1, None)
        w.clock.ms += 10
        await worker.finish(job)
        (view,) = (await w.snapshot()).workers
        assert (view.running, view.idle_since_ms) == (0, w.clock.ms)
        snapshot = await w.snapshot()
        assert (snapshot.arrived_total, snapshot.completed_total, snapshot.in_progress) == (1, 1, 0)


async def test_the_longest_of_usual_runs_is_told_once_a_job_has_completed() -> None:
    async with world() as w:
        worker = Worker(w)
        assert (await w.snapshot()).execution_ms_p95 is None
        for milliseconds in (100, 300, 200):
            await w.submit()
            (job,) = await worker.take()
            w.clock.ms += milliseconds
            await worker.finish(job)
        assert (await w.snapshot()).execution_ms_p95 == 300


@pytest.mark.parametrize(("runs", "told"), [(range(1, 101), 95), (range(1, 21), 19), ([7], 7), ([], None)])
def test_of_the_last_runs_one_in_twenty_may_be_longer(runs: Iterable[int], told: int | None) -> None:
    state = EndpointState(registration())
    state.runs_ms.extend(runs)
    assert state.run_ms_p95() == told


async def test_jobs_of_low_priority_are_told_apart_queued_running_and_arrived() -> None:
    async with world() as w:
        await w.submit(low_priority=True)
        w.clock.ms += 10
        await w.submit(low_priority=True)
        await w.submit()
        snapshot = await w.snapshot()
        assert (snapshot.queued, snapshot.queued_low_priority) == (3, 2)
        assert snapshot.oldest_queued_ms == w.clock.ms
        await Worker(w).take(3)
        snapshot = await w.snapshot()
        assert (snapshot.queued, snapshot.queued_low_priority, snapshot.oldest_queued_ms) == (0, 0, None)
        assert (snapshot.in_progress, snapshot.in_progress_low_priority) == (3, 2)
        assert (snapshot.arrived_total, snapshot.arrived_low_priority_total) == (3, 2)
