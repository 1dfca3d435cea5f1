"""What the database's clock shows at a moment, from what it showed when it was last asked."""

import time
from collections.abc import Callable

AGING = 0.001
"""By how much more two clocks may have gone apart, per time that has passed."""


class ServerClock:
    """Follows the readings of the database's clock; of each, only the half of its trip is uncertain.

    Used by the event loop and by the writer's thread: what is known is replaced as a whole.
    """

    def __init__(self, monotonic_ms: Callable[[], float] = lambda: time.monotonic_ns() / 1e6) -> None:
        self._monotonic_ms = monotonic_ms
        self._known: tuple[float, float, float] | None = None
        """How far it is ahead of the monotonic clock, by how much that may be wrong, and since when it is known."""

    def asking(self) -> float:
        """Call it before the database is asked; the result is for `hear`."""
        return self._monotonic_ms()

    def hear(self, asked_ms: float, wall_ms: float) -> None:
        """The database's clock showed `wall_ms` at some instant between `asking` and now."""
        now_ms = self._monotonic_ms()
        doubt_ms = (now_ms - asked_ms) / 2
        ahead_ms = wall_ms - (asked_ms + now_ms) / 2
        if self._known is not None:
            known_ms, known_doubt_ms, since_ms = self._known
            aged_ms = known_doubt_ms + (now_ms - since_ms) * AGING
            # A slow answer teaches nothing, unless it contradicts what is believed: then the clock was set.
            if doubt_ms > aged_ms and abs(ahead_ms - known_ms) <= doubt_ms + aged_ms:
                return
        self._known = ahead_ms, doubt_ms, now_ms

    def now_ms(self) -> float | None:
        """What it shows now; None before it was heard of."""
        known = self._known
        return None if known is None else self._monotonic_ms() + known[0]
