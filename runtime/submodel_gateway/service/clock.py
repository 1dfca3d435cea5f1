"""The gateway's clock: wall time at the start, monotonic from there on; a step of the wall clock changes nothing."""

import time
from typing import Protocol


class Clock(Protocol):
    """Milliseconds since 1970, never going back."""

    def now_ms(self) -> int: ...


class MonotonicClock:
    """Starts at `start_ms` and runs with the machine's monotonic clock."""

    def __init__(self, start_ms: int) -> None:
        self._offset = start_ms - time.monotonic_ns() // 1_000_000

    def now_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000 + self._offset
