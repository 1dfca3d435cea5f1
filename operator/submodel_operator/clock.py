"""Time, at the edge: the only module of the operator that reads the clock or waits for it."""

import asyncio
import time


class SystemClock:
    """`ports.Clock` of a real process."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never jump."""
        return time.monotonic()


async def pause(seconds: float) -> None:
    """Wait between two tries."""
    await asyncio.sleep(seconds)
