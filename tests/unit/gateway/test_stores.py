"""Several stores under one gateway: an endpoint lives in exactly one, and stays there."""

from submodel.contract.states import JobState
from submodel.contract.wire import encode
from submodel_gateway.service.clients import NewJob
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.stores import NamedStore, preferred
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import TestClock, registration

NAMES = ["a", "b", "c"]
IDS = [f"ns.app-{number}" for number in range(300)]


def gateway_over(stores: dict[str, MemoryStore]) -> Gateway:
    clock = TestClock()
    return Gateway([NamedStore(name, store, clock) for name, store in stores.items()], clock)


def test_new_endpoints_are_spread_over_all_stores() -> None:
    homes = [preferred(NAMES, id) for id in IDS]
    assert all(60 <= homes.count(name) <= 140 for name in NAMES)


def test_the_order_of_the_stores_does_not_matter() -> None:
    assert [preferred(NAMES, id) for id in IDS] == [preferred(reversed(NAMES), id) for id in IDS]


async def test_jobs_of_an_endpoint_are_in_its_store_alone() -> None:
    stores = {name: MemoryStore() for name in NAMES}
    gateway = gateway_over(stores)
    await gateway.start()
    for id in IDS[:9]:
        await gateway.registry.put(id, registration(id))
        await gateway.clients.submit(id, NewJob(input=b"1"))
    for id in IDS[:9]:
        found = [name for name, store in stores.items() if store.tally(id).queued]
        assert found == [preferred(NAMES, id)]
    await gateway.close()


async def test_a_new_store_moves_no_endpoint_that_exists() -> None:
    old = MemoryStore()
    for id in IDS:
        old.apply([base.PutEndpoint(endpoint=id, registration=encode(registration(id)))], 1)
    stores = {"a": old, "new": MemoryStore()}
    gateway = gateway_over(stores)
    await gateway.start()
    for id in IDS:
        await gateway.clients.submit(id, NewJob(input=b"1"))
    assert all(old.tally(id).queued == 1 for id in IDS)
    newcomer = next(id for id in (f"ns.other-{n}" for n in range(100)) if preferred(stores, id) == "new")
    await gateway.registry.put(newcomer, registration(newcomer))
    await gateway.clients.submit(newcomer, NewJob(input=b"1"))
    assert stores["new"].tally(newcomer).queued == 1
    await gateway.close()


async def test_every_store_is_swept() -> None:
    stores = {name: MemoryStore() for name in NAMES}
    gateway = gateway_over(stores)
    await gateway.start()
    clock = gateway.clock
    assert isinstance(clock, TestClock)
    jobs = {}
    for id in IDS[:9]:
        await gateway.registry.put(id, registration(id))
        jobs[id] = (await gateway.clients.submit(id, NewJob(input=b"1", ttl_ms=10_000))).id
    clock.ms += 10_000
    for sweeper in gateway.sweepers:
        await sweeper.sweep()
    states = {(await gateway.clients.status(endpoint, job)).job.state for endpoint, job in jobs.items()}
    assert states == {JobState.TIMED_OUT}
    await gateway.close()
