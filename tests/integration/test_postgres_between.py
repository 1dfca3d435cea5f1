"""What another session does while a group is half way through: seen before or after it, and never in part."""

import asyncio
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio

from submodel.contract.states import JobState
from submodel_gateway.errors import OperationFailed
from submodel_gateway.store import base
from submodel_gateway.store.postgres import PostgresStore, blobs
from tests.support.postgres_store import started
from tests.support.store_operations import ENDPOINT, RETENTION_MS, finish, keyed, submit, take

pytestmark = pytest.mark.slow

NOW = 1_700_000_000_000
LARGE = b"x" * 300_000
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
AGE = "UPDATE submodel.blob_part SET wall_at = wall_at - interval '2 hours'"


@pytest_asyncio.fixture
async def store(url: str) -> AsyncIterator[PostgresStore]:
    async with started(url) as store:
        yield store


async def apply(store: PostgresStore, *operations: base.Operation, now: int = NOW) -> list[base.Outcome]:
    return await asyncio.to_thread(store.apply, operations, now)


async def somebody_waits(url: str) -> None:
    """Returns once a session waits for a lock."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as watch:
        while (await (await watch.execute(WAITING)).fetchone()) == (0,):
            continue


async def test_a_key_whose_job_is_being_forgotten_leads_to_that_job(store: PostgresStore, url: str) -> None:
    (_, taken) = await apply(store, submit("a", idempotency=keyed()), take())
    assert isinstance(taken, base.Taken)
    await apply(store, finish(taken.leases[0].job))
    with psycopg.connect(url) as sweeper:
        sweeper.execute("DELETE FROM submodel.job WHERE id = 'a'")
        sweeper.execute("UPDATE submodel.idempotency SET state = 'COMPLETED' WHERE job = 'a'")
        again = asyncio.ensure_future(apply(store, submit("b", idempotency=keyed()), now=NOW + RETENTION_MS))
        await somebody_waits(url)
        sweeper.commit()
    assert await again == [base.Repeated("a", JobState.COMPLETED)]
    assert await store.job(ENDPOINT, "b") is None


async def test_no_job_is_accepted_whose_payload_was_taken_for_an_orphan(store: PostgresStore, url: str) -> None:
    """The database's clock was set, or the gateway stood still, for longer than orphans are left alone."""
    blob = await store.stash(LARGE)
    with psycopg.connect(url) as clock:
        clock.execute(AGE)
    await store._blobs.drop_orphans()
    with pytest.raises(OperationFailed, match="payload"):
        await apply(store, submit("a", input=blob))
    assert await store.job(ENDPOINT, "a") is None


async def test_a_payload_whose_job_is_about_to_be_stored_is_no_orphan(
    store: PostgresStore, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The store looks for orphans by itself soon after its start: not before this one is claimed.
    monkeypatch.setattr(blobs, "ORPHAN_SECONDS", 86_400)
    blob = await store.stash(LARGE)
    await apply(store, base.PutEndpoint(endpoint="x", registration=b"1"))
    with psycopg.connect(url) as other:
        other.execute(AGE)
        other.commit()
        other.execute("SELECT 1 FROM submodel.endpoint FOR UPDATE")
        stored = asyncio.ensure_future(
            apply(store, submit("a", input=blob), base.PutEndpoint(endpoint="x", registration=b"2"))
        )
        await somebody_waits(url)
        monkeypatch.undo()
        await store._blobs.drop_orphans()
    await stored
    assert await store.fetch(blob) == LARGE
