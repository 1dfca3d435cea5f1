"""Webhooks on their way out of every store engine."""

import pytest
from msgspec.structs import replace

from submodel_gateway.jobs.outbox import DELAYS_MS, Webhook, log_of, noted
from submodel_gateway.jobs.record import WebhookState
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_operations import ENDPOINT, submit, take

NOW = 1_700_000_000_000
LEASE_MS = 30_000
URL = "https://example.com/hook?key=1"


def one(store: Store, operation: base.Operation, now: int = NOW) -> base.Outcome:
    (outcome,) = store.apply([operation], now)
    return outcome


def end(store: Store, id: str = "a", now: int = NOW) -> None:
    """A job with a webhook that has its outcome."""
    one(store, submit(id, webhook=URL), now)
    one(store, base.Cancel(endpoint=ENDPOINT, id=id), now)


def lease(store: Store, now: int = NOW, nonce: int = 5, limit: int = 10) -> list[base.DueWebhook]:
    outcome = one(store, base.LeaseWebhooks(limit=limit, nonce=nonce, lease_ms=LEASE_MS), now)
    assert isinstance(outcome, base.Webhooks)
    return list(outcome.due)


def settle(webhook: Webhook, delivered: bool, answer: str = "") -> base.SettleWebhook:
    return base.SettleWebhook(
        endpoint=ENDPOINT, id=webhook.id, gen=webhook.gen, nonce=webhook.nonce, delivered=delivered, answer=answer
    )


def release(webhook: Webhook, delay_ms: int) -> base.ReleaseWebhook:
    return base.ReleaseWebhook(
        endpoint=ENDPOINT, id=webhook.id, gen=webhook.gen, nonce=webhook.nonce, delay_ms=delay_ms
    )


def replay(id: str = "a", endpoint: str = ENDPOINT) -> base.ReplayWebhook:
    return base.ReplayWebhook(endpoint=endpoint, id=id)


async def state(store: Store, id: str = "a") -> WebhookState:
    job = await store.job(ENDPOINT, id)
    assert job is not None
    return job.webhook


async def test_a_webhook_is_there_once_its_job_has_an_outcome(store: Store) -> None:
    one(store, submit("a", webhook=URL))
    assert await store.webhook(ENDPOINT, "a") is None
    assert await store.next_webhook() is None
    one(store, base.Cancel(endpoint=ENDPOINT, id="a"), NOW + 1)
    assert await store.webhook(ENDPOINT, "a") == Webhook(id="a", endpoint=ENDPOINT, gen=1, next_at=NOW + 1)
    assert await store.webhook("other", "a") is None
    assert await store.next_webhook() == NOW + 1


async def test_a_leased_webhook_is_nobody_elses_until_the_lease_ends(store: Store) -> None:
    end(store)
    (due,) = lease(store)
    assert (due.url, due.webhook.tries, due.webhook.nonce) == (URL, 1, 5)
    assert lease(store, NOW + LEASE_MS - 1, nonce=6) == []
    (again,) = lease(store, NOW + LEASE_MS, nonce=6)
    assert again.webhook.tries == 2
    assert isinstance(one(store, settle(due.webhook, True)), base.Refused)
    assert isinstance(one(store, settle(again.webhook, True)), base.Applied)


async def test_what_a_try_came_to_is_kept(store: Store) -> None:
    end(store)
    (due,) = lease(store)
    assert isinstance(one(store, settle(due.webhook, False, "HTTP 503"), NOW + 9), base.Stored)
    kept = await store.webhook(ENDPOINT, "a")
    assert kept is not None
    assert (log_of(kept), kept.tries, kept.next_at) == ([(NOW + 9, "HTTP 503")], 1, NOW + 9 + DELAYS_MS[0])
    assert await state(store) is WebhookState.PENDING
    (again,) = lease(store, NOW + 20_000)
    one(store, settle(again.webhook, True, "HTTP 200"), NOW + 20_005)
    kept = await store.webhook(ENDPOINT, "a")
    assert kept is not None
    assert log_of(kept) == [(NOW + 9, "HTTP 503"), (NOW + 20_005, "HTTP 200")]
    one(store, base.ReplayWebhook(endpoint=ENDPOINT, id="a"), NOW + 30_000)
    kept = await store.webhook(ENDPOINT, "a")
    assert kept is not None
    assert (len(log_of(kept)), kept.tries) == (2, 0)


@pytest.mark.parametrize(("delivered", "expected"), [(True, WebhookState.DELIVERED), (False, WebhookState.DEAD)])
async def test_a_settled_webhook_stays_to_be_read_and_is_never_due(
    store: Store, delivered: bool, expected: WebhookState
) -> None:
    end(store)
    now = NOW
    for _ in range(1 if delivered else len(DELAYS_MS) + 1):
        (due,) = lease(store, now)
        one(store, settle(due.webhook, delivered, "HTTP 1"), now)
        now += 2_000_000
    assert await state(store) is expected
    kept = await store.webhook(ENDPOINT, "a")
    assert kept is not None
    assert (log_of(kept)[-1].answer, kept.next_at) == ("HTTP 1", None)
    assert await store.next_webhook() is None


async def test_a_webhook_that_is_given_back_is_due_after_the_delay_and_was_no_try(store: Store) -> None:
    end(store)
    (due,) = lease(store)
    assert one(store, release(due.webhook, 2_000), NOW + 5) == base.Stored()
    assert await store.next_webhook() == NOW + 2_005
    for late in (settle(due.webhook, True), release(due.webhook, 0)):
        refused = one(store, late, NOW + 6)
        assert isinstance(refused, base.Refused)
        assert refused.reason is Reason.STALE
    (again,) = lease(store, NOW + 2_005, nonce=6)
    assert again.webhook.tries == 1


async def test_a_webhook_can_be_sent_again_with_all_tries(store: Store) -> None:
    end(store)
    (due,) = lease(store)
    one(store, settle(due.webhook, True, "HTTP 200"))
    assert isinstance(one(store, replay(), NOW + 100), base.Applied)
    assert await state(store) is WebhookState.PENDING
    fresh = replace(noted(due.webhook, "HTTP 200", NOW), tries=0, nonce=0, next_at=NOW + 100)
    assert await store.webhook(ENDPOINT, "a") == fresh
    (again,) = lease(store, NOW + 100, nonce=6)
    assert (again.url, again.webhook.tries, again.webhook.gen) == (URL, 1, 1)


async def test_only_an_outcome_with_a_webhook_can_be_sent_again(store: Store) -> None:
    one(store, submit("plain"))
    one(store, submit("open", webhook=URL))
    end(store)
    reasons = [one(store, each) for each in (replay("plain"), replay("open"), replay("none"), replay("a", "other"))]
    refusals = [each.reason for each in reasons if isinstance(each, base.Refused)]
    assert refusals == [Reason.NO_WEBHOOK, Reason.NOT_READY, Reason.UNKNOWN, Reason.UNKNOWN]


async def test_a_retry_takes_the_webhook_of_the_old_outcome_along(store: Store) -> None:
    one(store, submit("a", webhook=URL))
    outcome = one(store, take())
    assert isinstance(outcome, base.Taken)
    token = outcome.leases[0].job.token
    one(store, base.Finish(endpoint=ENDPOINT, id="a", token=token, error="no"))
    (due,) = lease(store)
    one(store, base.Retry(endpoint=ENDPOINT, id="a"))
    assert await store.webhook(ENDPOINT, "a") is None
    assert await state(store) is WebhookState.ARMED
    assert isinstance(one(store, settle(due.webhook, True)), base.Refused)
