"""How long a worker waits before it asks a gateway again that is away, busy, or quicker than it should be. Pure."""

FIRST_SECONDS = 0.1
LONGEST_SECONDS = 5.0

EMPTY_PAUSE_SECONDS = (0.01, 1.0)
"""First and longest pause after a held request that came back early with nothing: no hot loop, whoever answers."""


def backoff_seconds(failures: int, jitter: float) -> float:
    """How long to wait after the n-th failure in a row (from 1); `jitter` in [0, 1) spreads it over half its length."""
    longest = min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(failures - 1, 16))
    return longest * (0.5 + jitter / 2)


def longer_pause(pause_seconds: float) -> float:
    """The pause after one of `pause_seconds` that changed nothing; 0 when there was none."""
    first, longest = EMPTY_PAUSE_SECONDS
    return min(longest, max(first, pause_seconds * 2))
