"""Several gateways on one PostgreSQL: they never disagree about a job, and hear of each other."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from urllib.parse import urlsplit

import msgspec
import pytest
import pytest_asyncio

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit
from submodel_gateway.store.postgres import PostgresStore, news
from tests.support.postgres import shared_server
from tests.support.postgres_store import started
from tests.support.store_operations import (
    ENDPOINT,
    append,
    cancel,
    finish,
    gone,
    heartbeat,
    keyed,
    lose,
    progress,
    release,
    submit,
    sweep,
    take,
)

pytestmark = pytest.mark.slow

NOW = 1_700_000_000_000
WAIT_SECONDS = 60.0
ENDPOINTS = ("ns.a", "ns.b", "ns.c")
AGE = "UPDATE submodel.gateway SET wall_at = wall_at - interval '2 hours', seen_at = seen_at - interval '2 hours'"
COUNTS = "SELECT endpoint, state, count(*) FROM submodel.job GROUP BY endpoint, state"


class Heard:
    """The endpoints that a store heard of from others, as they come."""

    def __init__(self) -> None:
        self._endpoints: list[str] = []
        self._woken = asyncio.Event()

    def __call__(self, endpoints: Iterable[str]) -> None:
        self._endpoints += endpoints
        self._woken.set()

    async def of(self, endpoint: str) -> None:
        """Returns once it heard of `endpoint`, and forgets that it did."""
        async with asyncio.timeout(WAIT_SECONDS):
            while endpoint not in self._endpoints:
                await self._woken.wait()
                self._woken.clear()
        self._endpoints = [each for each in self._endpoints if each != endpoint]

    async def until(self, true: Callable[[], bool]) -> None:
        """Returns once something holds; looked at whenever there is news."""
        async with asyncio.timeout(WAIT_SECONDS):
            while not true():
                await self._woken.wait()
                self._woken.clear()


@pytest_asyncio.fixture
async def one(url: str) -> AsyncIterator[PostgresStore]:
    async with started(url, Heard()) as store:
        yield store


def database_of(url: str) -> str:
    return urlsplit(url).path[1:]


async def opened(url: str, heard: Heard) -> PostgresStore:
    store = PostgresStore(url)
    await store.start(heard)
    return store


async def test_no_job_is_handed_out_twice(url: str) -> None:
    stores = [await opened(url, Heard()) for _ in range(3)]
    await asyncio.to_thread(stores[0].apply, [submit(f"job-{number}") for number in range(600)], NOW)
    numbers = itertools.count(1, 1_000)

    async def drain(store: PostgresStore) -> list[Job]:
        jobs: list[Job] = []
        while True:
            takes = [take(limit=3, nonce=next(numbers)) for _ in range(5)]
            outcomes = await asyncio.to_thread(store.apply, takes, NOW)
            got = [lease.job for each in outcomes if isinstance(each, base.Taken) for lease in each.leases]
            jobs += got
            if not got:
                return jobs

    handed_out = list(itertools.chain.from_iterable(await asyncio.gather(*map(drain, stores))))
    # A gateway passes over rows that another one holds: what all passed over is left for the next take.
    rest = await drain(stores[0])
    assert Counter(job.id for job in handed_out + rest) == dict.fromkeys((f"job-{n}" for n in range(600)), 1)
    for store in stores:
        await store.close()


async def test_gateways_know_how_many_they_are_and_who_is_gone_does_not_count(url: str) -> None:
    stores = [await opened(url, Heard()) for _ in range(3)]
    for store in stores:
        await store._news.listening.wait()
    assert [await store.gateways() for store in stores] == [3, 3, 3]
    await stores.pop().close()
    await until(lambda: counted(stores, 2))
    with shared_server().database() as other:
        alone = await opened(other, Heard())
        await alone._news.listening.wait()
        assert await alone.gateways() == 1, "gateways on another database of the server are others"
        await alone.close()
    for store in stores:
        await store.close()


async def counted(stores: list[PostgresStore], number: int) -> bool:
    return [await store.gateways() for store in stores] == [number] * len(stores)


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Returns once something holds that the server says in its own time."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await true():
            continue


class Crowd:
    """Clients, workers and a sweeper at one gateway, doing everything that changes a tally."""

    def __init__(self, store: PostgresStore, name: str, seed: int) -> None:
        self._group = GroupCommit(store, lambda: NOW + next(self._clock), lambda changes: None)
        self._clock = itertools.count()
        self._name = name
        self._random = random.Random(seed)
        self._numbers = itertools.count(1)

    async def act(self, times: int) -> None:
        await asyncio.gather(*(self._some(times) for _ in range(8)))
        await self._group.close()

    async def _some(self, times: int) -> None:
        held: list[Job] = []
        for _ in range(times):
            endpoint = self._random.choice(ENDPOINTS)
            for outcome in await self._group.many(list(self._operations(endpoint, held))):
                assert not isinstance(outcome, base.Failed), outcome.error
                if isinstance(outcome, base.Taken):
                    held += [lease.job for lease in outcome.leases]

    def _operations(self, endpoint: str, held: list[Job]) -> Iterator[base.Operation]:
        number = next(self._numbers)
        yield submit(f"{self._name}-{number}", endpoint, webhook="https://x.example", retention_ms=50)
        yield take(2, self._random.choice("vw"), self._name, nonce=self._random.getrandbits(60), endpoint=endpoint)
        if held:
            job = held.pop(self._random.randrange(len(held)))
            ways: list[Callable[[Job], base.Operation]] = [finish, release, lose, cancel, heartbeat]
            yield self._random.choice(ways)(job)
            yield append(job, 1, b"item")
            yield progress(job, b"0.5")
        if number % 20 == 0:
            yield sweep(NOW)
            yield gone("v", endpoint=endpoint)
        if number % 30 == 0:
            yield base.Purge(endpoint=endpoint, up_to=2**60, limit=3)


async def test_tallies_equal_a_recount_after_gateways_wrote_at_the_same_time(url: str) -> None:
    crowds = [Crowd(await opened(url, Heard()), name, seed) for seed, name in enumerate("xyz")]
    await asyncio.gather(*(crowd.act(40) for crowd in crowds))
    store = await opened(url, Heard())
    counted: dict[str, Counter[JobState]] = {endpoint: Counter() for endpoint in ENDPOINTS}
    rows = shared_server().execute(COUNTS, database_of(url))
    for endpoint, state, count in msgspec.convert(rows, list[tuple[str, JobState, int]]):
        counted[endpoint][state] = count
    for endpoint in ENDPOINTS:
        tally = store.tally(endpoint)
        assert tally.queued == counted[endpoint][JobState.IN_QUEUE]
        assert tally.in_progress == counted[endpoint][JobState.IN_PROGRESS]
        ended = tally.completed + tally.failed + tally.cancelled + tally.timed_out
        assert tally.arrived == tally.queued + tally.in_progress + ended > 100
    await store.close()
    assert sum(count for counts in counted.values() for count in counts.values()) > 0


async def test_other_gateways_hear_of_jobs_and_of_streams_by_notification(
    url: str, one: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "POLL_SECONDS", 3_600.0)
    heard = Heard()
    other = await opened(url, heard)
    await other._news.listening.wait()
    await one._news.look()  # so that it knows that it is not alone any more
    (_, taken) = await asyncio.to_thread(one.apply, [submit("a"), take()], NOW)
    assert isinstance(taken, base.Taken)
    await heard.of(ENDPOINT)
    assert other.tally(ENDPOINT) == Tally(arrived=1, in_progress=1)
    for write in (append(taken.leases[0].job, 1, b"1"), progress(taken.leases[0].job, b"0.5")):
        await asyncio.to_thread(one.apply, [write], NOW)
        await heard.of(ENDPOINT)
    await other.close()


async def test_what_no_notification_says_is_found_by_looking(
    url: str, one: PostgresStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(news, "CHANNEL", "nobody_notifies_this")
    heard = Heard()
    other = await opened(url, heard)
    monkeypatch.undo()
    await asyncio.to_thread(one.apply, [submit("a")], NOW)
    await heard.of(ENDPOINT)
    assert other.tally(ENDPOINT).queued == 1
    await other.close()


async def test_one_of_two_submits_with_a_key_stores_a_job(url: str, one: PostgresStore) -> None:
    other = await opened(url, Heard())
    for number in range(30):
        submits = [submit(f"{name}-{number}", idempotency=keyed(f"k-{number}")) for name in "ab"]
        outcomes = await asyncio.gather(
            *(asyncio.to_thread(store.apply, [each], NOW) for store, each in zip((one, other), submits, strict=True))
        )
        assert sorted(type(outcome).__name__ for (outcome,) in outcomes) == ["Applied", "Repeated"]
    assert (await one.requests(ENDPOINT, None, 99)).jobs[29:] != ()
    await other.close()


async def test_an_open_breaker_lets_one_gateway_probe(url: str, one: PostgresStore) -> None:
    other = await opened(url, Heard())
    jobs = [submit(f"lost-{number}", max_attempts=1) for number in range(6)]
    await asyncio.to_thread(one.apply, [*jobs, take(limit=6), gone()], NOW)
    await asyncio.to_thread(one.apply, [submit(f"next-{number}") for number in range(40)], NOW)
    for number in range(20):
        outcomes = await asyncio.gather(
            *(asyncio.to_thread(store.apply, [take(limit=5, nonce=number)], NOW) for store in (one, other))
        )
        probes = [lease.job for (each,) in outcomes if isinstance(each, base.Taken) for lease in each.leases]
        assert len(probes) == 1
        await asyncio.to_thread(one.apply, [release(probes[0])], NOW)
    await other.close()


async def test_losses_at_two_gateways_open_the_breaker_together(url: str, one: PostgresStore) -> None:
    other = await opened(url, Heard())
    await asyncio.to_thread(one.apply, [submit(f"a-{number}", max_attempts=1) for number in range(6)], NOW)
    (taken,) = await asyncio.to_thread(one.apply, [take(limit=6)], NOW)
    assert isinstance(taken, base.Taken)
    losses = [lose(lease.job) for lease in taken.leases]
    await asyncio.gather(
        *(asyncio.to_thread(store.apply, part, NOW) for store, part in ((one, losses[:3]), (other, losses[3:])))
    )
    assert {loss.job for loss in (await one.breaker(ENDPOINT)).losses} == {f"a-{number}" for number in range(6)}
    await other.close()


async def test_the_counts_of_a_gateway_that_is_gone_are_kept(url: str) -> None:
    heard = Heard()
    leaving, staying = await opened(url, Heard()), await opened(url, heard)
    await asyncio.to_thread(leaving.apply, [submit("a"), submit("b"), take()], NOW)
    await heard.of(ENDPOINT)
    await leaving.close()
    shared_server().execute(f"{AGE} WHERE now_ms > 0", database_of(url))
    await staying._keep_up()
    assert shared_server().execute("SELECT count(*) FROM submodel.gateway", database_of(url)) == [(2,)]
    await staying._news.look()
    assert staying.tally(ENDPOINT) == Tally(queued=1, in_progress=1, arrived=2)
    assert (await staying.time()).mark_ms == NOW
    await staying.close()
    again = await opened(url, Heard())
    assert again.tally(ENDPOINT) == Tally(queued=1, in_progress=1, arrived=2)
    await again.close()


async def test_the_clock_of_a_gateway_that_is_gone_counts_no_more_when_the_databases_own_was_set_back(
    url: str, one: PostgresStore
) -> None:
    gone = await opened(url, Heard())
    await asyncio.to_thread(gone.apply, [submit("a")], NOW)
    await gone.close()
    ahead = "UPDATE submodel.gateway SET wall_at = wall_at + interval '1 hour' WHERE now_ms > 0"
    shared_server().execute(ahead, database_of(url))
    assert (await one.time()).mark_ms == NOW, "nobody may go back behind it"
    await asyncio.to_thread(one.apply, [submit("b")], NOW + 1_800_000)
    seen = await one.time()
    assert seen.mark_ms == NOW + 1_800_000
    assert seen.mark_wall_ms is not None
    assert seen.mark_wall_ms <= seen.wall_ms


async def test_a_gateway_that_was_taken_for_gone_counts_on(url: str, one: PostgresStore) -> None:
    other = await opened(url, Heard())
    await asyncio.to_thread(one.apply, [submit("a")], NOW)
    shared_server().execute(AGE, database_of(url))
    await other._keep_up()
    await asyncio.to_thread(one.apply, [submit("b"), take()], NOW)
    await one._news.look()
    assert one.tally(ENDPOINT) == Tally(queued=1, in_progress=1, arrived=2)
    await other.close()
