"""The gateway's clocks: each store has one, monotonic, steered so gently that a step of a wall clock changes nothing.

Gateways that share a store follow its mark: what counts is that they agree, not that they are right. All of them
together drift towards the wall time of the store, by at most one millisecond per second.
"""

import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from msgspec.structs import replace

from submodel_gateway.store.base import StoreTime

MARK_FRESH_MS = 10_000
"""A mark that is older was left behind by gateways that are gone; they say nothing about the present."""

SLEW_PER_MS = 0.001
DRIFT_MS = 5
"""How far a gateway lets the common time drift towards wall time between two marks."""

AGREED_MS = 20
"""Clocks that are so close agree. A gateway that followed every millisecond by which the others' last mark seems to be
behind would be behind them with its own next one, and all would fall back further for ever."""

TRIP_MS_MAX = 50
"""A reading that was asked for and there within this is no older: good enough to begin by."""

READINGS_MAX = 5


class Clock(Protocol):
    """Milliseconds since 1970, never going back."""

    def now_ms(self) -> int:
        """The time, in milliseconds since 1970."""
        ...

    def begin(self, reading: StoreTime) -> None:
        """Set the clock once, before anything is served."""

    def follow(self, reading: StoreTime, doubt_ms: int = 0) -> None:
        """Come closer to what the store says, which may be wrong by `doubt_ms`; called about once per second."""


class SteeredClock:
    """Runs with the machine's monotonic clock from where `begin` set it, and follows gently.

    Args:
        monotonic_ms: milliseconds from any origin.
        wall_ms: milliseconds since 1970; the time while the store has not been reached.
    """

    def __init__(
        self,
        monotonic_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._monotonic_ms = monotonic_ms
        self._followed_at = monotonic_ms()
        self._offset = float(wall_ms() - self._followed_at)

    def now_ms(self) -> int:
        return int(self._monotonic_ms() + self._offset)

    def begin(self, reading: StoreTime) -> None:
        self._followed_at = self._monotonic_ms()
        self._offset = starting_ms(reading) - self._followed_at

    def follow(self, reading: StoreTime, doubt_ms: int = 0) -> None:
        now = self._monotonic_ms()
        most = (now - self._followed_at) * SLEW_PER_MS
        self._followed_at = now
        own = now + self._offset
        self._offset += max(-most, min(most, target_ms(reading, own, doubt_ms) - own))


async def beginning(read: Callable[[], Awaitable[StoreTime]], clock: Clock) -> StoreTime:
    """What a gateway that has just come up begins its clock by: the store's time, as of now.

    A reading was true when the store gave it. A clock that began by one which was two seconds on its way would be two
    seconds behind the others for half an hour, and they would end too soon whatever its gateway promised until some
    instant. So the store is asked again then, and the quickest answer counts.
    """
    readings: list[tuple[int, int, StoreTime]] = []
    while len(readings) < READINGS_MAX:
        trip_ms, reading = await _reading(read, clock)
        readings.append((trip_ms, clock.now_ms(), reading))
        if trip_ms <= TRIP_MS_MAX:
            break
    _, read_at, reading = min(readings, key=lambda each: each[0])
    return replace(reading, wall_ms=reading.wall_ms + clock.now_ms() - read_at)


async def follow(read: Callable[[], Awaitable[StoreTime]], clock: Clock) -> None:
    """Let a running clock come closer to the store's time, as of now."""
    trip_ms, reading = await _reading(read, clock)
    clock.follow(reading, trip_ms // 2)


async def _reading(read: Callable[[], Awaitable[StoreTime]], clock: Clock) -> tuple[int, StoreTime]:
    """How long it took, and the reading as of its end: it is taken for half as old as its trip."""
    asked_at = clock.now_ms()
    reading = await read()
    trip_ms = clock.now_ms() - asked_at
    return trip_ms, replace(reading, wall_ms=reading.wall_ms + (trip_ms + 1) // 2)


def starting_ms(reading: StoreTime) -> int:
    """Where a gateway that has just come up sets its clock: with the others, else at wall time."""
    common = _common_ms(reading)
    return max(reading.wall_ms, reading.mark_ms) if common is None else common


def target_ms(reading: StoreTime, own_ms: float, doubt_ms: int = 0) -> float:
    """Where a running clock that shows `own_ms` is steered to: to the others, and with them towards wall time."""
    common: float | None = _common_ms(reading)
    if common is None:
        return reading.wall_ms
    if abs(common - own_ms) <= AGREED_MS + doubt_ms:
        common = own_ms
    return common + max(-DRIFT_MS, min(DRIFT_MS, reading.wall_ms - common))


def _common_ms(reading: StoreTime) -> int | None:
    """What the gateways that share the store agree on; None when none of them has said so lately."""
    if reading.mark_wall_ms is None or not 0 <= reading.wall_ms - reading.mark_wall_ms <= MARK_FRESH_MS:
        return None
    return reading.mark_ms + reading.wall_ms - reading.mark_wall_ms
