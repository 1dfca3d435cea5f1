"""Endpoints come from the operator's pushes and survive in the store."""

import asyncio

import pytest
from msgspec.structs import replace

from submodel.contract.internal import GoneWorker
from submodel.contract.states import JobState
from submodel_gateway.errors import InvalidRequest, NotFound, OperationFailed, Outdated
from submodel_gateway.http.internal import internal_app
from submodel_gateway.service import registry
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, FailingStore, Worker, World, presence, registration, settle, world
from tests.support.legacy_worker import Call
from tests.support.store_operations import keyed, submit


async def test_an_older_generation_is_refused_and_the_same_one_is_fine() -> None:
    async with world() as w:
        await w.register(generation=3)
        await w.register(generation=3)
        with pytest.raises(Outdated, match="generation 2"):
            await w.register(generation=2)


async def test_a_recreated_namesake_starts_again() -> None:
    async with world() as w:
        await w.register(generation=9)
        await w.register(epoch="another", generation=1)
        assert (await w.snapshot()).registration == "another/1"


async def test_a_deletion_that_names_an_epoch_spares_the_next_owner_of_the_id() -> None:
    async with world() as w:
        await w.register(epoch="another")
        await w.gateway.registry.delete(ENDPOINT, "uid")
        assert (await w.snapshot()).registration == "another/1"
        await w.gateway.registry.delete(ENDPOINT, "another")
        with pytest.raises(NotFound):
            await w.submit()


async def test_a_recreated_namesake_gets_none_of_the_jobs_and_workers_of_the_one_before() -> None:
    async with world() as w:
        worker = Worker(w)
        await w.submit(b'"secret"')
        (running,) = await worker.take()
        queued = await w.submit(b'"secret"')
        await w.register(epoch="another", generation=1)
        assert {(await w.status(id)).job.state for id in (running.id, queued)} == {JobState.CANCELLED}
        assert await Worker(w, "w-2").take() == []


async def test_after_a_restart_a_holder_that_no_longer_exists_gives_its_jobs_back_at_once() -> None:
    store = MemoryStore()
    async with world(store) as w:
        await w.submit()
        await Worker(w).take()
        restarted = World(store)
        await restarted.register()
        await restarted.gateway.registry.put_workers(ENDPOINT, [presence("w-2")], began_ms=w.clock.ms)
        assert len(await Worker(restarted, "w-2").take()) == 1


async def test_a_job_on_its_way_to_the_store_ends_with_its_endpoint() -> None:
    async with world() as w:
        submitted = asyncio.create_task(w.submit())
        await settle(1)
        await w.gateway.registry.delete(ENDPOINT)
        id = await submitted
        await w.register(epoch="another", generation=1)
        assert (await w.status(id)).job.state is JobState.CANCELLED


async def test_a_held_request_of_a_revoked_token_gets_no_job() -> None:
    async with world() as w:
        held = asyncio.create_task(Worker(w).take(wait_ms=20_000))
        await settle()
        await w.register(generation=2, worker_tokens=[])
        await w.submit()
        assert await held == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_attempts", 0),
        ("ttl_ms", 0),
        ("execution_timeout_ms", -1),
        ("result_ttl_seconds", -1),
        ("sync_result_ttl_seconds", -1),
        ("queued_max", 0),
    ],
)
async def test_limits_that_make_no_sense_are_refused(field: str, value: int) -> None:
    async with world() as w:
        with pytest.raises(InvalidRequest):
            await w.gateway.registry.put(ENDPOINT, replace(registration(generation=2), **{field: value}))


async def test_the_id_in_the_body_must_be_the_one_in_the_path() -> None:
    async with world() as w:
        with pytest.raises(InvalidRequest, match="is not the id in the path"):
            await w.gateway.registry.put("other", registration(ENDPOINT))


async def test_a_deleted_endpoint_is_unknown_and_its_jobs_are_cancelled() -> None:
    async with world() as w:
        running, queued = await w.submit(), await w.submit()
        await Worker(w).take()
        await w.gateway.registry.delete(ENDPOINT)
        with pytest.raises(NotFound):
            await w.submit()
        for id in (running, queued):
            job = await w.store.job(ENDPOINT, id)
            assert job is not None
            assert job.state is JobState.CANCELLED
        assert await w.store.endpoints() == {}
        await w.gateway.registry.delete(ENDPOINT)


async def test_a_deleted_endpoint_takes_all_its_keys_along_however_many_go_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(registry, "DELETE_BATCH", 2)
    async with world() as w:
        for key in "abcde":
            w.store.apply([submit(key, ENDPOINT, idempotency=keyed(key))], 1)
        await w.gateway.registry.delete(ENDPOINT)
        assert await w.store.endpoints() == {}
        for key in "abcde":
            (outcome,) = w.store.apply([submit(f"{key}2", ENDPOINT, idempotency=keyed(key))], 1)
            assert isinstance(outcome, base.Applied)


async def test_a_list_that_the_store_could_not_apply_is_refused_and_does_its_work_when_it_is_repeated() -> None:
    store = FailingStore()
    async with world(store) as w:
        id = await w.submit()
        await Worker(w).take()
        await w.gateway.registry.put_workers(ENDPOINT, [presence("w-1")], w.clock.ms)
        store.refused = {base.WorkerGone}
        with pytest.raises(OperationFailed, match="the disk is full"):
            await w.gateway.registry.put_workers(ENDPOINT, [], w.clock.ms)
        assert (await w.status(id)).job.state is JobState.IN_PROGRESS
        store.refused = set()
        await w.gateway.registry.put_workers(ENDPOINT, [], w.clock.ms)
        assert (await w.status(id)).job.state is JobState.IN_QUEUE


async def test_a_worker_whose_end_could_not_be_stored_goes_on_until_the_push_is_repeated() -> None:
    store = FailingStore()
    async with world(store) as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take()
        await w.gateway.registry.drain(ENDPOINT, ["w-1"])
        store.refused = {base.WorkerGone}
        gone = [GoneWorker(worker="w-1", reason="evicted", charged=False)]
        with pytest.raises(OperationFailed):
            await w.gateway.registry.gone(ENDPOINT, gone)
        (view,) = (await w.snapshot()).workers
        assert (view.worker, view.running, view.draining) == ("w-1", 1, True)
        store.refused = set()
        await w.gateway.registry.gone(ENDPOINT, gone)
        assert (await w.status(id)).job.state is JobState.IN_QUEUE
        assert (await w.snapshot()).workers == []


async def test_the_job_of_a_worker_that_is_gone_does_not_go_to_its_open_request() -> None:
    async with world() as w:
        id = await w.submit()
        worker = Worker(w)
        await worker.take()
        held = asyncio.create_task(worker.take(capacity=1, wait_ms=20_000))
        await settle()
        await w.gateway.registry.gone(ENDPOINT, [GoneWorker(worker="w-1", reason="evicted")])
        assert await held == []
        assert (await w.status(id)).job.state is JobState.IN_QUEUE


async def test_a_deletion_that_the_store_could_not_apply_does_its_work_when_it_is_repeated() -> None:
    store = FailingStore()
    async with world(store) as w:
        id = await w.submit()
        store.refused = {base.Purge}
        with pytest.raises(OperationFailed):
            await w.gateway.registry.delete(ENDPOINT)
        store.refused = set()
        await w.gateway.registry.delete(ENDPOINT)
        job = await store.job(ENDPOINT, id)
        assert job is not None
        assert job.state is JobState.CANCELLED
        assert await store.endpoints() == {}


async def test_a_restarted_gateway_knows_its_endpoints() -> None:
    async with world() as w:
        again = World(w.store)
        again.gateway.registry.load(await w.store.endpoints())
        id = await again.submit()
        assert (await again.status(id)).job.state is JobState.IN_QUEUE


async def test_what_only_a_newer_gateway_knows_of_an_endpoint_is_kept_for_it() -> None:
    async with world() as w:
        pushed = b'{"endpointId": "ns.app", "epoch": "uid", "generation": 2, "ttlMs": 7000, "fromTheFuture": %s}'
        for future in (b"[1]", b"[2]"):
            app = internal_app(w.gateway, "token")
            headers = {"authorization": "Bearer token"}
            call = Call(app, "PUT", "/internal/v1/endpoints/ns.app", headers, pushed % future)
            assert (await call.answer()).status == 200
            assert await w.store.endpoints() == {ENDPOINT: pushed % future}
        again = World(w.store)
        again.gateway.registry.load(await w.store.endpoints())
        assert again.gateway.endpoints.get(ENDPOINT).registration.ttl_ms == 7_000


async def test_a_process_that_died_gives_its_jobs_back_and_the_one_after_it_keeps_its_own() -> None:
    async with world() as w:
        await w.submit()
        first = Worker(w, session="s-1")
        (lost,) = await first.take()
        gone = GoneWorker(worker="w-1", reason="it used too much memory", session="s-1")
        await w.gateway.registry.gone(ENDPOINT, [gone])
        assert (await w.status(lost.id)).job.state is JobState.IN_QUEUE
        second = Worker(w, session="s-2")
        assert [job.id for job in await second.take()] == [lost.id]
        await w.gateway.registry.gone(ENDPOINT, [gone])
        assert (await w.status(lost.id)).job.state is JobState.IN_PROGRESS
        (view,) = (await w.snapshot()).workers
        assert (view.session, view.running) == ("s-2", 1)
