"""Several stores under one gateway: an endpoint lives in exactly one, and stays there."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from random import Random

import pytest

from submodel.contract.states import JobState
from submodel.contract.wire import encode
from submodel_gateway.errors import NotFound, StoreAway, StoreUnreachable
from submodel_gateway.metrics import table
from submodel_gateway.service.clients import NewJob
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.stores import NamedStore, preferred
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import TestClock, here, registration

NAMES = ["a", "b", "c"]
IDS = [f"ns.app-{number}" for number in range(300)]


def gateway_over(stores: Mapping[str, MemoryStore], closed: str = "") -> Gateway:
    clock = TestClock()
    named = [NamedStore(name, store, clock, closed=name == closed) for name, store in stores.items()]
    return Gateway(named, clock)


def holding(*endpoints: str) -> MemoryStore:
    store = MemoryStore()
    for id in endpoints:
        store.apply([base.PutEndpoint(endpoint=id, registration=encode(registration(id)))], 1)
    return store


class Outage(MemoryStore):
    """A store in memory that is out of reach until it is `back`."""

    def __init__(self) -> None:
        super().__init__()
        self.back = asyncio.Event()

    async def start(self, news: Callable[[Iterable[str]], None]) -> None:
        if not self.back.is_set():
            raise StoreUnreachable("nobody answers")
        await super().start(news)

    async def time(self) -> base.StoreTime:
        if not self.back.is_set():
            raise StoreAway("nobody answers")
        return await super().time()

    async def backlogs(self, late_at: Mapping[str, int | None]) -> dict[str, base.Backlog]:
        if not self.back.is_set():
            raise StoreAway("nobody answers")
        return await super().backlogs(late_at)


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


async def test_a_closed_store_keeps_its_endpoints_and_gets_no_new_ones() -> None:
    stores = {"a": MemoryStore(), "b": MemoryStore(), "old": holding("ns.here")}
    gateway = gateway_over(stores, closed="old")
    await gateway.start()
    for id in ("ns.here", *IDS):
        await gateway.registry.put(id, registration(id, generation=2))
    assert list(await stores["old"].endpoints()) == ["ns.here"]
    assert sum([len(await stores[name].endpoints()) for name in "ab"]) == len(IDS)
    await gateway.close()


async def test_an_endpoint_that_was_deleted_is_a_new_one_when_it_comes_again() -> None:
    stores = {"a": MemoryStore(), "b": MemoryStore(), "old": holding("ns.here")}
    gateway = gateway_over(stores, closed="old")
    await gateway.start()
    await gateway.registry.delete("ns.here")
    await gateway.registry.put("ns.here", registration("ns.here", generation=2))
    assert [name for name in stores if await stores[name].endpoints()] == [preferred("ab", "ns.here")]
    await gateway.close()


@pytest.mark.parametrize("id", IDS[:10])
async def test_all_gateways_choose_the_same_of_two_stores_that_have_an_endpoint(
    id: str, caplog: pytest.LogCaptureFixture
) -> None:
    chosen = set()
    for seed in range(4):
        names = Random(seed).sample(NAMES, len(NAMES))
        stores = {name: holding(*([id] if name in "ac" else [])) for name in names}
        gateway = gateway_over(stores)
        await gateway.start()
        await gateway.clients.submit(id, NewJob(input=b"1"))
        chosen |= {name for name, store in stores.items() if store.tally(id).queued}
        await gateway.close()
    assert chosen == {preferred("ac", id)}
    assert "is registered in two job stores" in caplog.text


async def test_a_store_that_is_out_of_reach_at_the_start_begins_when_it_answers() -> None:
    stores = {"a": holding("ns.a"), "b": Outage()}
    stores["b"].apply([base.PutEndpoint(endpoint="ns.b", registration=encode(registration("ns.b")))], 1)
    gateway = gateway_over(stores)
    await gateway.start()
    assert gateway.ready
    await gateway.clients.submit("ns.a", NewJob(input=b"1"))
    for unknown in ("ns.b", "ns.nowhere"):
        with pytest.raises(StoreAway):
            await gateway.clients.submit(unknown, NewJob(input=b"1"))
        with pytest.raises(StoreAway):
            await gateway.registry.put(unknown, registration(unknown, generation=2))
        with pytest.raises(StoreAway):
            await gateway.workers.authorize(unknown, "w-1", "a token of a worker there")
    stores["b"].back.set()  # type: ignore[attr-defined]  # an outage
    async with asyncio.timeout(30):
        while not gateway.endpoints.complete:
            await gateway.snapshots.read(gateway.snapshots._version, None, 1_000, here())
    await gateway.clients.submit("ns.b", NewJob(input=b"1"))
    with pytest.raises(NotFound):
        await gateway.clients.submit("ns.nowhere", NewJob(input=b"1"))
    await gateway.close()


async def test_a_gateway_whose_only_store_is_out_of_reach_does_not_start() -> None:
    gateway = gateway_over({"a": Outage()})
    with pytest.raises(StoreUnreachable):
        await gateway.start()


async def test_what_is_not_known_of_endpoints_whose_store_is_away_is_said_and_is_no_zero() -> None:
    stores = {"a": holding("ns.a"), "b": Outage()}
    stores["b"].apply([base.PutEndpoint(endpoint="ns.b", registration=encode(registration("ns.b")))], 1)
    outage = stores["b"]
    assert isinstance(outage, Outage)
    outage.back.set()
    gateway = gateway_over(stores)
    await gateway.start()
    for id in ("ns.a", "ns.b"):
        await gateway.clients.submit(id, NewJob(input=b"1"))
    outage.back.clear()
    seen = await gateway.snapshots.read(0, None, 0, here())
    assert ([each.endpoint_id for each in seen.endpoints], seen.unknown) == (["ns.a"], ["ns.b"])
    gauges = await gateway.gauges.read(ready=True)
    assert gauges[table.QUEUED] == {("ns", "a"): 1, ("ns", "b"): 1}
    assert gauges[table.OLDEST].keys() == {("ns", "a")}
    assert gauges[table.STORE_UP] == {("1",): 1, ("2",): 0}
    outage.back.set()
    seen = await gateway.snapshots.read(0, None, 0, here())
    assert ({each.endpoint_id for each in seen.endpoints}, seen.unknown) == ({"ns.a", "ns.b"}, [])
    await gateway.close()
