"""The session that a worker's request belongs to: a process of a worker, found by its name and its session id."""

from collections.abc import Callable

from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import EndpointState
from submodel_gateway.service.session import FORMER_KEPT, Session
from submodel_gateway.service.sharing import Sharing
from submodel_gateway.service.stores import Stores
from submodel_gateway.store import base


class Sessions:
    """Finds sessions. `changed` is told of new ones."""

    def __init__(
        self, stores: Stores, clock: Clock, sharing: Sharing, changed: Callable[[EndpointState], None]
    ) -> None:
        self._stores = stores
        self._clock = clock
        self._sharing = sharing
        self._changed = changed

    async def of(self, state: EndpointState, new: Session, request: int | None = None) -> Session:
        """The session with the worker and id of `new`; when there is none, `new`, with what the store says it holds.

        A new one takes the name over and ends the jobs of the one before; a former one is told that it is gone.
        `request` is the number of the request that brought it. Raises `StoreError`, `Unavailable`.
        """
        known = state.sessions.get(new.worker)
        if known is not None and known.id == new.id:
            return known
        if known is not None and new.id in known.former:
            new.gone = True
            return new
        if known is not None:
            new.former = [*known.former, known.id][-FORMER_KEPT:]
            known.end()
        reason = f"worker {new.worker} was started again"
        gone = base.WorkerGone(endpoint=state.id, worker=new.worker, reason=reason, keep=new.id)
        await self._stores.of(state.id).one(gone)
        held = await self._stores.at(state.id).held(state.id, new.worker)
        current = state.sessions.get(new.worker)
        if current is not None and current.id == new.id:
            return current
        for job in held:
            new.hold(job, self._clock.now_ms(), request)
        new.began_ms = self._clock.now_ms()
        state.sessions[new.worker] = new
        self._changed(state)
        await self._sharing.arrived(state)
        return new
