"""Gateways that share a database are one gateway to clients, to workers and to the operator."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from msgspec import Raw
from psycopg import AsyncConnection

from submodel.contract.exchange import Chunks, ExchangeAnswer, ExchangeRequest, Held, Result
from submodel.contract.internal import EndpointKey, EndpointSnapshot, GoneWorker, WorkerView
from submodel.contract.states import JobState, WorkerPhase
from submodel.contract.wire import decode
from submodel_gateway.errors import NotFound
from submodel_gateway.ratelimit.figures import Figures
from submodel_gateway.service.admission import RateExceeded
from submodel_gateway.service.clients import NewJob
from submodel_gateway.service.clock import SteeredClock
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.registry import LOOKS_PER_WINDOW
from submodel_gateway.service.stores import NamedStore
from submodel_gateway.store.postgres import PostgresStore
from submodel_gateway.store.postgres.news import CHANNEL, WORDS
from tests.support.gateway_world import ENDPOINT, TOKEN, here, presence, registration
from tests.support.postgres import shared_server

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("postgres-fleet")]

WAIT_SECONDS = 60.0
WORKER = "w-1"
LIMIT = 300
"""Requests of a client in ten seconds."""

KEY = "a-key-of-the-endpoint-that-is-long-enough"


class Interrupted(PostgresStore):
    """A store that lets `meanwhile` happen once, just before it is read who holds jobs."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def holders(self, endpoint: str) -> dict[str, int]:
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            await meanwhile()
        return await super().holders(endpoint)


class Member:
    """One of the gateways, and what a test does there."""

    def __init__(self, url: str) -> None:
        clock = SteeredClock()
        rates = {"run": Figures(LIMIT, None)}
        self.store = Interrupted(url)
        self.gateway = Gateway([NamedStore("one", self.store, clock)], clock, rates=rates)
        self._numbers = itertools.count(1)

    async def say(self, worker: str = WORKER, **fields: object) -> ExchangeAnswer:
        """One exchange of a worker that is ready."""
        message = {"session": "s", "request": next(self._numbers), "phase": WorkerPhase.READY, **fields}
        request = ExchangeRequest(**message)  # type: ignore[arg-type]  # fields by name
        raw = await self.gateway.workers.exchange(ENDPOINT, worker, TOKEN, request, here())
        return decode(raw, ExchangeAnswer)

    async def until(self, true: Callable[[EndpointSnapshot | None], bool]) -> None:
        """Returns once the snapshot is as wished; looked at whenever there is news."""
        since = 0
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                answer = await self.gateway.snapshots.read(since, None, 1_000, here())
                since = answer.version
                found = [each for each in answer.endpoints if each.endpoint_id == ENDPOINT]
                if (found or answer.deleted) and true(found[0] if found else None):
                    return

    async def until_worker(self, true: Callable[[WorkerView], bool], worker: str = WORKER) -> None:
        """Returns once the snapshot shows the worker as wished."""
        await self.until(lambda seen: seen is not None and any(true(each) for each in _named(seen, worker)))

    async def until_gateways(self, number: int) -> None:
        """Returns once it knows that the gateways are so many."""
        (sweeper,) = self.gateway.sweepers
        async with asyncio.timeout(WAIT_SECONDS):
            while sweeper.gateways != number:
                await sweeper.sweep()

    def let_in(self, tries: int) -> int:
        """How many requests of one client it lets in."""
        count = 0
        for _ in range(tries):
            try:
                self.gateway.admission.enter(ENDPOINT, "run", "ci").end()
            except RateExceeded:
                continue
            count += 1
        return count

    async def until_no_worker(self, worker: str = WORKER) -> None:
        await self.until(lambda seen: seen is not None and not _named(seen, worker))


def _named(seen: EndpointSnapshot, worker: str) -> list[WorkerView]:
    return [view for view in seen.workers if view.worker == worker]


def _draining(seen: EndpointSnapshot) -> set[str]:
    return {view.worker for view in seen.workers if view.draining}


@pytest_asyncio.fixture
async def pair(url: str) -> AsyncIterator[tuple[Member, Member]]:
    """Two gateways, both of which know the endpoint; the first one was told of it."""
    one, other = Member(url), Member(url)
    await one.gateway.start()
    await other.gateway.start()
    await one.gateway.registry.put(ENDPOINT, registration())
    await other.until(lambda seen: seen is not None)
    yield one, other
    await one.gateway.close()
    await other.gateway.close()


async def test_many_workers_that_come_at_once_are_told_of_together(pair: tuple[Member, Member], url: str) -> None:
    one, other = pair
    workers = [f"w-{number}" for number in range(50)]
    async with await AsyncConnection.connect(url, autocommit=True) as ear:
        await ear.execute(f"LISTEN {CHANNEL}")
        await asyncio.gather(*(one.say(worker) for worker in workers))
        shared_server().execute(f"NOTIFY {CHANNEL}, 'no more'", urlsplit(url).path[1:])
        told = 0
        async for each in ear.notifies(timeout=WAIT_SECONDS):
            told += each.payload.endswith(WORDS)
            if each.payload == "no more":
                break
    assert 0 < told < 10
    await other.until(lambda seen: seen is not None and {each.worker for each in seen.workers} == set(workers))


async def test_an_endpoint_that_one_is_told_of_is_served_by_all_and_so_is_its_end(pair: tuple[Member, Member]) -> None:
    one, other = pair
    job = await other.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    assert (await one.gateway.clients.status(ENDPOINT, job.id)).job.state is JobState.IN_QUEUE
    await other.gateway.registry.put(ENDPOINT, registration(generation=2, workers_max=7))
    await one.until(lambda seen: seen is not None and seen.registration == "uid/2")
    await one.gateway.registry.delete(ENDPOINT)
    await other.until(lambda seen: seen is None)
    with pytest.raises(NotFound):
        await other.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))


async def test_a_gateway_that_starts_knows_what_the_others_were_told(pair: tuple[Member, Member], url: str) -> None:
    one, _ = pair
    await one.gateway.registry.put_workers(ENDPOINT, [presence(WORKER)], one.gateway.clock.now_ms())
    await one.gateway.registry.drain(ENDPOINT, [WORKER])
    late = Member(url)
    await late.gateway.start()
    await late.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    answer = await late.say(capacity=1, wait_ms=0)
    assert (answer.drain, answer.jobs) == (True, [])
    await late.gateway.close()


async def test_a_worker_of_one_is_seen_by_all(pair: tuple[Member, Member]) -> None:
    one, other = pair
    await other.say(capacity=1)
    await one.until_worker(lambda view: view.phase is WorkerPhase.READY and view.idle_since_ms is not None)
    assert (await one.gateway.clients.health(ENDPOINT)).workers["idle"] == 1
    await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    (job,) = (await other.say(capacity=1, wait_ms=20_000)).jobs
    await one.until_worker(lambda view: view.running == 1)
    assert job.attempt == 1


async def test_a_drain_reaches_the_worker_wherever_it_is_held_and_is_seen_only_then(
    pair: tuple[Member, Member],
) -> None:
    one, other = pair
    await other.say(capacity=1)
    held = asyncio.ensure_future(other.say(capacity=1, wait_ms=20_000))
    await one.until_worker(lambda view: not view.draining)
    await one.gateway.registry.drain(ENDPOINT, [WORKER])
    assert (await held).drain
    await one.until_worker(lambda view: view.draining and view.running == 0)
    await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    assert (await other.say(capacity=1)).jobs == []
    await one.gateway.registry.undrain(ENDPOINT, [WORKER])
    assert not (await other.say(wait_ms=20_000)).drain
    assert (await other.say(capacity=1, wait_ms=20_000)).jobs != []


async def test_a_worker_that_is_to_be_replaced_gets_no_more_jobs_wherever_it_is_held(
    pair: tuple[Member, Member],
) -> None:
    one, other = pair
    await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    (job,) = (await one.say(capacity=1, wait_ms=20_000)).jobs
    held = asyncio.ensure_future(other.say(capacity=1, wait_ms=20_000))
    await one.say(results=[Result(id=job.id, token=job.token, output=Raw(b"1"), stop_worker=True)])
    assert (await held).drain
    await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    assert (await other.say(capacity=1)).jobs == []
    await one.until_worker(lambda view: view.replace and view.draining)


async def test_a_worker_that_is_to_be_replaced_stays_so_when_it_moves_on(pair: tuple[Member, Member]) -> None:
    one, other = pair
    await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    (job,) = (await one.say(capacity=1, wait_ms=20_000)).jobs
    await one.say(results=[Result(id=job.id, token=job.token, output=Raw(b"1"), stop_worker=True)])
    await other.until_worker(lambda view: view.replace)
    await other.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    answer = await other.say(capacity=1)
    assert (answer.drain, answer.jobs) == (True, [])
    state = one.gateway.endpoints.get(ENDPOINT)
    async with asyncio.timeout(WAIT_SECONDS):
        while WORKER in state.sessions:
            await one.gateway.snapshots.read(one.gateway.snapshots._version, None, 1_000, here())
    await one.until_worker(lambda view: view.replace)


@pytest.mark.requirement("client.stream.once")
async def test_an_item_of_a_stream_is_read_once_whichever_gateway_is_asked(
    pair: tuple[Member, Member], url: str
) -> None:
    one, other = pair
    id = (await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))).id
    (job,) = (await one.say(capacity=1, wait_ms=20_000)).jobs
    chunks = Chunks(id=job.id, token=job.token, seq=1, items=[Raw(b"1"), Raw(b"2")])
    await one.say(chunks=[chunks])
    assert (await one.gateway.streams.once(ENDPOINT, id, 0, here())).items == [b"1", b"2"]
    assert (await other.gateway.streams.once(ENDPOINT, id, 0, here())).items == []
    await one.say(chunks=[Chunks(id=job.id, token=job.token, seq=3, items=[Raw(b"3")])])
    assert (await other.gateway.streams.once(ENDPOINT, id, 20_000, here())).items == [b"3"]
    assert (await one.gateway.streams.once(ENDPOINT, id, 0, here())).items == []
    late = Member(url)
    await late.gateway.start()
    assert (await late.gateway.streams.once(ENDPOINT, id, 0, here())).items == []
    assert (await late.gateway.streams.after(ENDPOINT, id, 0, 0, here())).items == [b"1", b"2", b"3"]
    await late.gateway.close()


@pytest.mark.requirement("client.stream.once")
async def test_readers_of_a_stream_at_the_same_time_share_its_items(pair: tuple[Member, Member]) -> None:
    one, other = pair
    id = (await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))).id
    (job,) = (await one.say(capacity=1, wait_ms=20_000)).jobs
    streams = [member.gateway.streams for member in (one, one, other, other)]
    reads = [asyncio.ensure_future(each.once(ENDPOINT, id, 20_000, here())) for each in streams]
    for number in range(1, 5):
        await one.say(chunks=[Chunks(id=job.id, token=job.token, seq=number, items=[Raw(b"%d" % number)])])
    await one.say(results=[Result(id=job.id, token=job.token, output=Raw(b"[]"))])
    assert sorted([item for part in await asyncio.gather(*reads) for item in part.items]) == [b"1", b"2", b"3", b"4"]


async def test_drains_that_two_are_told_at_once_both_count(pair: tuple[Member, Member]) -> None:
    one, other = pair
    ones, others = ([f"{name}-{number}" for number in range(5)] for name in "ab")
    drains = [one.gateway.registry.drain(ENDPOINT, [name]) for name in ones]
    drains += [other.gateway.registry.drain(ENDPOINT, [name]) for name in others]
    await asyncio.gather(*drains)
    for member in pair:
        await member.until(lambda seen: seen is not None and _draining(seen) == {*ones, *others})


async def test_what_was_said_of_an_endpoint_before_a_gateway_knew_it_counts_there(pair: tuple[Member, Member]) -> None:
    one, other = pair
    await one.gateway.registry.drain(ENDPOINT, ["w-1"])
    await other.until(lambda seen: seen is not None and _draining(seen) == {"w-1"})
    other.gateway.endpoints.remove(ENDPOINT)
    await other.gateway.registry.put(ENDPOINT, registration())
    await other.gateway.registry.drain(ENDPOINT, ["w-2"])
    for member in pair:
        await member.until(lambda seen: seen is not None and _draining(seen) == {"w-1", "w-2"})


async def test_a_cancel_stops_the_worker_wherever_it_is_held(pair: tuple[Member, Member]) -> None:
    one, other = pair
    job = await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    (leased,) = (await other.say(capacity=1, wait_ms=20_000)).jobs
    running = [Held(id=leased.id, token=leased.token)]
    held = asyncio.ensure_future(other.say(running=running, wait_ms=20_000))
    await one.until_worker(lambda view: view.running == 1)
    assert (await one.gateway.clients.cancel(ENDPOINT, job.id)).job.state is JobState.CANCELLED
    assert (await held).stop == [job.id]


async def test_a_worker_that_moves_on_is_forgotten_where_it_was(pair: tuple[Member, Member]) -> None:
    one, other = pair
    await one.say(capacity=1)
    await other.until_worker(lambda view: view.phase is WorkerPhase.READY)
    await other.say(capacity=1)
    state = one.gateway.endpoints.get(ENDPOINT)
    async with asyncio.timeout(WAIT_SECONDS):
        while WORKER in state.sessions:
            await one.gateway.snapshots.read(one.gateway.snapshots._version, None, 1_000, here())
    await one.until_worker(lambda view: view.phase is WorkerPhase.READY)


async def test_a_list_that_does_not_name_it_yet_ends_no_worker_of_another_gateway(pair: tuple[Member, Member]) -> None:
    one, other = pair
    await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    (job,) = (await other.say(capacity=1, wait_ms=20_000)).jobs
    await one.gateway.registry.put_workers(ENDPOINT, [presence("w-2")], one.gateway.clock.now_ms())
    assert (await one.gateway.clients.status(ENDPOINT, job.id)).job.state is JobState.IN_PROGRESS
    await one.gateway.registry.put_workers(ENDPOINT, [presence("w-2"), presence(WORKER)], one.gateway.clock.now_ms())
    await one.gateway.registry.put_workers(ENDPOINT, [presence("w-2")], one.gateway.clock.now_ms())
    status = (await one.gateway.clients.status(ENDPOINT, job.id)).job
    assert status.state is JobState.IN_QUEUE
    await other.until_no_worker()


async def test_a_list_ends_no_worker_that_takes_its_first_job_elsewhere_at_that_moment(
    pair: tuple[Member, Member],
) -> None:
    one, other = pair
    job = await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    one.store.meanwhile = lambda: other.say(capacity=1, wait_ms=20_000)
    await one.gateway.registry.put_workers(ENDPOINT, [presence("w-2")], one.gateway.clock.now_ms())
    assert (await one.gateway.clients.status(ENDPOINT, job.id)).job.state is JobState.IN_PROGRESS


async def test_a_worker_that_is_gone_is_gone_everywhere(pair: tuple[Member, Member]) -> None:
    one, other = pair
    now = one.gateway.clock.now_ms()
    await one.gateway.registry.put_workers(ENDPOINT, [presence(WORKER)], now)
    await one.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"))
    (job,) = (await other.say(capacity=1, wait_ms=20_000)).jobs
    await one.gateway.registry.gone(ENDPOINT, [GoneWorker(worker=WORKER, reason="evicted", charged=False)])
    held = [Held(id=job.id, token=job.token)]
    async with asyncio.timeout(WAIT_SECONDS):
        # That its job went back is heard apart from that it is gone itself.
        while not (await other.say(running=held, wait_ms=20_000)).drain:
            held = []
    answer = await other.say(running=[Held(id=job.id, token=job.token)], capacity=1, wait_ms=20_000)
    assert (answer.stop, answer.jobs) == ([job.id], [])


async def test_what_a_gateway_said_before_it_was_killed_is_void_soon(pair: tuple[Member, Member], url: str) -> None:
    one, other = pair
    await other.say(capacity=1)
    await one.until_worker(lambda view: view.phase is WorkerPhase.READY)
    await other.gateway._sharing.close()
    other.gateway._sharing._closing.clear()
    shared_server().execute(
        "UPDATE submodel.word SET told_at = told_at - interval '1 minute' WHERE teller <> 0", urlsplit(url).path[1:]
    )
    await one.until_no_worker()


async def test_together_they_let_in_what_one_alone_would(pair: tuple[Member, Member], url: str) -> None:
    third = Member(url)
    await third.gateway.start()
    for member in (*pair, third):
        await member.until_gateways(3)
    assert 0.8 * LIMIT <= sum(member.let_in(LIMIT) for member in (*pair, third)) <= 1.2 * LIMIT
    await third.gateway.close()
    for member in pair:
        await member.until_gateways(2)


async def test_a_key_that_one_is_told_of_opens_all_and_one_that_is_revoked_opens_none(
    pair: tuple[Member, Member],
) -> None:
    one, other = pair
    key = EndpointKey(id="ci", sha256=hashlib.sha256(KEY.encode()).hexdigest())
    await one.gateway.registry.put(ENDPOINT, registration(generation=2, api_keys=[key]))
    await other.until(lambda seen: seen is not None and seen.registration == "uid/2")
    assert other.gateway.endpoints.keys.find(KEY)[ENDPOINT].id == "ci"
    await one.gateway.registry.put(ENDPOINT, registration(generation=3))
    await other.until(lambda seen: seen is not None and seen.registration == "uid/3")
    assert not other.gateway.endpoints.keys.find(KEY)


async def test_names_that_callers_make_up_are_asked_for_so_many_times_and_no_more(pair: tuple[Member, Member]) -> None:
    _, other = pair
    (store,) = other.gateway.registry._stores.boards().values()
    asked: list[str] = []
    ask = store.registration

    def registration(endpoint: str) -> Awaitable[bytes | None]:
        asked.append(endpoint)
        return ask(endpoint)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "registration", registration)
        began_ms = other.gateway.clock.now_ms()
        for number in range(3 * LOOKS_PER_WINDOW):
            await other.gateway.registry.look_up(f"made-up-{number}")
        windows = (other.gateway.clock.now_ms() - began_ms) / 10_000
    assert LOOKS_PER_WINDOW <= len(asked) <= LOOKS_PER_WINDOW * (1 + windows) + 1
