"""How many webhooks go where at once, and how long a host that fails is left alone."""

from submodel_gateway.webhooks.lanes import (
    AWAY_MS,
    AWAY_MS_MAX,
    DELAY_MS_MAX,
    DELAY_MS_MIN,
    FAILURES_MAX,
    Lane,
    ended,
    is_free,
    is_idle,
    postponed,
    started,
)

NOW = 5_000_000
EMPTY = Lane(slots=4)


def tried(lane: Lane, *, works: bool | None, now: int = NOW, took_ms: int = 100) -> Lane:
    return ended(started(lane), took_ms, now, works=works)


def failing(now: int = NOW) -> Lane:
    """A lane whose host has just failed once too often."""
    lane = EMPTY
    for _ in range(FAILURES_MAX):
        assert is_free(lane, now)
        lane = tried(lane, works=False, now=now)
    return lane


def test_a_lane_takes_as_many_as_it_has_slots() -> None:
    lane = EMPTY
    for _ in range(4):
        assert is_free(lane, NOW)
        lane = started(lane)
    assert not is_free(lane, NOW)
    assert is_free(ended(lane, 100, NOW, works=True), NOW)


def test_a_host_that_fails_in_a_row_is_left_alone() -> None:
    lane = failing()
    assert not is_free(lane, NOW + AWAY_MS - 1)
    assert is_free(lane, NOW + AWAY_MS)


def test_a_success_in_between_starts_the_row_again() -> None:
    lane = EMPTY
    for _ in range(FAILURES_MAX):
        lane = tried(lane, works=False)
        lane = tried(lane, works=True)
    assert is_free(lane, NOW)


def test_what_never_asked_the_host_says_nothing_about_it() -> None:
    lane = EMPTY
    for _ in range(3 * FAILURES_MAX):
        lane = tried(lane, works=None, took_ms=9_999)
    assert lane == EMPTY


def test_after_its_pause_a_host_is_tried_with_one_at_a_time() -> None:
    probing = started(failing())
    assert not is_free(probing, NOW + AWAY_MS)
    works = ended(probing, 100, NOW + AWAY_MS, works=True)
    assert is_free(started(works), NOW + AWAY_MS)


def test_each_probe_that_fails_doubles_the_pause_up_to_a_limit() -> None:
    lane, now, pauses = failing(), NOW, []
    for _ in range(12):
        pauses.append(lane.away_until - now)
        now = lane.away_until
        lane = tried(lane, works=False, now=now)
    assert pauses[:4] == [AWAY_MS, 2 * AWAY_MS, 4 * AWAY_MS, 8 * AWAY_MS]
    assert max(pauses) == AWAY_MS_MAX == pauses[-1]


def test_tries_that_were_under_way_when_the_host_was_given_up_do_not_lengthen_its_pause() -> None:
    lane = EMPTY
    for _ in range(FAILURES_MAX + 3):
        lane = started(lane)
    for _ in range(FAILURES_MAX + 3):
        lane = ended(lane, 10_000, NOW, works=False)
    assert (lane.sending, lane.away_until) == (0, NOW + AWAY_MS)


def test_what_is_postponed_is_spread_over_the_time_that_the_lane_needs() -> None:
    lane = Lane(slots=4, pace_ms=2_000)
    delays = []
    for _ in range(3):
        delay_ms, lane = postponed(lane, NOW)
        delays.append(delay_ms)
    assert delays == [501, 1_002, 1_503]
    for _ in range(1_000):
        delay_ms, lane = postponed(lane, NOW)
    assert delay_ms == DELAY_MS_MAX
    delay_ms, _ = postponed(Lane(slots=4, pace_ms=0), NOW)
    assert delay_ms == DELAY_MS_MIN


def test_what_is_postponed_comes_after_the_pause_of_the_host() -> None:
    first, lane = postponed(failing(), NOW)
    second, _ = postponed(lane, NOW)
    assert AWAY_MS < first < second < AWAY_MS + 1_000


def test_the_pace_follows_the_tries() -> None:
    lane = EMPTY
    for _ in range(30):
        lane = tried(lane, works=True, took_ms=4_000)
    assert 3_900 < lane.pace_ms <= 4_000


def test_a_quiet_lane_is_forgotten_and_a_failing_one_after_a_while() -> None:
    assert is_idle(EMPTY, NOW)
    assert not is_idle(started(EMPTY), NOW)
    _, booked = postponed(EMPTY, NOW)
    assert not is_idle(booked, NOW)
    assert is_idle(booked, booked.booked_until)
    lane = failing()
    assert not is_idle(lane, lane.away_until)
    assert is_idle(lane, lane.away_until + AWAY_MS_MAX)
