"""Notices that this process stood still: it was frozen, its node slept, or somebody blocked its event loop.

What came meanwhile lies in the sockets, requests before the ends of their connections. A caller that gave up while
nothing moved must not be handed a job, so whoever hands them out waits here until those ends have been read.
"""

import asyncio

from submodel_gateway.service.clock import Clock

TICK_SECONDS = 0.5
STALL_MS = 2_000
"""Callers are more patient than that: after a shorter pause nobody has given up."""

SETTLE_SECONDS = 0.05
"""Many turns of the event loop, each of which reads what the sockets have."""


class Stalls:
    """`begin` once, `end` when the process goes down. While it has not begun nothing is noticed."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ticked_at: int | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._settling: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Look from now on. On the running event loop."""
        self._ticked_at = self._clock.now_ms()
        self._timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def end(self) -> None:
        """Look no more; `over` returns at once from now on, unless it waits."""
        if self._timer is not None:
            self._timer.cancel()
        self._ticked_at = None

    async def over(self) -> None:
        """Returns at once, mostly; after a stall when the connections that ended in it are known to have ended."""
        if self._ticked_at is not None and self._clock.now_ms() - self._ticked_at >= STALL_MS:
            self._notice()
        if self._settling is not None:
            await asyncio.shield(self._settling)

    def _tick(self) -> None:
        # Timers may run before what the sockets have is read.
        if self._ticked_at is not None and self._clock.now_ms() - self._ticked_at >= STALL_MS:
            self._notice()
        self.begin()

    def _notice(self) -> None:
        self._ticked_at = self._clock.now_ms()
        if self._settling is None:
            self._settling = asyncio.get_running_loop().create_task(self._settle())

    async def _settle(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)  # noqa: TID251  # there is no event that says that nothing is left to read
        self._settling = None
