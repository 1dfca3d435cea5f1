"""How long a worker waits for a gateway that is away."""

from hypothesis import given
from hypothesis import strategies as st

from submodel.serverless.backoff import FIRST_SECONDS, LONGEST_SECONDS, backoff_seconds

jitters = st.floats(0, 1, exclude_max=True)


def test_each_failure_doubles_the_wait_up_to_the_longest() -> None:
    waits = [backoff_seconds(failures, 0.0) for failures in range(1, 10)]
    assert waits[:4] == [FIRST_SECONDS / 2 * factor for factor in (1, 2, 4, 8)]
    assert waits[-2:] == [LONGEST_SECONDS / 2] * 2


@given(st.integers(1, 10**9), jitters)
def test_a_wait_is_spread_over_its_upper_half(failures: int, jitter: float) -> None:
    wait, shortest = backoff_seconds(failures, jitter), backoff_seconds(failures, 0.0)
    assert shortest <= wait <= 2 * shortest <= LONGEST_SECONDS
