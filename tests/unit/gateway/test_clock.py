"""A store's clock is steered gently: gateways agree, and a step of a wall clock moves nobody."""

import itertools
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service.clock import MARK_FRESH_MS, SteeredClock, follow, starting_ms
from submodel_gateway.service.stores import NamedStore, Stores
from submodel_gateway.store.base import StoreTime
from submodel_gateway.store.memory import MemoryStore

HOUR_MS = 3_600_000
START_MS = 1_700_000_000_000


class Monotonic:
    """A machine's monotonic clock in a test's hands."""

    def __init__(self) -> None:
        self.ms = 5_000

    def __call__(self) -> int:
        return self.ms


class Distant(MemoryStore):
    """A store whose answers about its time are on their way for a while, each for the next of `trips_ms`."""

    def __init__(self, monotonic: Monotonic, trips_ms: Iterable[int]) -> None:
        super().__init__(wall_ms=lambda: START_MS + monotonic.ms)
        self._monotonic = monotonic
        self._trips_ms = iter(trips_ms)

    async def time(self) -> StoreTime:
        reading = await super().time()
        self._monotonic.ms += next(self._trips_ms)
        return reading


class Marked(Distant):
    """One that several gateways share; `mark` is their last one, the time by a gateway's clock and by its own."""

    mark: tuple[int, int] = (0, 0)

    async def time(self) -> StoreTime:
        reading = await super().time()
        mark_ms, mark_wall_ms = self.mark
        return replace(reading, mark_ms=mark_ms, mark_wall_ms=mark_wall_ms)


async def begun_behind_ms(*trips_ms: int) -> int:
    """How far behind its store a gateway begins."""
    monotonic = Monotonic()
    clock = SteeredClock(monotonic)
    store = Distant(monotonic, trips_ms)
    await Stores([NamedStore("a", store, clock)], lambda done: None, Measures()).begin("a", lambda changed: None)
    return START_MS + monotonic.ms - clock.now_ms()


async def test_readings_that_are_on_their_way_for_a_while_let_no_clock_fall_behind() -> None:
    monotonic = Monotonic()
    clock = SteeredClock(monotonic)
    store = Marked(monotonic, itertools.repeat(40))
    clock.begin(alone(START_MS + monotonic.ms))
    for _ in range(3_600):
        monotonic.ms += 1_000
        store.mark = clock.now_ms(), START_MS + monotonic.ms
        await follow(store.time, clock)
    # A reading is taken for half as old as its trip; here it is as old as all of it.
    assert abs(START_MS + monotonic.ms - clock.now_ms()) <= 25


def alone(wall_ms: int, mark_ms: int = 0) -> StoreTime:
    return StoreTime(wall_ms=wall_ms, mark_ms=mark_ms)


def test_a_gateway_on_its_own_begins_at_wall_time() -> None:
    clock = SteeredClock(Monotonic())
    clock.begin(alone(START_MS))
    assert clock.now_ms() == START_MS


def test_a_gateway_never_begins_before_what_is_stored() -> None:
    assert starting_ms(alone(START_MS, mark_ms=START_MS + HOUR_MS)) == START_MS + HOUR_MS


@given(st.lists(st.integers(-HOUR_MS, HOUR_MS), min_size=1, max_size=20))
def test_steps_of_the_wall_clock_move_time_by_less_than_a_thousandth(steps: list[int]) -> None:
    monotonic = Monotonic()
    clock = SteeredClock(monotonic)
    clock.begin(alone(START_MS))
    for elapsed, step in enumerate(steps, 1):
        before = clock.now_ms()
        monotonic.ms += 1_000
        clock.follow(alone(START_MS + elapsed * 1_000 + step))
        assert 998 <= clock.now_ms() - before <= 1_002


def test_a_clock_that_is_wrong_comes_back_in_time() -> None:
    monotonic = Monotonic()
    clock = SteeredClock(monotonic)
    clock.begin(alone(START_MS + 500))
    for second in range(1, 601):
        monotonic.ms += 1_000
        clock.follow(alone(START_MS + second * 1_000))
    assert abs(clock.now_ms() - (START_MS + 600_000)) <= 1


def test_a_second_gateway_begins_where_the_first_one_is_although_the_wall_clock_was_stepped() -> None:
    stepped = StoreTime(wall_ms=START_MS + HOUR_MS + 300, mark_ms=START_MS, mark_wall_ms=START_MS + HOUR_MS)
    assert starting_ms(stepped) == START_MS + 300


def test_an_old_mark_says_nothing_about_the_present() -> None:
    left_behind = StoreTime(wall_ms=START_MS, mark_ms=START_MS - HOUR_MS, mark_wall_ms=START_MS - MARK_FRESH_MS - 1)
    assert starting_ms(left_behind) == START_MS


def test_gateways_that_share_a_store_come_together() -> None:
    monotonic = Monotonic()
    first, second = SteeredClock(monotonic), SteeredClock(monotonic)
    first.begin(alone(START_MS))
    second.begin(alone(START_MS + 200))
    for second_number in range(1, 401):
        monotonic.ms += 1_000
        wall_ms = START_MS + second_number * 1_000
        mark = StoreTime(wall_ms=wall_ms, mark_ms=first.now_ms(), mark_wall_ms=wall_ms)
        first.follow(mark)
        second.follow(mark)
    assert abs(first.now_ms() - second.now_ms()) <= 1


async def test_a_gateway_does_not_begin_by_a_reading_that_was_long_on_its_way() -> None:
    assert await begun_behind_ms(2_000, 0) == 0


@pytest.mark.parametrize("trips_ms", [(900, 2_000, 300, 400, 2_000), (300, 2_000, 2_000, 2_000, 2_000)])
async def test_of_slow_readings_the_quickest_counts_and_is_taken_for_half_as_old_as_its_trip(
    trips_ms: tuple[int, ...],
) -> None:
    assert await begun_behind_ms(*trips_ms) == 150
