"""Notices when the clock on the wall jumps: ages that are reckoned from it are wrong then, for a while.

The monotonic clock tells: both should have moved by the same. Pods' ages come from the wall clock and the API server's
instants, so after a jump nobody is let go and nobody is replaced for being late, until things have been seen anew.
"""

from typing import Final

from submodel_operator.api.conditions import Reason
from submodel_operator.diagnosis import Problem, problem

JUMP_SECONDS: Final = 5.0
"""A clock that is disciplined moves by less between two looks."""

HOLD_SECONDS: Final = 60.0


class Steadiness:
    """One for all endpoints: it is the process's clock. Times are in seconds."""

    def __init__(self) -> None:
        self._last: tuple[float, float] | None = None
        self._jumped: tuple[float, float] | None = None
        """When, by the monotonic clock, and by how much."""

    def look(self, wall: float, monotonic: float) -> float:
        """By how much the wall clock has jumped since the last look; 0 when it has not."""
        before, self._last = self._last, (wall, monotonic)
        if before is None:
            return 0.0
        jump = (wall - before[0]) - (monotonic - before[1])
        if abs(jump) < JUMP_SECONDS:
            return 0.0
        self._jumped = monotonic, jump
        return jump

    def problem(self, monotonic: float) -> Problem | None:
        """What to tell as long as nobody is let go for it."""
        if self._jumped is None or self.seconds_until_steady(monotonic) is None:
            return None
        way = "forward" if self._jumped[1] > 0 else "back"
        words = f"the operator's clock was set {way} by {abs(self._jumped[1]):.0f} s: no worker goes for a minute"
        return problem(Reason.CLOCK_JUMPED, words)

    def seconds_until_steady(self, monotonic: float) -> float | None:
        """When workers may go again; None when they may."""
        if self._jumped is None:
            return None
        left = self._jumped[0] + HOLD_SECONDS - monotonic
        return left if left > 0 else None
