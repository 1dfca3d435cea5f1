"""A job of the gateway's own that goes the way of all jobs: submitted, taken, finished, removed.

It shows what no probe of a part can show: that this process moves jobs through this store. One moves at the start,
before the gateway is ready, and then one per minute and store: three commits and a sweep, a millisecond or two of a
processor per minute. A probe that moved one each time would write six times as often, and nothing at all while nobody
probes.

A gateway that is not ready gets no connections. Where all of them share a store that is away, that would turn workers
away which are held otherwise (`legacy_posts`), and unmodified SDKs throw a result away at the first refused
connection. So a canary that does not move counts only when workers are not held any longer either. A store that is
full keeps the gateway ready: jobs that are there go on, and results can be read.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from submodel_gateway.errors import GatewayError, StoreFull
from submodel_gateway.jobs.ids import job_id
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service.clock import Clock
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit

ENDPOINT = "~canary"
"""No registered endpoint has this name: Kubernetes takes no such one. So no caller finds it, and no list shows it."""

PERIOD_MS = 60_000
RETRY_MS = 5_000
PATIENCE_MS = PERIOD_MS + 120_000
"""A period, and the time for which results of workers wait for a store that is away."""

TRIES = 8
TAKE_MAX = 16
"""Other gateways' canaries, and those that a killed gateway left behind, are finished along with its own."""

LIFE_MS = 60_000
LEASE_MS = 10_000
WORKER = "canary"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sight:
    """What is known of one store's canary. Instants are milliseconds of the store's clock."""

    store: str
    moved_at: int | None
    took_seconds: float | None
    trouble: str
    """Why the newest one did not move; empty when it did."""


class Canary:
    """The canaries of one store; `store_label` is what the metrics call it. `begin` before anybody asks for `ready`."""

    def __init__(
        self,
        store: GroupCommit,
        store_label: str,
        clock: Clock,
        measures: Measures,
        random_bits: Callable[[int], int],
    ) -> None:
        self._store = store
        self._label = store_label
        self._clock = clock
        self._measures = measures
        self._random_bits = random_bits
        self._session = f"{random_bits(64):016x}"
        self._sight = Sight(store_label, None, None, "")
        self._begun = False
        self._stop = asyncio.Event()
        self._flying: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Let the first one go, and one per minute from then on."""
        self._begun = True
        await self.fly()
        self._flying = asyncio.create_task(self._run())

    async def close(self) -> None:
        """No more; before the store is closed."""
        self._stop.set()
        if self._flying is not None:
            await self._flying

    def sight(self) -> Sight:
        """How the newest one fared."""
        return self._sight

    def unready(self) -> str:
        """Why the gateway must not be asked for anything, in words; empty while nothing speaks against it."""
        moved_at = self._sight.moved_at
        if not self._begun or (moved_at is not None and self._clock.now_ms() - moved_at < PATIENCE_MS):
            return ""
        trouble = self._sight.trouble or "the last one is still under way"
        since = "yet" if moved_at is None else f"for {(self._clock.now_ms() - moved_at) // 1_000} seconds"
        return f"no job has moved through store {self._label} {since}: {trouble}"

    async def fly(self) -> None:
        """Let one go and note how it fares."""
        began = time.perf_counter()
        try:
            trouble = await self._move()
        except StoreFull:
            trouble = ""  # it answers, and says so to those who bring new jobs
        except GatewayError as error:
            trouble = str(error)
        except Exception as error:
            log.exception("the canary failed by a defect")
            trouble = f"{type(error).__name__}: {error}"
        took = time.perf_counter() - began
        if trouble:
            self._measures.count(table.CANARY_FAILURES, (self._label,))
            if not self._sight.trouble:
                log.error("no job moves through store %s: %s", self._label, trouble)
            self._sight = Sight(self._label, self._sight.moved_at, self._sight.took_seconds, trouble)
            return
        if self._sight.trouble:
            log.info("jobs move through store %s again", self._label)
        self._measures.observe(table.CANARY_SECONDS, took, (self._label,))
        self._sight = Sight(self._label, self._clock.now_ms(), took, "")

    async def _run(self) -> None:
        while not self._stop.is_set():
            wait_ms = RETRY_MS if self._sight.trouble else PERIOD_MS
            try:
                await asyncio.wait_for(self._stop.wait(), wait_ms / 1000)
            except TimeoutError:
                await self.fly()

    async def _move(self) -> str:
        """Returns why the job did not move. Raises `StoreError`, `Unavailable`."""
        id = job_id(self._clock.now_ms(), self._random_bits(74))
        submitted = await self._store.one(
            base.Submit(
                id=id,
                endpoint=ENDPOINT,
                input=b"null",
                max_attempts=1,
                execution_timeout_ms=LIFE_MS,
                ttl_ms=LIFE_MS,
                retention_ms=0,
            )
        )
        if isinstance(submitted, base.Refused):
            return "" if submitted.reason is Reason.FULL else f"it was not stored: {submitted.reason}"
        for _ in range(TRIES):
            ended = await self._finish_some()
            if id in ended:
                return ended[id]
            job = await self._store.store.job(ENDPOINT, id)
            if job is None or job.worker is not None:
                return ""  # another gateway's canary took it along
        return "it was never handed out"

    async def _finish_some(self) -> dict[str, str]:
        """Take what there is and finish it: by job, why that did not work."""
        take = base.Take(
            endpoint=ENDPOINT,
            worker=WORKER,
            session=self._session,
            limit=TAKE_MAX,
            nonce=self._random_bits(63),
            lease_ms=LEASE_MS,
        )
        taken = await self._store.one(take)
        jobs = [lease.job for lease in taken.leases] if isinstance(taken, base.Taken) else []
        finishes = [base.Finish(endpoint=ENDPOINT, id=job.id, token=job.token, output=b"null") for job in jobs]
        outcomes = await self._store.all_of(finishes) if finishes else []
        return {job.id: _refusal(outcome) for job, outcome in zip(jobs, outcomes, strict=True)}


def _refusal(outcome: base.Outcome) -> str:
    return f"its result was not taken: {outcome.reason}" if isinstance(outcome, base.Refused) else ""
