"""Expiry: limits, leases and retention, every second or at the next known deadline.

Time stops while nobody can renew a lease. When the sweeper itself was away for long (the process was frozen, the store
did not answer), or the process has just started, every lease gets its full length again before anything may expire.
"""

import asyncio
import logging
from collections.abc import Callable

from submodel.contract import limits
from submodel_gateway.errors import StoreError
from submodel_gateway.service.clock import Clock
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit

PERIOD_MS = 1_000
PERIOD_MS_MIN = 100
"""Results of a busy endpoint expire all the time: those of a moment go together."""

AWAY_MS = 5_000
BATCH = 1_000

log = logging.getLogger(__name__)


class Sweeper:
    """`swept` is called after each sweep: the moment to let waiting takes look at delayed jobs."""

    def __init__(self, store: GroupCommit, clock: Clock, swept: Callable[[int], None]) -> None:
        self._store = store
        self._clock = clock
        self._swept = swept
        self._last: int | None = None
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Sweep until `stop`."""
        while not self._stop.is_set():
            try:
                await self.sweep()
                wait_ms = self._wait_ms()
            except StoreError as error:
                log.error("expiry did not run, it will be tried again: %s", error)
                wait_ms = PERIOD_MS
            try:
                await asyncio.wait_for(self._stop.wait(), wait_ms / 1000)
            except TimeoutError:
                continue

    def stop(self) -> None:
        self._stop.set()

    async def sweep(self) -> None:
        """Let everything happen that is due now."""
        now = self._clock.now_ms()
        if self._last is None or now - self._last > AWAY_MS:
            await self._store.one(base.ExtendLeases(until=now + limits.LEASE_MS))
        while self._due(now):
            if len(base.changes(await self._store.one(base.Sweep(limit=BATCH)))) < BATCH:
                break
        self._last = now
        self._swept(now)

    def _due(self, now: int) -> bool:
        due = self._store.store.next_due()
        return due is not None and due <= now

    def _wait_ms(self) -> int:
        due = self._store.store.next_due()
        rest = PERIOD_MS if due is None else due - self._clock.now_ms()
        return max(PERIOD_MS_MIN, min(rest, PERIOD_MS))
