"""One job of a hosted platform, with everything of it that the platform has not taken yet. Pure; for `legacy_session`.

What waits of a job is posted one by one: the newest progress, then its chunks in order, and its result last.
"""

import math
from collections import deque
from dataclasses import dataclass, field

from submodel.serverless.outcome import Outcome


@dataclass(slots=True)
class LegacyLease:
    """A job that is here, until its result was taken."""

    id: str
    taken_at: float
    begun: bool = False
    stopped: bool = False
    """Ended by the platform: nothing of it is sent any more, but it is here until the handler returns."""

    outcome: Outcome | None = None
    chunks: deque[bytes] = field(default_factory=deque)
    progress: bytes | None = None
    size: int = 0
    """Bytes of `chunks`."""

    carried: bool = False
    """Whether a post of it is under way."""

    failures: int = 0
    unknown: int = 0
    retry_at: float = -math.inf

    @property
    def loaded(self) -> bool:
        """Whether there is something to post that is not under way."""
        waiting = self.outcome is not None or self.progress is not None or bool(self.chunks)
        return waiting and not self.carried and not self.stopped

    def clear(self) -> None:
        """Drop what was not delivered."""
        self.chunks.clear()
        self.progress, self.size = None, 0
