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

    def follow(self, reading: StoreTime) -> None:
        """Come closer to what the store says; called about once per second."""


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

    def follow(self, reading: StoreTime) -> None:
        now = self._monotonic_ms()
        most = (now - self._followed_at) * SLEW_PER_MS
        self._followed_at = now
        self._offset += max(-most, min(most, target_ms(reading) - (now + self._offset)))


async def beginning(read: Callable[[], Awaitable[StoreTime]], clock: Clock) -> StoreTime:
    """What a gateway that has just come up begins its clock by: the store's time, as of now.

    A reading was true when the store gave it. A clock that began by one which was two seconds on its way would be two
    seconds behind the others for half an hour, and they would end too soon whatever its gateway promised until some
    instant. So the store is asked again then; the quickest answer counts, and is taken for half as old as its trip.
    """
    readings: list[tuple[int, int, StoreTime]] = []
    while len(readings) < READINGS_MAX:
        asked_at = clock.now_ms()
        reading = await read()
        trip_ms = clock.now_ms() - asked_at
        readings.append((trip_ms, asked_at + trip_ms // 2, reading))
        if trip_ms <= TRIP_MS_MAX:
            break
    _, read_at, reading = min(readings, key=lambda each: each[0])
    return replace(reading, wall_ms=reading.wall_ms + clock.now_ms() - read_at)


def starting_ms(reading: StoreTime) -> int:
    """Where a gateway that has just come up sets its clock: with the others, else at wall time."""
    common = _common_ms(reading)
    return max(reading.wall_ms, reading.mark_ms) if common is None else common


def target_ms(reading: StoreTime) -> int:
    """Where a running clock is steered to."""
    common = _common_ms(reading)
    if common is None:
        return reading.wall_ms
    return common + max(-DRIFT_MS, min(DRIFT_MS, reading.wall_ms - common))


def _common_ms(reading: StoreTime) -> int | None:
    """What the gateways that share the store agree on; None when none of them has said so lately."""
    if reading.mark_wall_ms is None or not 0 <= reading.wall_ms - reading.mark_wall_ms <= MARK_FRESH_MS:
        return None
    return reading.mark_ms + reading.wall_ms - reading.mark_wall_ms
