"""What holds for every bucket, whoever takes from it and when."""

from hypothesis import given
from hypothesis import strategies as st

from submodel_gateway.ratelimit import bucket
from submodel_gateway.ratelimit.bucket import FULL, WINDOW_NS, Decision, take

LIMITS = st.integers(1, 5_000)
NOW = 1_700_000_000_000_000_000
PAUSES_NS = st.lists(st.one_of(st.integers(0, 3_000_000), st.integers(0, 2 * WINDOW_NS)), max_size=25)


def taken(limit: int, pauses_ns: list[int], costs: list[int]) -> list[tuple[int, int, Decision]]:
    """Instant, cost and decision of requests that come one after the other."""
    full_at_ns, now, seen = FULL, NOW, []
    for pause, cost in zip(pauses_ns, costs, strict=False):
        now += pause
        decision, full_at_ns = take(full_at_ns, limit, cost, now)
        seen.append((now, cost, decision))
    return seen


@given(LIMITS, PAUSES_NS, st.lists(st.integers(1, 7), min_size=25, max_size=25))
def test_no_span_of_time_lets_more_through_than_a_full_bucket_and_what_filled_it(
    limit: int, pauses_ns: list[int], costs: list[int]
) -> None:
    through = [(at, min(cost, limit)) for at, cost, decision in taken(limit, pauses_ns, costs) if decision.allowed]
    for first in range(len(through)):
        for last in range(first, len(through)):
            span = through[last][0] - through[first][0]
            assert sum(cost for _, cost in through[first : last + 1]) <= limit * (1 + span / WINDOW_NS) * 1.001


@given(LIMITS, PAUSES_NS, st.lists(st.integers(1, 7), min_size=25, max_size=25))
def test_what_it_says_of_itself_is_true(limit: int, pauses_ns: list[int], costs: list[int]) -> None:
    full_at_ns, now = FULL, NOW
    for pause, cost in zip(pauses_ns, costs, strict=False):
        now += pause
        decision, full_at_ns = take(full_at_ns, limit, cost, now)
        assert 0 <= decision.remaining <= limit
        if decision.remaining:
            assert take(full_at_ns, limit, decision.remaining, now)[0].allowed
        assert not take(full_at_ns, limit, decision.remaining + 1, now)[0].allowed or decision.remaining == limit
        assert take(full_at_ns, limit, limit, now + bucket.seconds(decision.full_in_ns) * bucket.SECOND_NS)[0].allowed
        if not decision.allowed:
            assert take(full_at_ns, limit, cost, now + decision.retry_in_ns)[0].allowed
            assert not take(full_at_ns, limit, cost, now + decision.retry_in_ns - 1)[0].allowed


@given(LIMITS, st.integers(1, 400), st.integers(0, WINDOW_NS))
def test_a_refusal_costs_nothing(limit: int, refused: int, pause: int) -> None:
    _, empty = take(FULL, limit, limit, NOW)
    full_at_ns = empty
    for _ in range(refused):
        decision, full_at_ns = take(full_at_ns, limit, 1, NOW)
        assert not decision.allowed
    assert take(full_at_ns, limit, 1, NOW + pause) == take(empty, limit, 1, NOW + pause)


@given(LIMITS, st.integers(1, 5_000))
def test_a_full_bucket_gives_exactly_its_limit_at_once(limit: int, cost: int) -> None:
    decision, full_at_ns = take(FULL, limit, cost, NOW)
    assert (decision.allowed, decision.remaining) == (True, max(0, limit - cost))
    given, rest = 0, full_at_ns
    while take(rest, limit, 1, NOW)[0].allowed and given <= limit:
        rest = take(rest, limit, 1, NOW)[1]
        given += 1
        if given > 200:
            return
    assert given == max(0, limit - cost)


@given(LIMITS, LIMITS, st.integers(0, WINDOW_NS))
def test_a_limit_that_changes_keeps_the_share_that_is_used(before: int, after: int, pause: int) -> None:
    _, full_at_ns = take(FULL, before, before, NOW)
    decision, _ = take(full_at_ns, after, 1, NOW + pause)
    part = WINDOW_NS // after
    assert decision.allowed or pause < part
    assert not decision.allowed or pause >= part - before


@given(st.integers(0, 10**13))
def test_a_clock_that_stands_or_steps_back_gives_nothing(back: int) -> None:
    _, full_at_ns = take(FULL, 5, 5, NOW)
    assert not take(full_at_ns, 5, 1, NOW - back)[0].allowed
