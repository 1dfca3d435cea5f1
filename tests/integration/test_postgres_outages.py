"""A PostgreSQL that does not answer, or must not: what callers hear, and that everything goes on by itself."""

import asyncio
import contextlib
import itertools
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreAway, StoreUnreachable
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.postgres import PostgresStore, line, store, writer
from submodel_gateway.store.postgres.asking import Desk
from tests.support.postgres import PostgresServer
from tests.support.postgres_proxy import PostgresProxy
from tests.support.postgres_store import started
from tests.support.store_operations import ENDPOINT, append, finish, heartbeat, progress, submit, take

pytestmark = pytest.mark.slow

NOW = 1_700_000_000_000


@pytest_asyncio.fixture
async def postgres(own_url: str) -> AsyncIterator[PostgresStore]:
    async with started(own_url) as opened:
        yield opened


async def apply(postgres: PostgresStore, *operations: base.Operation) -> list[base.Outcome]:
    return await asyncio.to_thread(postgres.apply, operations, NOW)


def processes(server: PostgresServer) -> list[int]:
    """The server's, children included."""
    parent = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [parent, *map(int, children)]


@contextlib.contextmanager
def impatient(*stores: PostgresStore) -> Iterator[None]:
    """Lets nobody wait long for what is not to come. What is to come has its time, on a busy machine too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(line, "ANSWER_SECONDS", 0.5)
        patch.setattr(writer, "OUTAGE_SECONDS", 0.1)
        patch.setattr(store, "START_SECONDS", 0.1)
        for desk in [desk for each in stores for desk in (each._desk, each._blob_desk)]:
            patch.setattr(desk, "_patience_seconds", 0.2)
        yield


async def test_rows_that_somebody_else_holds_are_an_outage(
    postgres: PostgresStore, own_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "COLLISIONS_MAX", 1)
    (_, taken) = await apply(postgres, submit("a"), take())
    assert isinstance(taken, base.Taken)
    job = taken.leases[0].job
    with psycopg.connect(own_url) as other:
        other.execute("SELECT 1 FROM submodel.job FOR UPDATE")
        with pytest.raises(StoreAway, match=r"rows are held by another session: .* lock timeout"):
            await apply(postgres, finish(job))
    (outcome,) = await apply(postgres, finish(job))
    assert isinstance(outcome, base.Applied)


async def test_a_gateway_that_finds_no_database_says_so_and_goes_on_when_it_is_back(
    own_url: str, own_server: PostgresServer
) -> None:
    with PostgresProxy(own_server) as proxy:
        postgres = PostgresStore(proxy.url(own_url))
        await postgres.start(lambda endpoints: None)
        await apply(postgres, submit("a"))
        with impatient(postgres):
            proxy.refuse()
            with pytest.raises(StoreAway, match="cannot be reached"):
                await apply(postgres, submit("b"))
            with pytest.raises(StoreAway, match="cannot be reached"):
                await postgres.job(ENDPOINT, "a")
            with pytest.raises(StoreAway):
                await postgres.stash(b"x" * 300_000)
        proxy.allow()
        await apply(postgres, submit("c"))
        assert [await postgres.job(ENDPOINT, id) is not None for id in "abc"] == [True, False, True]
        assert postgres.tally(ENDPOINT) == Tally(queued=2, arrived=2)
        await postgres.close()


async def test_a_server_that_stands_still_is_given_up_and_found_again() -> None:
    with PostgresServer() as frozen, frozen.database() as place:
        postgres = PostgresStore(f"{place}&connect_timeout=1")
        await postgres.start(lambda endpoints: None)
        await apply(postgres, submit("a"))
        stopped = processes(frozen)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            with impatient(), pytest.raises(StoreAway):
                await apply(postgres, submit("b"))
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        # A busy machine may not be back within the time that a connection has to come about.
        for number in itertools.count():
            with contextlib.suppress(StoreAway):
                await apply(postgres, submit(f"c-{number}"))
                break
        jobs = (await postgres.requests(ENDPOINT, None, 100)).jobs
        assert [job.id for job in jobs if job.id in (f"c-{number}", "a")] == [f"c-{number}", "a"]
        assert postgres.tally(ENDPOINT).queued == len(jobs)
        await postgres.close()


async def test_readers_in_line_behind_one_who_waited_in_vain_do_not_each_wait_in_vain() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        desk = Desk(f"postgresql://nobody@127.0.0.1:{port}/none?connect_timeout=2", patience_seconds=0.1)
        outcomes = await asyncio.gather(*(desk.fetch("SELECT 1") for _ in range(5)), return_exceptions=True)
        await desk.close()
        silent.setblocking(False)
        came = 0
        with contextlib.suppress(BlockingIOError):
            while True:
                silent.accept()[0].close()
                came += 1
    assert [type(outcome) for outcome in outcomes] == [StoreAway] * 5
    assert came == 1


async def test_what_has_an_outcome_waits_for_the_standby_and_signs_of_life_do_not(
    postgres: PostgresStore, own_url: str, own_server: PostgresServer
) -> None:
    (_, taken) = await apply(postgres, submit("a"), take())
    assert isinstance(taken, base.Taken)
    job = taken.leases[0].job
    own_server.execute("ALTER SYSTEM SET synchronous_standby_names = 'one_that_is_not_there'")
    own_server.execute("SELECT pg_reload_conf()")
    await asyncio.to_thread(wait_for_setting, own_url, "one_that_is_not_there")
    try:
        for write in (heartbeat(job), progress(job, b"0.5"), append(job, 1, b"item")):
            await apply(postgres, write)
        with impatient(), pytest.raises(StoreAway):
            await apply(postgres, finish(job))
        shown = await postgres.job(ENDPOINT, "a")
        assert shown is not None
        assert shown.state is JobState.IN_PROGRESS, "nobody sees what the standby did not confirm"
    finally:
        own_server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        own_server.execute("SELECT pg_reload_conf()")
    (outcome,) = await apply(postgres, finish(job))
    assert isinstance(outcome, base.Applied)
    assert outcome.change.duplicate, "the commit that was given up has gone through"
    assert postgres.tally(ENDPOINT) == Tally(arrived=1, completed=1)


async def test_a_gateway_that_comes_back_to_a_database_without_its_standby_does_not_wait_for_ever(
    postgres: PostgresStore, own_url: str, own_server: PostgresServer
) -> None:
    await apply(postgres, submit("a"))
    own_server.execute("ALTER SYSTEM SET synchronous_standby_names = 'one_that_is_not_there'")
    own_server.execute("SELECT pg_reload_conf()")
    await asyncio.to_thread(wait_for_setting, own_url, "one_that_is_not_there")
    try:
        postgres._line.hang_up()
        with impatient():
            with pytest.raises(StoreAway):
                await apply(postgres, submit("b"))
            with pytest.raises(StoreUnreachable):
                await PostgresStore(own_url).start(lambda endpoints: None)
    finally:
        own_server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        own_server.execute("SELECT pg_reload_conf()")
    await apply(postgres, submit("c"))
    assert postgres.tally(ENDPOINT).queued == 2


async def test_a_group_that_waited_for_the_database_leaves_no_mark_that_is_late(
    own_url: str, own_server: PostgresServer
) -> None:
    """Gateways set their clocks by the last mark: when the group came is not when it was committed."""
    with PostgresProxy(own_server) as proxy:
        postgres = PostgresStore(proxy.url(own_url))
        await postgres.start(lambda endpoints: None)
        await apply(postgres, submit("a"))
        before = await postgres.time()
        proxy.refuse()
        late = asyncio.ensure_future(asyncio.to_thread(postgres.apply, [submit("b")], NOW + 1))
        await asyncio.to_thread(wait_until_away, postgres)
        proxy.allow()
        await late
        after = await postgres.time()
        assert (after.mark_ms, after.mark_wall_ms) == (before.mark_ms, before.mark_wall_ms)
        await postgres.close()


def wait_until_away(postgres: PostgresStore) -> None:
    """Returns once the writer has noticed."""
    while postgres._writer._away_since is None:
        continue


def wait_for_setting(url: str, value: str) -> None:
    """Returns once new sessions see a setting that was reloaded."""
    while True:
        with psycopg.connect(url) as connection:
            if connection.execute("SHOW synchronous_standby_names").fetchall() == [(value,)]:
                return
