"""A connection that is lost at any message whatsoever: each group has its effect once, and its answer is the truth."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

import pytest
import pytest_asyncio
from psycopg.conninfo import conninfo_to_dict

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreAway
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.postgres import PostgresStore, writer
from tests.support.postgres import shared_server
from tests.support.postgres_proxy import PostgresProxy
from tests.support.store_operations import (
    ENDPOINT,
    append,
    gone,
    heartbeat,
    keyed,
    lease_webhooks,
    progress,
    purge,
    submit,
    sweep,
    take,
)

pytestmark = pytest.mark.slow

NOW = 1_700_000_000_000
URL = "https://x.example/hook"

Group = list[base.Operation]


class Beside:
    """A store behind a proxy and the store in memory, which are told the same."""

    def __init__(self, store: PostgresStore, proxy: PostgresProxy) -> None:
        self.store = store
        self.proxy = proxy
        self.memory = MemoryStore()
        self.now = NOW

    async def apply(self, group: Sequence[base.Operation]) -> list[base.Outcome]:
        """Apply to both; their outcomes are equal."""
        self.now += 1
        outcomes = await asyncio.to_thread(self.store.apply, group, self.now)
        # A try that was lost has used up queue numbers.
        new = [
            change for outcome in outcomes for change in base.changes(outcome) if _is_new(change.before, change.after)
        ]
        self.memory._rows.seq = await self.store.last_seq() - len(new)
        assert outcomes == self.memory.apply(group, self.now)
        return outcomes

    async def compare(self, ids: Sequence[str]) -> None:
        for id in ids:
            job = await self.store.job(ENDPOINT, id)
            assert job == await self.memory.job(ENDPOINT, id)
            if job is not None:
                assert await self.store.content(job) == await self.memory.content(job)
                assert await self.store.chunks(job, 0, 99) == await self.memory.chunks(job, 0, 99)
        assert self.store.tally(ENDPOINT) == self.memory.tally(ENDPOINT)
        assert await self.store.next_due() == await self.memory.next_due()
        assert await self.store.next_webhook() == await self.memory.next_webhook()


@pytest.fixture
def proxy() -> Iterator[PostgresProxy]:
    with PostgresProxy(shared_server()) as opened:
        yield opened


@pytest_asyncio.fixture
async def beside(proxy: PostgresProxy) -> AsyncIterator[Beside]:
    with shared_server().database() as url:
        store = PostgresStore(proxy.url(url))
        await store.start(lambda endpoints: None)
        yield Beside(store, proxy)
        proxy.arm()
        proxy.allow()
        await store.close()


def submits_and_takes(number: int, held: Job) -> Group:
    return [
        submit(f"a-{number}", idempotency=keyed(f"k-{number}"), webhook=URL),
        submit(f"b-{number}", input=b"x" * 100_000),
        submit(f"a-{number}", idempotency=keyed(f"k-{number}"), webhook=URL),
        take(limit=2, worker="v", nonce=number * 10),
    ]


def signs_of_life(number: int, held: Job) -> Group:
    return [heartbeat(held), append(held, number, b"item"), progress(held, b"%d" % number)]


def ends(number: int, held: Job) -> Group:
    id, other = f"a-{number}", f"b-{number}"
    return [
        submit(id, webhook=URL),
        submit(other),
        take(limit=1, nonce=number),
        base.Cancel(endpoint=ENDPOINT, id=other),
        gone("w", keep="s"),
        base.Finish(endpoint=ENDPOINT, id=id, token=f"1-{number:016x}", error="boom"),
        base.Retry(endpoint=ENDPOINT, id=id),
        purge(),
        lease_webhooks(),
        sweep(NOW),
    ]


@pytest.mark.parametrize("group_of", [submits_and_takes, signs_of_life, ends])
async def test_a_group_has_its_effect_once_wherever_its_connection_is_lost(
    beside: Beside, group_of: Callable[[int, Job], Group]
) -> None:
    (_, taken) = await beside.apply([submit("held"), take(worker="holder", nonce=1)])
    assert isinstance(taken, base.Taken)
    held = taken.leases[0].job
    for number in itertools.count(1):
        beside.proxy.arm(number)
        await beside.apply(group_of(number, held))
        await beside.compare(["held", f"a-{number}", f"b-{number}"])
        if not beside.proxy.cut.is_set():
            break
    assert number > 40, "each message was the last one once"


@pytest.mark.parametrize("second", [1, 3, 5, 8, 13, 21, 34, 55])
async def test_a_connection_that_is_lost_again_while_it_is_looked_what_became_of_the_group(
    beside: Beside, second: int
) -> None:
    await beside.apply([submit("first")])
    for number in range(2, 100, 7):
        beside.proxy.arm(number, second)
        await beside.apply([submit(f"a-{number}"), take(nonce=number * 10)])
        await beside.compare([f"a-{number}"])
        beside.proxy.arm()


async def test_jobs_that_were_handed_out_to_nobody_are_given_back(
    beside: Beside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "OUTAGE_SECONDS", 0.1)
    store, proxy = beside.store, beside.proxy
    await asyncio.to_thread(store.apply, [submit("a")], NOW)
    attempts = set()
    for number in itertools.count(1):
        proxy.arm(number, and_refuse=True)
        try:
            await asyncio.to_thread(store.apply, [take(nonce=number)], NOW)
            break
        except StoreAway:
            proxy.allow()
        await asyncio.to_thread(store.apply, [heartbeat_of_nobody()], NOW)
        job = await store.job(ENDPOINT, "a")
        assert job is not None
        assert (job.state, job.used) == (JobState.IN_QUEUE, 0)
        attempts.add(job.attempt)
    assert len(attempts) > 1, "some takes were committed, and their answers lost"
    assert store.tally(ENDPOINT) == Tally(arrived=1, in_progress=1, retried=max(attempts))


async def test_a_commit_of_which_nothing_can_be_found_out_is_not_made_again(beside: Beside) -> None:
    """Its gateway was taken for gone meanwhile: the database's clock was set, or it stood still for an hour."""
    store, proxy = beside.store, beside.proxy
    database = conninfo_to_dict(store._conninfo)["dbname"]
    unknown = 0
    for number in itertools.count(1):
        endpoint = f"ns.app-{number}"
        await asyncio.to_thread(store.apply, [submit(f"{id}-{number}", endpoint) for id in "ab"], NOW)
        proxy.arm(number, and_refuse=True)
        applying = asyncio.ensure_future(asyncio.to_thread(store.apply, [take(nonce=number, endpoint=endpoint)], NOW))
        cut = asyncio.ensure_future(asyncio.to_thread(proxy.cut.wait))
        await asyncio.wait({applying, cut}, return_when="FIRST_COMPLETED")
        if not proxy.cut.is_set():
            proxy.cut.set()  # for the thread that waits for it
            await cut
            break
        await asyncio.to_thread(shared_server().execute, "DELETE FROM submodel.gateway WHERE id <> 0", str(database))
        proxy.allow()
        try:
            await applying
        except StoreAway:
            unknown += 1
        assert await store.holders(endpoint) in ({}, {"w": 1})
    assert unknown > 0


def heartbeat_of_nobody() -> base.Heartbeat:
    return base.Heartbeat(endpoint=ENDPOINT, id="nobody", token="1-0", lease_ms=1)


def _is_new(before: Job | None, after: Job | None) -> bool:
    return after is not None and (before is None or before.gen != after.gen)
