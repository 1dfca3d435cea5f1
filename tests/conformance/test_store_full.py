"""A full store takes no new jobs, and everything else goes on."""

from submodel.contract.states import JobState
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, one, read, refused, running, state, swept, taken
from tests.support.store_engines import SMALL_JOBS
from tests.support.store_operations import (
    ENDPOINT,
    LEASE_MS,
    RETENTION_MS,
    append,
    cancel,
    finish,
    heartbeat,
    keyed,
    progress,
    release,
    retry,
    submit,
    take,
)

BULK = b"x" * 200_000


def fill(store: Store) -> list[str]:
    """Ids of the jobs that were taken until the store was full."""
    for number in range(2 * SMALL_JOBS):
        outcome = one(store, submit(f"bulk-{number}", input=BULK, idempotency=keyed(key=f"{number}")))
        if outcome == base.Refused(Reason.FULL):
            return [f"bulk-{each}" for each in range(number)]
        assert isinstance(outcome, base.Applied)
    raise AssertionError("the small store is never full")


async def test_a_full_store_refuses_new_jobs_and_says_why(small_store: Store) -> None:
    stored = fill(small_store)
    assert len(stored) > 1
    before = small_store.tally(ENDPOINT)
    assert one(small_store, submit("one more")) == base.Refused(Reason.FULL)
    assert await small_store.job(ENDPOINT, "one more") is None
    assert small_store.tally(ENDPOINT) == before


async def test_a_refused_submit_leaves_no_key_and_a_known_one_is_answered(small_store: Store) -> None:
    fill(small_store)
    assert one(small_store, submit("x", idempotency=keyed(key="mine"))) == base.Refused(Reason.FULL)
    assert one(small_store, submit("x", idempotency=keyed(key="mine"))) == base.Refused(Reason.FULL)
    assert one(small_store, submit("x", idempotency=keyed(key="0"))) == base.Repeated("bulk-0", JobState.IN_QUEUE)
    assert refused(small_store, submit("bulk-0")) is Reason.EXISTS


async def test_what_is_stored_is_still_worked_off(small_store: Store) -> None:
    first = running(small_store, webhook="https://example.com")
    stored = fill(small_store)
    applied(small_store, heartbeat(first))
    applied(small_store, progress(first, b"1"))
    applied(small_store, append(first, 1, b"1"))
    applied(small_store, finish(first, BULK, "boom"))
    applied(small_store, retry(await read(small_store)))
    jobs = taken(small_store, take(limit=3, nonce=9))
    assert [job.id for job in jobs] == stored[:3]
    applied(small_store, release(jobs[0]))
    applied(small_store, cancel(jobs[1]))
    assert swept(small_store, NOW + LEASE_MS) == [jobs[2].id]
    assert await state(small_store, jobs[2].id) is JobState.IN_QUEUE
    one(small_store, base.PutEndpoint(endpoint=ENDPOINT, registration=b"1"))
    assert await small_store.endpoints() == {ENDPOINT: b"1"}


async def test_a_store_that_has_space_again_takes_jobs_again(small_store: Store) -> None:
    fill(small_store)
    assert refused(small_store, submit("x")) is Reason.FULL
    one(small_store, base.Purge(endpoint=ENDPOINT, up_to=2**60, limit=1_000))
    swept(small_store, NOW + RETENTION_MS)
    assert applied(small_store, submit("x"), NOW + RETENTION_MS).state is JobState.IN_QUEUE


async def test_stashed_payloads_fill_a_store_too(small_store: Store) -> None:
    for number in range(2 * SMALL_JOBS):
        blob = await small_store.stash(BULK)
        outcome = one(small_store, submit(f"bulk-{number}", input=blob))
        if outcome == base.Refused(Reason.FULL):
            await small_store.discard(blob)
            return
    raise AssertionError("the small store is never full")
