"""Webhooks that wait for their delivery: one per job, written with the transition that ended it.

A dispatcher leases a webhook, sends it, and says how it went; the lease's nonce keeps a slow dispatcher from settling
what another one has taken over. Two tries follow each other closely, as clients of the hosted platforms expect; the
others back off over three quarters of an hour, then the webhook is given up.
"""

from typing import NamedTuple

import msgspec
from msgspec.structs import replace

DELAYS_MS = (10_000, 10_000, 60_000, 300_000, 600_000, 900_000, 900_000)
"""Waits after the first try, the second, and so on; there is one try more than there are waits."""

JITTER = 0.2

LOG_MAX = 20
"""Tries that are remembered of a webhook, those before a replay among them."""


class Webhook(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook on its way. Instants are milliseconds of the store's clock."""

    id: str
    """The job's."""

    endpoint: str
    gen: int
    tries: int = 0
    nonce: int = 0
    """Of the present lease; 0 when it was never leased."""

    next_at: int | None
    """When it may be leased: the next try, or the end of the present lease. None once it is settled."""

    answer: str = ""
    """What the tries came to, a line each: the instant at which it was known, and a few words without addresses."""


class Try(NamedTuple):
    """What a try came to, and when that was known."""

    at: int
    answer: str


def lease(webhook: Webhook, nonce: int, lease_ms: int, now: int) -> Webhook:
    """The webhook in the hands of a dispatcher, as its next try."""
    return replace(webhook, tries=webhook.tries + 1, nonce=nonce, next_at=now + lease_ms)


def release(webhook: Webhook, delay_ms: int, now: int) -> Webhook:
    """The webhook given back unsent: the lease was no try, and another may begin after `delay_ms`."""
    return replace(webhook, tries=webhook.tries - 1, nonce=0, next_at=now + delay_ms)


def after_failure(webhook: Webhook, now: int, jitter: float) -> Webhook:
    """The webhook after a failed try; `jitter` is random, -1 to 1. Its `next_at` is None when that was the last."""
    if webhook.tries > len(DELAYS_MS):
        return replace(webhook, next_at=None)
    delay_ms = DELAYS_MS[webhook.tries - 1] * (1 + JITTER * jitter)
    return replace(webhook, next_at=now + int(delay_ms))


def noted(webhook: Webhook, answer: str, now: int) -> Webhook:
    """The webhook with what its try came to."""
    lines = webhook.answer.split("\n") if webhook.answer else []
    line = f"{now} {' '.join(answer.split())}"
    return replace(webhook, answer="\n".join([*lines, line][-LOG_MAX:]))


def log_of(webhook: Webhook) -> list[Try]:
    """The tries that have ended, the oldest first."""
    lines = [line.partition(" ") for line in webhook.answer.split("\n")]
    return [Try(int(at), answer) for at, _, answer in lines if at.isdigit()]


def settled(webhook: Webhook) -> Webhook:
    """The webhook once nothing is to be done for it any more."""
    return replace(webhook, next_at=None)
