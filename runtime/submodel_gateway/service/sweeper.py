"""Expiry: limits, leases and retention, every second or at the next known deadline.

Time stops while nobody can renew a lease. The store remembers when it was last swept; a sweep after a longer gap (all
gateways were away, this one was frozen, the store did not answer) holds the jobs that run by then for another lease
before any of them may expire.
"""

import asyncio
import logging
from collections.abc import Callable

from submodel.contract import limits
from submodel_gateway.errors import StoreError
from submodel_gateway.service.clock import Clock, follow
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit

PERIOD_MS = 1_000
PERIOD_MS_MIN = 100
"""Results of a busy endpoint expire all the time: those of a moment go together."""

COUNT_MS = 2_000
"""How often it is looked how many gateways share the store."""

AWAY_MS = 5_000
BATCH = 256
"""Jobs of one transaction: others wait for it, and must not notice when a hundred thousand leases end at once."""

log = logging.getLogger(__name__)


class Sweeper:
    """Sweeps one store.

    Args:
        running: whether the store has running jobs, as far as this gateway knows.
        swept: called after each sweep: the moment to let waiting takes look at delayed jobs.
        answers: told after each try whether the store answered.
    """

    def __init__(
        self,
        store: GroupCommit,
        clock: Clock,
        running: Callable[[], bool],
        swept: Callable[[], None],
        answers: Callable[[bool], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._running = running
        self._swept = swept
        self._answers = answers
        self._seen_at = 0
        self._count_at = 0
        self.gateways = 1
        """How many gateways shared the store a moment ago."""

        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Sweep until `stop`."""
        while not self._stop.is_set():
            try:
                wait_ms = await self.sweep()
                self._answers(True)
            except StoreError as error:
                self._answers(False)
                log.error("expiry did not run, it will be tried again: %s", error)
                wait_ms = PERIOD_MS
            except Exception:
                # Without it no lease would ever end: it goes on, whatever it was.
                self._answers(False)
                log.exception("expiry did not run by a defect, it will be tried again")
                wait_ms = PERIOD_MS
            try:
                await asyncio.wait_for(self._stop.wait(), wait_ms / 1000)
            except TimeoutError:
                continue

    def stop(self) -> None:
        self._stop.set()

    async def sweep(self) -> int:
        """Let everything happen that is due now; returns the milliseconds until there may be more."""
        await follow(self._store.store.time, self._clock)
        due = await self._store.store.next_due()
        now = self._clock.now_ms()
        # While jobs run, each sweep leaves its mark; without any there is nothing to hold, and nothing is written.
        if self._running() or (due is not None and due <= now):
            sweep = base.Sweep(limit=BATCH, seen_at=self._seen_at, away_ms=AWAY_MS, hold_ms=limits.LEASE_MS)
            while len(base.changes(await self._store.one(sweep))) == BATCH:
                continue
            due = await self._store.store.next_due()
        self._seen_at = now
        if now >= self._count_at:
            self._count_at = now + COUNT_MS
            self.gateways = await self._store.store.gateways()
        self._swept()
        rest = PERIOD_MS if due is None else due - self._clock.now_ms()
        return max(PERIOD_MS_MIN, min(rest, PERIOD_MS))
