"""When a request is sent again, and how long it is waited for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodel.client import calls
from submodel.client.answers import Answer, NoAnswer, Outcome
from submodel.client.limits import MARGIN_SECONDS, allowed_seconds, request_seconds, try_seconds
from submodel.client.retry import LONGEST_PAUSE_SECONDS, TRIES_MAX, pace_seconds, pause_seconds

RUN = calls.run("e", {}, "key")
PURGE = calls.purge_queue("e")
LOST = NoAnswer("cut")
NOT_SENT = NoAnswer("refused", carried_out=False)


@pytest.mark.parametrize(
    ("outcome", "run_again", "purge_again"),
    [
        (Answer(200, b""), False, False),
        (Answer(400, b""), False, False),
        (Answer(404, b""), False, False),
        (Answer(500, b""), False, False),
        (Answer(429, b""), True, True),
        (Answer(503, b""), True, True),
        (Answer(502, b""), True, False),
        (Answer(504, b""), True, False),
        (LOST, True, False),
        (NOT_SENT, True, True),
    ],
)
def test_what_may_have_been_carried_out_is_repeated_only_when_that_is_safe(
    outcome: Outcome, run_again: bool, purge_again: bool
) -> None:
    assert (pause_seconds(RUN, outcome, 1, 0.5) is not None) is run_again
    assert (pause_seconds(PURGE, outcome, 1, 0.5) is not None) is purge_again


def test_tries_are_bounded() -> None:
    assert pause_seconds(RUN, LOST, TRIES_MAX - 1, 0.5) is not None
    assert pause_seconds(RUN, LOST, TRIES_MAX, 0.5) is None


@given(tries=st.integers(1, TRIES_MAX - 1), chance=st.floats(0, 1))
def test_pauses_grow_and_spread_and_are_bounded(tries: int, chance: float) -> None:
    pause = pause_seconds(RUN, LOST, tries, chance)
    least, most = pause_seconds(RUN, LOST, tries, 0), pause_seconds(RUN, LOST, tries, 1)
    assert pause is not None
    assert least is not None
    assert most is not None
    assert 0 < least <= pause <= most == 2 * least <= LONGEST_PAUSE_SECONDS
    assert tries == 1 or most >= (pause_seconds(RUN, LOST, tries - 1, 1) or 0)


@given(named=st.floats(0, 1000), chance=st.floats(0, 1), tries=st.integers(1, TRIES_MAX - 1))
def test_the_time_that_the_gateway_names_is_kept(named: float, chance: float, tries: int) -> None:
    pause = pause_seconds(RUN, Answer(429, b"", named), tries, chance)
    assert pause is not None
    assert named <= pause <= named + 0.25


def test_a_server_that_does_not_hold_is_not_hammered() -> None:
    call = calls.stream("e", "j", 0)
    assert pace_seconds(call, held_for_seconds=0.1) > 0
    assert pace_seconds(call, held_for_seconds=call.hold_seconds) == 0
    assert pace_seconds(calls.status("e", "j"), held_for_seconds=0) == 0


def test_a_try_outlasts_the_time_it_is_held_and_not_the_call() -> None:
    call = calls.stream("e", "j", 0)
    assert call.hold_seconds < try_seconds(call, 1000) < 1000
    assert try_seconds(call, 3) == 3
    assert try_seconds(call, -1) > 0


def test_a_large_request_has_time_to_be_sent() -> None:
    small, large = calls.run("e", "x", "key"), calls.run("e", "x" * 10_000_000, "key")
    assert try_seconds(large, 1000) >= try_seconds(small, 1000) + 90
    assert request_seconds(large) > try_seconds(large, 1000)


def test_an_answer_that_is_due_when_the_callers_time_ends_is_still_read() -> None:
    call = calls.status_sync("e", "j", 4)
    assert allowed_seconds(call, 4) == 4 + MARGIN_SECONDS
    assert allowed_seconds(call, -1) == MARGIN_SECONDS
    assert allowed_seconds(call, 86_400) < 100
