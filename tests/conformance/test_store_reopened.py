"""What a durable store is told is there when it is opened again, in every table."""

from collections.abc import Callable

import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.breaker import LOSSES_MAX, is_open
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, backlog, leased_webhooks, one, read, running, state, swept, taken
from tests.support.store_engines import Engine
from tests.support.store_operations import (
    ENDPOINT,
    LEASE_MS,
    RETENTION_MS,
    append,
    finish,
    gone,
    keyed,
    lose,
    progress,
    purge,
    release,
    retry,
    settle,
    submit,
    sweep,
    take,
)


async def opened(engine: Engine) -> Store:
    store = engine.open()
    await store.start(lambda endpoints: None)
    return store


async def test_a_running_job_goes_on_where_it_was(durable: Engine) -> None:
    store = await opened(durable)
    job = running(store, pri=3, retry_errors=True, webhook="https://example.com", idempotency=keyed(), extra=b"[]")
    applied(store, append(job, 1, b"1", b"2"))
    job = await read(store)
    one(store, progress(job, b"half"))
    await store.close()

    store = await opened(durable)
    assert await read(store) == job
    assert await store.held(ENDPOINT, "w") == [job]
    assert await store.content(job) == base.Content(b"half")
    assert await store.chunks(job, 0, 9) == [b"1", b"2"]
    assert store.tally(ENDPOINT) == Tally(in_progress=1, arrived=1)
    assert await store.next_due() == NOW + LEASE_MS
    assert one(store, submit("b", idempotency=keyed())) == base.Repeated("a", JobState.IN_PROGRESS)
    applied(store, append(job, 3, b"3"))
    applied(store, finish(job, b"out"))
    await store.close()

    store = await opened(durable)
    assert await store.content(await read(store)) == base.Content(b"out")
    assert await store.chunks(job, 0, 9) == [b"1", b"2", b"3"]
    assert store.tally(ENDPOINT) == Tally(arrived=1, completed=1)
    await store.close()


async def test_the_queue_keeps_its_order_and_its_numbers(durable: Engine) -> None:
    store = await opened(durable)
    store.apply([submit("a", input=b"in"), submit("b"), submit("high", pri=1)], NOW)
    await store.close()
    store = await opened(durable)
    assert await store.last_seq() == (await read(store, "high")).seq
    assert await backlog(store, ENDPOINT, NOW) == base.Backlog(NOW, 3)
    assert applied(store, submit("c")).seq > (await read(store, "high")).seq
    assert [job.id for job in taken(store, take(limit=9))] == ["high", "a", "b", "c"]
    await store.close()


async def test_the_mark_and_the_hold_survive(durable: Engine) -> None:
    store = await opened(durable)
    running(store)
    back = NOW + 100_000
    one(store, base.Sweep(hold_ms=LEASE_MS), back)
    await store.close()
    store = await opened(durable)
    assert (await store.time()).mark_ms == back
    # The sweep before the restart counts, and so does what it held.
    assert swept(store, back + 4_000, base.Sweep(hold_ms=10 * LEASE_MS)) == []
    assert swept(store, back + LEASE_MS, sweep(back + LEASE_MS)) == ["a"]
    assert await state(store) is JobState.IN_QUEUE
    await store.close()


async def test_a_restart_after_an_outage_holds_running_jobs(durable: Engine) -> None:
    store = await opened(durable)
    job = running(store)
    one(store, sweep(NOW))
    await store.close()
    store = await opened(durable)
    one(store, base.Sweep(hold_ms=LEASE_MS), NOW + 100_000)
    assert applied(store, finish(job), NOW + 100_000).state is JobState.COMPLETED
    await store.close()


async def test_an_open_breaker_is_open_after_a_restart_too(durable: Engine) -> None:
    store = await opened(durable)
    store.apply([submit(f"job-{number}") for number in range(LOSSES_MAX + 1)], NOW)
    taken(store, take(limit=9))
    one(store, gone())
    breaker = await store.breaker(ENDPOINT)
    await store.close()
    store = await opened(durable)
    assert await store.breaker(ENDPOINT) == breaker
    assert is_open(breaker, NOW)
    (probe,) = taken(store, take(limit=9))
    applied(store, finish(probe))
    await store.close()
    store = await opened(durable)
    assert len(taken(store, take(limit=9))) == LOSSES_MAX
    await store.close()


async def test_the_breaker_of_an_endpoint_that_was_deleted_without_a_registration_stays_closed(durable: Engine) -> None:
    store = await opened(durable)
    store.apply([submit(f"job-{number}") for number in range(LOSSES_MAX + 1)], NOW)
    taken(store, take(limit=9))
    one(store, gone())
    store.apply([base.DeleteEndpoint(endpoint=ENDPOINT)], NOW)
    await store.close()
    store = await opened(durable)
    assert not is_open(await store.breaker(ENDPOINT), NOW)
    await store.close()


async def test_webhooks_on_their_way_survive(durable: Engine) -> None:
    store = await opened(durable)
    applied(store, finish(running(store, webhook="https://example.com")))
    (webhook,) = leased_webhooks(store)
    await store.close()
    store = await opened(durable)
    assert await store.webhook(ENDPOINT, "a") == webhook
    assert await store.next_webhook() == webhook.next_at
    assert one(store, settle(webhook, delivered=False)) == base.Stored()
    due = await store.next_webhook()
    await store.close()
    store = await opened(durable)
    assert await store.next_webhook() == due
    assert due is not None
    outcome = one(store, base.LeaseWebhooks(limit=1, nonce=9, lease_ms=1), due)
    assert isinstance(outcome, base.Webhooks)
    assert [(each.webhook.tries, each.url) for each in outcome.due] == [(2, "https://example.com")]
    await store.close()


async def test_keys_of_forgotten_jobs_and_registrations_survive(durable: Engine) -> None:
    store = await opened(durable)
    applied(store, finish(running(store, idempotency=keyed())))
    swept(store, NOW + RETENTION_MS)
    one(store, base.PutEndpoint(endpoint=ENDPOINT, registration=b"{}"))
    await store.close()
    store = await opened(durable)
    assert one(store, submit("b", idempotency=keyed())) == base.Repeated("a", JobState.COMPLETED)
    assert await store.endpoints() == {ENDPOINT: b"{}"}
    await store.close()


async def test_stashed_payloads_survive_with_their_jobs(durable: Engine) -> None:
    store = await opened(durable)
    input, output = await store.stash(b"in" * 1_000_000), await store.stash(b"out" * 1_000_000)
    job = running(store, input=input)
    applied(store, finish(job, output))
    await store.close()
    store = await opened(durable)
    assert await store.fetch(input) == b"in" * 1_000_000
    assert await store.content(await read(store)) == base.Content(output)
    assert await store.fetch(output) == b"out" * 1_000_000
    await store.close()


ENDINGS: dict[str, Callable[..., base.Operation]] = {
    "released": release,
    "lost": lose,
    "failed": lambda job: finish(job, error="boom"),
    "cancelled": lambda job: base.Cancel(endpoint=ENDPOINT, id=job.id),
    "purged": lambda job: purge(running=True),
    "swept": lambda job: sweep(NOW + LEASE_MS),
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
async def test_a_record_is_the_same_after_opening_again_whatever_happened_to_it(
    durable: Engine, ending: Callable[..., base.Operation]
) -> None:
    store = await opened(durable)
    one(store, ending(running(store, max_attempts=1, webhook="https://example.com")), NOW + LEASE_MS)
    one(store, retry(await read(store)), NOW + LEASE_MS)
    job, tally = await read(store), store.tally(ENDPOINT)
    content = await store.content(job)
    await store.close()
    store = await opened(durable)
    assert await read(store) == job
    assert (store.tally(ENDPOINT), await store.content(job)) == (tally, content)
    await store.close()
