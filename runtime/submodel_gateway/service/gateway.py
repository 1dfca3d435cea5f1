"""The gateway put together: use cases, sweeper, and what a commit wakes."""

import asyncio
import secrets
from collections.abc import Callable, Iterable

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Transition
from submodel_gateway.service.clients import Clients
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState, Session
from submodel_gateway.service.registry import Registry
from submodel_gateway.service.snapshots import SnapshotFeed
from submodel_gateway.service.sweeper import Sweeper
from submodel_gateway.service.waiting import JobWatchers
from submodel_gateway.service.workers import Workers
from submodel_gateway.store.base import Store
from submodel_gateway.store.group import GroupCommit


class Gateway:
    """One gateway over one store. `start` before the first request, `close` after the last.

    Args:
        store: an open store; the gateway closes it.
        clock: milliseconds that never go back behind `store.last_now()`.
        random_bits: as `secrets.randbits`; a test may pass a seeded one.
    """

    def __init__(
        self, store: Store, clock: Clock, random_bits: Callable[[int], int] = secrets.randbits, boot: str | None = None
    ) -> None:
        self.clock = clock
        self.ready = False
        self._store = GroupCommit(store, clock.now_ms, self._committed)
        self._endpoints = Endpoints()
        self._watchers = JobWatchers()
        self.snapshots = SnapshotFeed(store, self._endpoints, clock, boot or f"{random_bits(64):016x}")
        self.clients = Clients(self._store, self._endpoints, self._watchers, clock, random_bits)
        self.workers = Workers(self._store, self._endpoints, clock, random_bits, self.snapshots.changed)
        self.registry = Registry(self._store, self._endpoints, clock, self.snapshots.changed, self.snapshots.deleted)
        self.sweeper = Sweeper(self._store, clock, self._swept)
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Learn the endpoints, give every lease its full length, begin to sweep. Raises `StoreError`."""
        self.registry.load()
        await self.sweeper.sweep()
        self._sweeping = asyncio.create_task(self.sweeper.run())
        self.ready = True

    def drain(self) -> None:
        """The process is going down: answer everything that is held, hand out nothing more."""
        self.ready = False
        self.workers.close()
        self._watchers.end_all()
        self.snapshots.end_all()

    async def close(self) -> None:
        """Finish the writes and let the store go."""
        self.drain()
        self.sweeper.stop()
        if self._sweeping is not None:
            await self._sweeping
        await self._store.close()

    def _committed(self, changes: Iterable[Transition]) -> None:
        now = self.clock.now_ms()
        touched: dict[str, None] = {}
        for change in changes:
            job = change.after or change.before
            if job is None:
                continue
            if _counts(change):
                touched[job.endpoint] = None
                self._tell_session(change, now)
            if change.after is None:
                self.clients.forget(job.id)
            self._watchers.wake(job.id)
        for endpoint in touched:
            state = self._endpoints.find(endpoint)
            if state is not None:
                self._wake_takers(state)
                self.snapshots.changed(state)

    def _tell_session(self, change: Transition, now: int) -> None:
        before, after = change.before, change.after
        if before is not None and (session := self._holder(before)) is not None:
            session.lose(before.id, now, stop=change.stop)
        if after is not None and (session := self._holder(after)) is not None:
            session.hold(after, now)

    def _holder(self, job: Job) -> Session | None:
        if job.state is not JobState.IN_PROGRESS:
            return None
        state = self._endpoints.find(job.endpoint)
        session = state.sessions.get(job.worker or "") if state else None
        return session if session and session.id == job.session else None

    def _wake_takers(self, state: EndpointState) -> None:
        state.wake_takers(self._store.store.tally(state.id).queued)

    def _swept(self, now: int) -> None:
        self.workers.expire_silent(now)
        for state in self._endpoints.all():
            self._wake_takers(state)


def _counts(change: Transition) -> bool:
    """Whether a tally or a session is different after it; heartbeats, chunks and progress change neither."""
    before, after = change.before, change.after
    return before is None or after is None or before.state is not after.state
