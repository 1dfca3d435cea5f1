"""Jumps of the clock on the wall, told from the monotonic one."""

import pytest

from submodel_operator.reconcile.steadiness import HOLD_SECONDS, Steadiness


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0, 5.0])
def test_a_clock_that_was_set_is_noticed_once_and_told_for_a_while(jump: float) -> None:
    steadiness = Steadiness()
    assert steadiness.look(1_000.0, 10.0) == 0
    assert steadiness.problem(10.0) is None
    assert steadiness.look(1_002.0 + jump, 12.0) == pytest.approx(jump)
    assert steadiness.look(1_003.0 + jump, 13.0) == 0
    assert steadiness.problem(13.0) is not None
    assert steadiness.seconds_until_steady(13.0) == HOLD_SECONDS - 1
    assert steadiness.problem(12.0 + HOLD_SECONDS) is None
    assert steadiness.seconds_until_steady(12.0 + HOLD_SECONDS) is None


def test_a_long_pause_and_a_clock_that_is_disciplined_are_no_jumps() -> None:
    steadiness = Steadiness()
    steadiness.look(1_000.0, 10.0)
    assert steadiness.look(100_004.0, 99_010.0) == 0
