"""Gateways with the same two databases: an endpoint lives in one of them, and each database fails alone."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio

from submodel.contract.exchange import ExchangeAnswer, ExchangeRequest, LeasedJob
from submodel.contract.internal import Snapshots
from submodel.contract.states import JobState, WorkerPhase
from submodel.contract.wire import decode
from submodel_gateway.errors import NotFound, StoreAway, Unsure
from submodel_gateway.service.clients import NewJob
from submodel_gateway.service.clock import SteeredClock
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.stores import NamedStore, preferred
from submodel_gateway.store.postgres import PostgresStore
from tests.support.gateway_world import TOKEN, here, registration
from tests.support.postgres import shared_server
from tests.support.postgres_proxy import PostgresProxy

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgres-several")]

WAIT_SECONDS = 60.0
ENDPOINTS = [f"ns.app-{number}" for number in range(6)]
IN_A, IN_B = (next(id for id in ENDPOINTS if preferred("ab", id) == name) for name in "ab")


class Databases:
    """Two databases; a proxy stands before each, so that it can be taken away."""

    def __init__(self, exit: ExitStack) -> None:
        self.proxies = {name: exit.enter_context(PostgresProxy(shared_server())) for name in "ab"}
        self._urls = {name: exit.enter_context(shared_server().database()) for name in "ab"}

    def store(self, name: str, *, closed: bool = False) -> NamedStore:
        url = self.proxies[name].url(self._urls[name])
        return NamedStore(name, PostgresStore(url), SteeredClock(), closed=closed)


class Member:
    """One of the gateways, and what a test does there."""

    def __init__(self, *stores: NamedStore) -> None:
        self.gateway = Gateway(stores, min(stores, key=lambda each: each.name).clock)
        self._numbers = itertools.count(1)

    async def submit(self, endpoint: str) -> str:
        return (await self.gateway.clients.submit(endpoint, NewJob(input=b"1"))).id

    async def take(self, endpoint: str) -> list[LeasedJob]:
        """What a worker gets that waits for a job."""
        request = ExchangeRequest(
            session="s", request=next(self._numbers), phase=WorkerPhase.READY, capacity=1, wait_ms=20_000
        )
        raw = await self.gateway.workers.exchange(endpoint, "w-1", TOKEN, request, here())
        return decode(raw, ExchangeAnswer).jobs

    async def until(self, true: Callable[[Snapshots], bool]) -> None:
        """Returns once a snapshot of everything is as wished; looked at whenever there is news."""
        version = 0
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                answer = await self.gateway.snapshots.read(0, None, 0, here())
                if true(answer):
                    return
                version = answer.version
                await self.gateway.snapshots.read(version, None, 200, here())


def _knows(*endpoints: str) -> Callable[[Snapshots], bool]:
    return lambda seen: set(endpoints) <= {each.endpoint_id for each in seen.endpoints}


@pytest.fixture
def databases() -> Iterator[Databases]:
    with ExitStack() as exit:
        yield Databases(exit)


@pytest_asyncio.fixture
async def pair(databases: Databases) -> AsyncIterator[tuple[Member, Member]]:
    """Two gateways with the same databases, named in another order; the first one was told of the endpoints."""
    one = Member(databases.store("a"), databases.store("b"))
    other = Member(databases.store("b"), databases.store("a"))
    for member in (one, other):
        await member.gateway.start()
    for endpoint in ENDPOINTS:
        await one.gateway.registry.put(endpoint, registration(endpoint))
    await other.until(_knows(*ENDPOINTS))
    yield one, other
    for proxy in databases.proxies.values():
        proxy.allow()
    for member in (one, other):
        await member.gateway.close()


async def test_both_find_each_endpoint_in_the_same_database_whatever_the_order(pair: tuple[Member, Member]) -> None:
    one, other = pair
    for endpoint in ENDPOINTS:
        job = await one.submit(endpoint)
        assert (await other.gateway.clients.status(endpoint, job)).job.state is JobState.IN_QUEUE
        homes = {member.gateway._stores.name_of(endpoint) for member in pair}
        assert homes == {preferred("ab", endpoint)}


@pytest.mark.parametrize("endpoint", [IN_A, IN_B])
async def test_a_job_wakes_the_worker_that_waits_at_the_other_gateway(
    pair: tuple[Member, Member], endpoint: str
) -> None:
    one, other = pair
    waiting = asyncio.ensure_future(other.take(endpoint))
    await one.until(lambda seen: any(each.endpoint_id == endpoint and each.workers for each in seen.endpoints))
    id = await one.submit(endpoint)
    assert [job.id for job in await waiting] == [id]


async def test_a_worker_at_one_gateway_goes_on_being_seen_by_the_other_in_both_databases(
    pair: tuple[Member, Member],
) -> None:
    one, other = pair
    for endpoint in (IN_A, IN_B):
        await one.submit(endpoint)
        await other.take(endpoint)
    # Said anew in each database, or it is void after a while: the marks of when are per database.
    at = {name: other.gateway._sharing._told_at[name] for name in "ab"}
    async with asyncio.timeout(WAIT_SECONDS):
        while not all(other.gateway._sharing._told_at[name] > at[name] for name in "ab"):
            await one.gateway.snapshots.read(one.gateway.snapshots._version, None, 500, here())
    seen = await one.gateway.snapshots.read(0, None, 0, here())
    views = {each.endpoint_id: [view.worker for view in each.workers] for each in seen.endpoints}
    assert views[IN_A] == views[IN_B] == ["w-1"]


async def test_a_database_that_is_away_takes_no_endpoint_of_the_other_with_it(
    pair: tuple[Member, Member], databases: Databases
) -> None:
    one, other = pair
    before = await one.submit(IN_B)
    databases.proxies["b"].refuse()
    lost = sorted(id for id in ENDPOINTS if preferred("ab", id) == "b")
    await one.until(lambda seen: sorted(seen.unknown) == lost and _knows(IN_A)(seen))
    id = await one.submit(IN_A)
    assert [job.id for job in await other.take(IN_A)] == [id]
    with pytest.raises(Unsure):
        await one.submit(IN_B)
    databases.proxies["b"].allow()
    await one.until(lambda seen: not seen.unknown)
    assert (await other.gateway.clients.status(IN_B, before)).job.state is JobState.IN_QUEUE


async def test_a_gateway_starts_without_a_database_and_serves_it_when_it_comes_back(
    pair: tuple[Member, Member], databases: Databases
) -> None:
    one, _ = pair
    databases.proxies["b"].refuse()
    late = Member(databases.store("a"), databases.store("b"))
    await late.gateway.start()
    id = await one.submit(IN_A)
    assert [job.id for job in await late.take(IN_A)] == [id]
    for unknown in (IN_B, "ns.nowhere"):
        with pytest.raises(StoreAway):
            await late.submit(unknown)
    databases.proxies["b"].allow()
    await late.until(_knows(*ENDPOINTS))
    await late.submit(IN_B)
    with pytest.raises(NotFound):
        await late.submit("ns.nowhere")
    await late.gateway.close()


async def test_a_database_is_added_in_two_steps_and_no_endpoint_moves_or_is_made_twice(databases: Databases) -> None:
    """Closed first: gateways that know it only so put nothing there, and see what the others put there."""
    old = Member(databases.store("a"))
    closed = Member(databases.store("a"), databases.store("b", closed=True))
    for member in (old, closed):
        await member.gateway.start()
        await member.gateway.registry.put(IN_B, registration(IN_B))
    assert closed.gateway._stores.name_of(IN_B) == "a"
    await old.gateway.close()
    both = Member(databases.store("a"), databases.store("b"))
    await both.gateway.start()
    new = next(id for id in (f"ns.new-{number}" for number in range(100)) if preferred("ab", id) == "b")
    await both.gateway.registry.put(new, registration(new))
    # Told the same before it has heard of it.
    await closed.gateway.registry.put(new, registration(new))
    for member in (closed, both):
        assert (member.gateway._stores.name_of(new), member.gateway._stores.name_of(IN_B)) == ("b", "a")
    id = await closed.submit(new)
    assert (await both.gateway.clients.status(new, id)).job.state is JobState.IN_QUEUE
    for member in (closed, both):
        await member.gateway.close()
