"""Sessions of workers with an SDK of the hosted platforms: one per name, alive as long as anything is heard of it.

Their pings come from a process of their own and renew what they list. From some images none ever come: such a worker
keeps its jobs as long as it asks for anything, or as the operator says that it runs.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from submodel.contract import limits
from submodel.contract.states import WorkerPhase
from submodel_gateway.errors import GatewayError
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import RUNNING, Endpoints, EndpointState
from submodel_gateway.service.legacy_memory import LegacyMemory
from submodel_gateway.service.session import Session
from submodel_gateway.service.sessions import Sessions
from submodel_gateway.service.stores import Stores
from submodel_gateway.store import base

SESSION_ID = "legacy"
"""These workers cannot tell one process from the next; a new process says that it runs nothing."""

RENEW_MS = 15_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """The worker that made a request."""

    state: EndpointState
    session: Session
    memory: LegacyMemory


class LegacySessions:
    """Finds and keeps the sessions of these workers. `changed` hears what is news for the operator."""

    def __init__(
        self,
        stores: Stores,
        endpoints: Endpoints,
        sessions: Sessions,
        clock: Clock,
        changed: Callable[[EndpointState], None],
    ) -> None:
        self._stores = stores
        self._endpoints = endpoints
        self._sessions = sessions
        self._clock = clock
        self._changed = changed
        self._tasks: set[asyncio.Task[None]] = set()

    def authorize(self, endpoint: str, token: str) -> None:
        """Check what can be checked before a body is read. Raises `NotFound`, `Unauthorized`."""
        self._endpoints.of_worker(endpoint, token)

    async def caller(self, endpoint: str, worker: str, token: str, sdk: str = "") -> Caller:
        """Who makes this request. Raises `NotFound`, `Unauthorized`, `StoreError`."""
        state, revision = self._endpoints.of_worker(endpoint, token)
        now = self._clock.now_ms()
        new = Session(worker, SESSION_ID, revision, last_seen_ms=now, idle_since_ms=now, legacy=LegacyMemory())
        session = await self._sessions.of(state, new)
        memory = session.legacy or LegacyMemory()
        memory.sdk = sdk or memory.sdk
        session.last_seen_ms = now
        if session.held:
            self.ready(state, session)
        if not memory.pinged:
            self._renew_soon(state, session, now)
        return Caller(state, session, memory)

    def ready(self, state: EndpointState, session: Session) -> None:
        """The worker has come up: it asks for jobs, or has some."""
        self._enter(state, session, WorkerPhase.READY, "")

    def unhealthy(self, state: EndpointState, session: Session, reason: str) -> None:
        """The worker failed its own checks and ends."""
        self._enter(state, session, WorkerPhase.UNHEALTHY, reason)

    def replace(self, state: EndpointState, session: Session, reason: str) -> None:
        """The worker gets nothing more; the operator replaces it when it holds nothing."""
        if not session.replace:
            log.info("worker %s of %s must be replaced: %s", session.worker, state.id, reason)
            session.replace = reason
            session.wake()
            self._changed(state)

    def renew_quiet(self) -> None:
        """Keep the jobs of workers that never ping and are known to run; called about once per second."""
        now = self._clock.now_ms()
        for state in self._endpoints.all():
            for session in state.sessions.values():
                presence = state.presence.get(session.worker)
                runs = presence is not None and presence.phase == RUNNING
                if session.legacy and not session.legacy.pinged and runs and not session.gone:
                    self._renew_soon(state, session, now)

    def _enter(self, state: EndpointState, session: Session, phase: WorkerPhase, reason: str) -> None:
        if (session.phase, session.reason) != (phase, reason):
            session.enter(phase, reason, self._clock.now_ms())
            self._changed(state)

    def _renew_soon(self, state: EndpointState, session: Session, now: int) -> None:
        due = {id: each for id, each in session.held.items() if now - each.renewed_at >= RENEW_MS}
        for holding in due.values():
            holding.renewed_at = now
        beats = [
            base.Heartbeat(endpoint=state.id, id=id, token=each.token, lease_ms=limits.LEASE_MS)
            for id, each in due.items()
        ]
        if beats:
            self._in_background(self._beat(state, beats))

    async def _beat(self, state: EndpointState, beats: list[base.Heartbeat]) -> None:
        try:
            await self._stores.of(state.id).many(beats)
        except GatewayError as error:
            log.warning("leases at %s were not renewed: %s", state.id, error)

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
