"""Endpoints come from the operator's pushes and survive in the store."""

import pytest
from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.errors import InvalidRequest, NotFound, Outdated
from tests.support.gateway_world import ENDPOINT, Worker, World, registration, world


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


@pytest.mark.parametrize(("field", "value"), [("max_attempts", 0), ("ttl_ms", 0), ("execution_timeout_ms", -1)])
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
            job = w.store.job(ENDPOINT, id)
            assert job is not None
            assert job.state is JobState.CANCELLED
        assert w.store.endpoints() == {}
        await w.gateway.registry.delete(ENDPOINT)


async def test_a_restarted_gateway_knows_its_endpoints() -> None:
    async with world() as w:
        again = World(w.store)
        again.gateway.registry.load()
        id = await again.submit()
        assert again.status(id).job.state is JobState.IN_QUEUE
