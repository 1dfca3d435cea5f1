"""How many webhooks go where at once. Pure.

Each port of a host that an endpoint sends to has a lane, and so has the endpoint: a host that is slow or gone holds up
nobody but itself, and an endpoint with many slow hosts nobody but itself. What finds no place in its lane is postponed,
spread over the time that the lane needs for what came before; it waits in the store, not in memory.

A host that fails several times in a row is left alone for a while, then tried with one webhook at a time. Meanwhile
its webhooks are postponed, which counts as no try.
"""

import msgspec
from msgspec.structs import replace

HOST_SLOTS = 4
ENDPOINT_SLOTS = 16

FAILURES_MAX = 5
AWAY_MS = 30_000
AWAY_MS_MAX = 300_000
"""How long a host that fails is left alone: doubled with every probe that fails too."""

PACE_MS = 10.0
"""Of a host that is not known yet. Hope costs less than care: what comes too early is postponed again."""

PACE_WEIGHT = 0.25
DELAY_MS_MIN = 50
DELAY_MS_MAX = 300_000


class Lane(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway knows of an endpoint, or of a host that it sends to. Instants are milliseconds of its clock."""

    slots: int
    sending: int = 0
    failures: int = 0
    """In a row."""

    away_until: int = 0
    pace_ms: float = PACE_MS
    """How long a try takes: a moving average."""

    booked_until: int = 0
    """When the lane is through with everything that was postponed so far."""


def is_free(lane: Lane, now: int) -> bool:
    """Whether one more may be sent now."""
    slots = 1 if lane.failures >= FAILURES_MAX else lane.slots
    return lane.sending < slots and lane.away_until <= now


def started(lane: Lane) -> Lane:
    """The lane with one more under way."""
    return replace(lane, sending=lane.sending + 1)


def ended(lane: Lane, took_ms: int, now: int, *, works: bool | None) -> Lane:
    """The lane after a try; `works` says whether the host answered as one that lives, None when it was not asked."""
    sending = lane.sending - 1
    pace_ms = lane.pace_ms + PACE_WEIGHT * (took_ms - lane.pace_ms)
    if works is None:
        return replace(lane, sending=sending)
    if works:
        return replace(lane, sending=sending, pace_ms=pace_ms, failures=0, away_until=0)
    if now < lane.away_until:
        return replace(lane, sending=sending, pace_ms=pace_ms)
    failures = lane.failures + 1
    away_ms = min(AWAY_MS << min(failures - FAILURES_MAX, 8), AWAY_MS_MAX) if failures >= FAILURES_MAX else 0
    return replace(lane, sending=sending, pace_ms=pace_ms, failures=failures, away_until=now + away_ms)


def postponed(lane: Lane, now: int) -> tuple[int, Lane]:
    """In how many milliseconds a webhook that finds no place shall come again, and the lane with it booked."""
    opens_at = max(now, lane.away_until)
    booked_until = max(lane.booked_until, opens_at) + int(lane.pace_ms / lane.slots) + 1
    booked_until = min(booked_until, opens_at + DELAY_MS_MAX)
    return max(DELAY_MS_MIN, booked_until - now), replace(lane, booked_until=booked_until)


def is_idle(lane: Lane, now: int) -> bool:
    """Whether there is nothing to remember of the lane."""
    quiet_at = lane.away_until + AWAY_MS_MAX if lane.failures else 0
    return not lane.sending and max(lane.booked_until, quiet_at) <= now
