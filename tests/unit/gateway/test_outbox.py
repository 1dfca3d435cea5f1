"""Webhooks on their way: leases, back-off, and the end of patience."""

import pytest
from msgspec.structs import replace

from submodel_gateway.jobs.outbox import (
    DELAYS_MS,
    LOG_MAX,
    Webhook,
    after_failure,
    lease,
    log_of,
    noted,
    release,
    settled,
)

NOW = 5_000_000
FRESH = Webhook(id="a", endpoint="e", gen=1, next_at=NOW)


def test_a_lease_is_a_try_under_a_nonce_of_its_own() -> None:
    mine = lease(FRESH, nonce=9, lease_ms=30_000, now=NOW + 5)
    assert (mine.tries, mine.nonce, mine.next_at) == (1, 9, NOW + 5 + 30_000)
    other = lease(mine, nonce=10, lease_ms=30_000, now=NOW + 40_000)
    assert (other.tries, other.nonce) == (2, 10)


def test_failed_tries_follow_each_other_ever_more_slowly_and_then_end() -> None:
    webhook, waits = FRESH, []
    while webhook.next_at is not None:
        webhook = after_failure(lease(webhook, 1, 30_000, NOW), NOW, 0.0)
        waits.append(webhook.next_at and webhook.next_at - NOW)
    assert waits == [*DELAYS_MS, None]
    assert waits[:2] == [10_000, 10_000]
    assert 45 * 60_000 <= sum(DELAYS_MS) <= 60 * 60_000
    assert (webhook.tries, webhook.gen) == (8, 1)


@pytest.mark.parametrize(("jitter", "wait_ms"), [(-1.0, 8_000), (0.5, 11_000), (1.0, 12_000)])
def test_jitter_spreads_the_tries(jitter: float, wait_ms: int) -> None:
    assert after_failure(replace(FRESH, tries=1), NOW, jitter).next_at == NOW + wait_ms


def test_a_dispatcher_that_never_answers_uses_up_tries_too() -> None:
    webhook = FRESH
    for _ in range(len(DELAYS_MS) + 3):
        webhook = lease(webhook, 1, 30_000, NOW)
    assert after_failure(webhook, NOW, 0.0).next_at is None


def test_a_lease_that_is_given_back_is_no_try_and_speaks_no_more() -> None:
    failed = after_failure(lease(FRESH, 1, 30_000, NOW), NOW, 0.0)
    back = release(lease(failed, 2, 30_000, NOW), delay_ms=500, now=NOW + 10)
    assert (back.tries, back.nonce, back.next_at) == (1, 0, NOW + 510)


def test_what_tries_came_to_is_remembered_one_line_each_and_not_for_ever() -> None:
    webhook = noted(noted(FRESH, "HTTP 503\nand more", NOW), "HTTP 200", NOW + 5)
    assert log_of(FRESH) == []
    assert log_of(webhook) == [(NOW, "HTTP 503 and more"), (NOW + 5, "HTTP 200")]
    for number in range(LOG_MAX):
        webhook = noted(webhook, f"HTTP {number}", NOW + number)
    assert [each.answer for each in log_of(webhook)] == [f"HTTP {number}" for number in range(LOG_MAX)]


def test_a_settled_webhook_is_never_due() -> None:
    assert settled(FRESH) == replace(FRESH, next_at=None)
