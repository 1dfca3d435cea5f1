"""Gateways far from their database: their marks say what time it was when they were made, not when they arrived."""

import asyncio

import pytest

from submodel_gateway.service.clock import SteeredClock, beginning, follow
from submodel_gateway.store.postgres.server_clock import ServerClock
from tests.support.postgres import shared_server
from tests.support.postgres_proxy import PostgresProxy
from tests.support.postgres_store import started
from tests.support.store_operations import submit

DELAY_SECONDS = 0.1
LATE_MS = DELAY_SECONDS * 1000 * 6
"""After how long the mark of such a gateway arrives: its statements are some messages, one after another."""

TRIES = 3


@pytest.mark.slow
async def test_a_gateway_begins_where_one_is_that_is_far_from_the_database(url: str) -> None:
    clock, behind_ms = SteeredClock(), list[int]()
    with PostgresProxy(shared_server()) as way:
        async with started(way.url(url)) as far, started(url) as near:
            way.delay_seconds = DELAY_SECONDS
            # The first reading waits for another statement's answer, which must not count as its own way.
            _, reading = await asyncio.gather(far.endpoints(), far.time())
            clock.begin(reading)
            # A busy machine may hold up any of the steps, but hardly all tries; a mark that says when it arrived is
            # wrong by its way every time.
            for number in range(TRIES):
                await follow(far.time, clock)
                await asyncio.to_thread(far.apply, [submit(f"job-{number}")], clock.now_ms())
                begun = SteeredClock()
                begun.begin(await beginning(near.time, begun))
                behind_ms.append(abs(clock.now_ms() - begun.now_ms()))
            way.delay_seconds = 0.0
    assert min(behind_ms) < LATE_MS / 2, behind_ms


class Monotonic:
    """This machine's monotonic clock in a test's hands."""

    ms = 1_000.0

    def __call__(self) -> float:
        return self.ms


def heard(clock: ServerClock, monotonic: Monotonic, wall_ms: float, there_ms: float, back_ms: float) -> float | None:
    """What the clock says once it has heard of `wall_ms`, which was so long on its way there and back."""
    asked_ms = clock.asking()
    monotonic.ms += there_ms + back_ms
    clock.hear(asked_ms, wall_ms)
    return clock.now_ms()


def test_of_a_reading_half_of_its_trip_is_uncertain() -> None:
    monotonic = Monotonic()
    clock = ServerClock(monotonic)
    assert clock.now_ms() is None
    assert heard(clock, monotonic, 5_000, 10, 10) == 5_010
    monotonic.ms += 100
    assert clock.now_ms() == 5_110


def test_a_slow_answer_teaches_nothing_until_what_is_known_is_old() -> None:
    monotonic = Monotonic()
    clock = ServerClock(monotonic)
    heard(clock, monotonic, 5_000, 1, 1)
    assert heard(clock, monotonic, 5_301, 300, 0) == 5_301
    monotonic.ms += 1_000_000
    assert heard(clock, monotonic, 1_005_601, 300, 0) == 1_005_751


def test_a_clock_that_was_set_is_believed_at_once() -> None:
    monotonic = Monotonic()
    clock = ServerClock(monotonic)
    heard(clock, monotonic, 5_000, 1, 1)
    assert heard(clock, monotonic, 3_605_000, 20, 20) == 3_605_020
