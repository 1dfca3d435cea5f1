"""What the operator hears: a snapshot per endpoint that changed, by a long poll with a version.

Demand that meets no capacity is told at once: it is the wake-up from zero. Everything else is put together, so that a
busy gateway answers a handful of times per second. A reader that lost its place gets everything.
"""

import asyncio

from submodel.contract.internal import EndpointSnapshot, Snapshots, WorkerView, fingerprint
from submodel.contract.states import WorkerPhase
from submodel_gateway.errors import StoreAway, StoreError
from submodel_gateway.service import words
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.session import Session
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.waiting import Hangup, Hold
from submodel_gateway.store import base

COALESCE_MS = 200
SHARED_BOOT = "shared"
LAG_MS = 3_000
"""Where gateways share a store, a version is an instant of their common clock, and a reader may come from another one:
it also gets what changed this long before its version, because one gateway hears of a change later than another."""


_NOBODY_WAITS = base.Backlog()


class SnapshotFeed:
    """Versions of what the operator sees.

    Args:
        boot: random per process start; versions belong to it. Not asked for where gateways share all of their stores.
    """

    def __init__(self, stores: Stores, endpoints: Endpoints, clock: Clock, boot: str) -> None:
        self._shared = all(group.store.shared for group in stores.groups.values())
        self._stores = stores
        self._endpoints = endpoints
        self._clock = clock
        self._boot = SHARED_BOOT if self._shared else boot
        self._version = 1
        self._urgent_version = 0
        self._deleted: dict[str, int] = {}
        self._answered_at = 0
        self._holds: dict[Hold, None] = {}
        self._over = False

    def changed(self, state: EndpointState) -> None:
        """Something that a snapshot shows is different."""
        self._advance()
        state.version = self._version
        self._deleted.pop(state.id, None)
        urgent = self._urgent(state)
        if urgent and not state.urgent:
            self._urgent_version = state.urgent_version = self._version
        state.urgent = urgent
        self._wake()

    def deleted(self, endpoint: str) -> None:
        """The endpoint is gone."""
        self._advance()
        self._deleted[endpoint] = self._version
        self._wake()

    async def read(self, since: int, boot: str | None, wait_ms: int, hangup: Hangup) -> Snapshots:
        """What changed after version `since`, held up to `wait_ms` for it; everything for a reader without a place."""
        limit = self._clock.now_ms() + LAG_MS if self._shared else self._version
        if boot not in (None, self._boot) or since > limit:
            since = 0
        with Hold(wait_ms, hangup) as hold:
            self._holds[hold] = None
            if self._over:
                hold.end()
            try:
                await self._until_news(since, hold)
            finally:
                self._holds.pop(hold, None)
        return await self._snapshots(since)

    def end_all(self) -> None:
        """Answer every reader now, and those that come from now on at once: the gateway goes down."""
        self._over = True
        for hold in self._holds:
            hold.end()

    async def _until_news(self, since: int, hold: Hold) -> None:
        loop = asyncio.get_running_loop()
        while since > 0 and not hold.ended and self._urgent_version <= since:
            timer: asyncio.TimerHandle | None = None
            if self._version > since:
                rest_ms = self._answered_at + COALESCE_MS - self._clock.now_ms()
                if rest_ms <= 0:
                    return
                timer = loop.call_later(rest_ms / 1000, hold.wake)
            await hold.woken()
            if timer is not None:
                timer.cancel()

    async def _snapshots(self, since: int) -> Snapshots:
        now = self._answered_at = self._clock.now_ms()
        version = max(since, self._version) if self._shared else self._version
        since = max(0, since - LAG_MS) if self._shared else since
        states = [
            state
            for state in self._endpoints.all()
            if since == 0 or state.version > since or self._stores.tally(state.id).queued
        ]
        by_store: dict[str, list[EndpointState]] = {name: [] for name in self._stores.groups}
        for state in states:
            by_store[self._stores.name_of(state.id)].append(state)
        parts = await asyncio.gather(*(self._of_store(name, part, now) for name, part in by_store.items()))
        failed = {name: part for name, part in zip(by_store, parts, strict=True) if isinstance(part, StoreError)}
        if len(failed) == len(parts):
            raise next(iter(failed.values()))
        return Snapshots(
            boot=self._boot,
            version=version,
            now_ms=now,
            endpoints=[each for part in parts if not isinstance(part, StoreError) for each in part],
            deleted=[endpoint for endpoint, version in self._deleted.items() if version > since > 0],
            unknown=[id for id in self._endpoints.ids() if self._stores.name_of(id) in failed],
            known=sum(fingerprint(state.id, state.in_force) for state in self._endpoints.all()),
        )

    async def _of_store(self, name: str, states: list[EndpointState], now: int) -> list[EndpointSnapshot] | StoreError:
        """Snapshots of endpoints of one store, or why there are none."""
        if name in self._stores.away and len(self._stores.groups) > 1:
            # Known to be: asked again, it would let the endpoints of the others wait for it.
            return StoreAway(f"the job store {name} does not answer")
        try:
            queues = {state.id: self._late_at(state) for state in states if self._waits(state)}
            backlogs = await self._stores.backlogs(queues)
            return [await self._snapshot(state, backlogs.get(state.id, _NOBODY_WAITS), now) for state in states]
        except StoreError as error:
            return error

    def _waits(self, state: EndpointState) -> bool:
        """Whether more is to be known than the counters tell."""
        tally = self._stores.tally(state.id)
        return bool(tally.queued or (tally.in_progress and tally.arrived_low))

    def _late_at(self, state: EndpointState) -> int | None:
        """When the youngest of the jobs was accepted that wait too long."""
        after_ms = state.registration.late_after_ms
        return None if after_ms is None else self._stores.now_ms(state.id) - after_ms

    async def _snapshot(self, state: EndpointState, backlog: base.Backlog, now: int) -> EndpointSnapshot:
        registration = state.registration
        tally = self._stores.tally(state.id)
        ahead = self._stores.now_ms(state.id) - now
        return EndpointSnapshot(
            endpoint_id=state.id,
            owner=registration.owner,
            registration=state.in_force,
            queued=tally.queued,
            queued_low_priority=0 if backlog.usual is None else max(0, tally.queued - backlog.usual),
            late=backlog.late,
            in_progress=tally.in_progress,
            in_progress_low_priority=backlog.running_low,
            oldest_queued_ms=None if backlog.oldest_at is None else backlog.oldest_at - ahead,
            arrived_total=tally.arrived,
            arrived_low_priority_total=tally.arrived_low,
            completed_total=tally.completed,
            failed_total=tally.failed + tally.timed_out,
            execution_ms_p95=state.run_ms_p95(),
            workers=await self._views(state, tally.in_progress),
        )

    def _advance(self) -> None:
        self._version = max(self._version + 1, self._clock.now_ms()) if self._shared else self._version + 1

    async def _views(self, state: EndpointState, in_progress: int) -> list[WorkerView]:
        """The workers that were heard of; those that hold jobs all the same; those that will get none when they come.

        After a start of this process the workers that run jobs have yet to come back: what they hold is in the store.
        """
        if self._shared:
            return await self._shared_views(state)
        views = [_view(state, each) for each in state.sessions.values() if not each.gone]
        all_told = in_progress <= sum(view.running for view in views)
        holders = {} if all_told else await self._stores.at(state.id).holders(state.id)
        unheard = sorted((holders.keys() | state.draining) - {view.worker for view in views})
        return views + [_unheard(state, name, holders.get(name, 0)) for name in unheard]

    async def _shared_views(self, state: EndpointState) -> list[WorkerView]:
        now = self._clock.now_ms()
        here = [state.word(each, now) for each in state.sessions.values() if not each.gone]
        said = [*here, *state.elsewhere]
        holders = await self._stores.at(state.id).holders(state.id)
        unheard = sorted((holders.keys() | state.draining) - {word.worker for word in said})
        return words.views(said, holders) + [_unheard(state, name, holders.get(name, 0)) for name in unheard]

    def _urgent(self, state: EndpointState) -> bool:
        usable = any(session.usable and not state.drains(session) for session in state.sessions.values())
        usable = usable or any(word.usable for word in state.elsewhere)
        return not usable and self._stores.tally(state.id).queued > 0

    def _wake(self) -> None:
        for hold in self._holds:
            hold.wake()


def _unheard(state: EndpointState, name: str, running: int) -> WorkerView:
    return WorkerView(
        worker=name,
        revision=state.presence[name].revision if name in state.presence else "",
        phase=WorkerPhase.READY if running else WorkerPhase.STARTING,
        running=running,
        draining=name in state.draining,
    )


def _view(state: EndpointState, session: Session) -> WorkerView:
    return WorkerView(
        worker=session.worker,
        revision=session.revision,
        phase=session.phase,
        # A drained worker is removed as soon as it holds nothing: a take that is under way may still bring it a job.
        running=len(session.held) + (session.taking if state.drains(session) else 0),
        draining=state.drains(session),
        idle_since_ms=session.idle_since_ms,
        reason=session.replace or session.reason,
        replace=bool(session.replace),
        startup=session.startup,
        session=session.id,
        asked_ms=session.asked_ms,
        completed=session.completed,
        failed=session.failed,
    )
