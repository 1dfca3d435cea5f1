"""Which of several operators acts: the holder of a Lease. Pure; the requests are made by `kube.lease`.

Nobody compares clocks. Who waits measures, on its own monotonic clock, how long the holder's last renewal has stood
there unchanged; who holds measures from when its last renewal that went through was begun, and stops acting well
before anybody else may begin. With D the duration of the Lease and P = D / 7.5: a holder renews every P and stops at
2/3 D; who waits looks every P and takes over 1.5 P before D is over. So between the last act of the one and the first
of the other lie at least D / 3 - 1.5 P, and from the death of the one to the takeover less than D passes.
"""

from dataclasses import dataclass, replace
from typing import Final

PERIODS: Final = 7.5
HELD_SHARE: Final = 2 / 3
LOOKS_AHEAD: Final = 1.5


@dataclass(frozen=True, slots=True)
class Record:
    """The Lease as it was read."""

    holder: str
    """Empty when the last holder has let go."""

    mark: str
    """Changes with every renewal."""

    duration_seconds: float


@dataclass(frozen=True, slots=True)
class Memory:
    """What one operator knows from before; the instants are of its own monotonic clock."""

    mark: str = ""
    seen_at: float = 0.0
    """When the mark was first seen."""

    renewed_at: float | None = None
    """When the last write of its own that went through was begun; None while it does not hold the Lease."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One operator that would act."""

    name: str
    duration_seconds: float

    @property
    def period_seconds(self) -> float:
        """How often it looks, and renews."""
        return self.duration_seconds / PERIODS

    def left_seconds(self, memory: Memory, now: float) -> float:
        """For how long it holds the Lease for certain; not above 0 when it does not."""
        renewed_at = memory.renewed_at
        return 0.0 if renewed_at is None else renewed_at + HELD_SHARE * self.duration_seconds - now

    def look(self, record: Record | None, memory: Memory, now: float) -> tuple[bool, float, Memory]:
        """Whether to write its own name into the Lease now, else after how many seconds to look again."""
        if record is None or record.holder in ("", self.name):
            return True, 0.0, memory
        if record.mark != memory.mark:
            memory = replace(memory, mark=record.mark, seen_at=now, renewed_at=None)
        patience = record.duration_seconds * (1 - LOOKS_AHEAD / PERIODS)
        left = memory.seen_at + patience - now
        return left <= 0, max(0.0, min(self.period_seconds, left)), memory


def wrote(memory: Memory, began_at: float) -> Memory:
    """A write of its own that was begun at `began_at` went through."""
    return replace(memory, renewed_at=began_at)
