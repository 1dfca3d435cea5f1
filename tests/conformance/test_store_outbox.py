"""The outbox and the jobs behind it: a webhook exists exactly when its outcome does, and keeps its job."""

from collections.abc import Callable

import pytest

from submodel_gateway.jobs.record import WEBHOOK_LIMIT_MS, Job, WebhookState
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, leased_webhooks, one, read, running, swept, taken
from tests.support.store_operations import (
    ENDPOINT,
    EVER,
    LEASE_MS,
    RETENTION_MS,
    WEBHOOK_LEASE_MS,
    append,
    cancel,
    finish,
    gone,
    heartbeat,
    lease_webhooks,
    lose,
    progress,
    purge,
    release,
    settle,
    submit,
    sweep,
)

URL = "https://example.com/hook"

ENDS: dict[str, Callable[[Job], tuple[base.Operation, int]]] = {
    "result": lambda job: (finish(job), NOW),
    "error": lambda job: (finish(job, error="boom"), NOW),
    "lost": lambda job: (lose(job), NOW),
    "worker gone": lambda job: (gone(), NOW),
    "cancelled": lambda job: (cancel(job), NOW),
    "purged": lambda job: (purge(running=True), NOW),
    "lease": lambda job: (sweep(NOW + LEASE_MS), NOW + LEASE_MS),
    "time to live": lambda job: (sweep(job.deadline), job.deadline),
}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_every_end_leaves_its_webhook(store: Store, end: Callable[[Job], tuple[base.Operation, int]]) -> None:
    operation, now = end(running(store, webhook=URL, max_attempts=1, ttl_ms=100_000))
    assert await store.next_webhook() is None
    assert leased_webhooks(store, EVER) == []
    one(store, operation, now)
    assert (await read(store)).webhook is WebhookState.PENDING
    assert await store.next_webhook() == now
    outcome = one(store, lease_webhooks(), now)
    assert isinstance(outcome, base.Webhooks)
    assert [(due.webhook.id, due.webhook.endpoint, due.webhook.gen, due.url) for due in outcome.due] == [
        ("a", ENDPOINT, 1, URL)
    ]


async def test_what_is_no_end_leaves_no_webhook(store: Store) -> None:
    job = running(store, webhook=URL)
    for operation in (heartbeat(job), progress(job, b"1"), append(job, 1, b"1"), release(job), finish(job)):
        one(store, operation)
    assert leased_webhooks(store) == []
    assert await store.next_webhook() is None


async def test_a_job_without_a_url_leaves_no_webhook(store: Store) -> None:
    applied(store, finish(running(store)))
    assert (await read(store)).webhook is WebhookState.NONE
    assert leased_webhooks(store) == []


async def test_a_repeated_result_leaves_no_second_webhook(store: Store) -> None:
    job = running(store, webhook=URL)
    applied(store, finish(job))
    (webhook,) = leased_webhooks(store)
    applied(store, settle(webhook))
    one(store, finish(job))
    assert leased_webhooks(store, NOW + WEBHOOK_LEASE_MS) == []
    assert (await read(store)).webhook is WebhookState.DELIVERED


async def test_webhooks_are_leased_the_longest_due_first_each_to_one_dispatcher(store: Store) -> None:
    for number, id in enumerate("cab"):
        applied(store, submit(id, webhook=URL), NOW)
        applied(store, base.Cancel(endpoint=ENDPOINT, id=id), NOW + number // 2)
    assert [each.id for each in leased_webhooks(store, NOW + 5, lease_webhooks(limit=2))] == ["a", "c"]
    assert [each.id for each in leased_webhooks(store, NOW + 5, lease_webhooks(limit=2, nonce=6))] == ["b"]
    assert leased_webhooks(store, NOW + 5, lease_webhooks(nonce=7)) == []
    assert await store.next_webhook() == NOW + 5 + WEBHOOK_LEASE_MS


async def test_only_the_present_dispatcher_of_the_present_generation_settles(store: Store) -> None:
    applied(store, submit("a", webhook=URL))
    done = applied(store, base.Cancel(endpoint=ENDPOINT, id="a"))
    (first,) = leased_webhooks(store)
    (second,) = leased_webhooks(store, NOW + WEBHOOK_LEASE_MS, lease_webhooks(nonce=6))
    for wrong in (
        settle(first),
        base.SettleWebhook(endpoint=ENDPOINT, id="a", gen=2, nonce=6, delivered=True),
        base.SettleWebhook(endpoint=ENDPOINT, id="a", gen=1, nonce=7, delivered=True),
    ):
        assert one(store, wrong, NOW + WEBHOOK_LEASE_MS) == base.Refused(Reason.STALE, done)
    foreign = base.SettleWebhook(endpoint="other", id="a", gen=1, nonce=6, delivered=True)
    assert one(store, foreign, NOW + WEBHOOK_LEASE_MS) == base.Refused(Reason.STALE)
    told = applied(store, settle(second), NOW + WEBHOOK_LEASE_MS)
    assert (told.webhook, await read(store)) == (WebhookState.DELIVERED, told)
    assert one(store, settle(second), NOW + WEBHOOK_LEASE_MS) == base.Refused(Reason.STALE, told)


async def test_a_job_is_kept_until_its_webhook_was_delivered(store: Store) -> None:
    done = applied(store, finish(running(store, webhook=URL)))
    assert swept(store, NOW + RETENTION_MS) == []
    assert await read(store) == done
    (webhook,) = leased_webhooks(store, NOW + RETENTION_MS)
    applied(store, settle(webhook), NOW + RETENTION_MS)
    assert await store.next_due() == NOW + RETENTION_MS
    assert swept(store, NOW + RETENTION_MS) == ["a"]
    assert await store.next_webhook() is None
    assert leased_webhooks(store, EVER) == []


async def test_a_job_whose_webhook_never_arrives_is_not_kept_for_ever(store: Store) -> None:
    applied(store, finish(running(store, webhook=URL)))
    assert await store.next_due() == NOW + WEBHOOK_LIMIT_MS
    assert swept(store, NOW + WEBHOOK_LIMIT_MS - 1) == []
    assert swept(store, NOW + WEBHOOK_LIMIT_MS) == ["a"]
    assert await store.job(ENDPOINT, "a") is None
    assert await store.next_webhook() is None


async def test_settling_the_webhook_of_a_forgotten_job_is_stale(store: Store) -> None:
    applied(store, finish(running(store, webhook=URL)))
    (webhook,) = leased_webhooks(store, NOW + WEBHOOK_LIMIT_MS - 1)
    swept(store, NOW + WEBHOOK_LIMIT_MS)
    assert one(store, settle(webhook), NOW + WEBHOOK_LIMIT_MS) == base.Refused(Reason.STALE)


async def test_webhooks_do_not_change_the_outcome_or_its_readers(store: Store) -> None:
    job = running(store, webhook=URL)
    applied(store, append(job, 1, b"1"))
    done = applied(store, finish(job))
    (webhook,) = leased_webhooks(store)
    tally = store.tally(ENDPOINT)
    assert one(store, settle(webhook, delivered=False)) == base.Stored()
    assert await read(store) == done
    assert await store.content(done) == base.Content(b'"done"')
    assert await store.chunks(done, 0, 9) == [b"1"]
    assert store.tally(ENDPOINT) == tally
    assert taken(store) == []
