"""The session that a worker's request belongs to: a process of a worker, found by its name and its session id.

A token that all workers of a revision share may come under any number of names, and each is remembered until it is
silent for long. So an endpoint has a bound of them, for names of which nothing else is known.
"""

import logging
from collections.abc import Callable

from submodel.contract import limits
from submodel_gateway.errors import Overloaded
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import EndpointState
from submodel_gateway.service.session import FORMER_KEPT, Session
from submodel_gateway.service.sharing import Sharing
from submodel_gateway.service.stores import Stores
from submodel_gateway.store import base

WORKERS_MAX = limits.ENDPOINT_WORKERS_MAX

log = logging.getLogger(__name__)


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
        `request` is the number of the request that brought it. Raises `StoreError`, `Unavailable`, and `Overloaded`
        for a name that nobody knows where there are too many.
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
        if _is_crowded(state, new) and not await self._stores.at(state.id).held(state.id, new.worker):
            raise _refusal(state)
        reason = f"worker {new.worker} was started again"
        gone = base.WorkerGone(endpoint=state.id, worker=new.worker, reason=reason, keep=new.id)
        await self._stores.of(state.id).one(gone)
        held = await self._stores.at(state.id).held(state.id, new.worker)
        current = state.sessions.get(new.worker)
        if current is not None and current.id == new.id:
            return current
        if not held and _is_crowded(state, new):  # others came meanwhile
            raise _refusal(state)
        for job in held:
            new.hold(job, self._clock.now_ms(), request)
        new.began_ms = self._clock.now_ms()
        state.crowded = False
        state.sessions[new.worker] = new
        self._changed(state)
        await self._sharing.arrived(state)
        return new


def _is_crowded(state: EndpointState, new: Session) -> bool:
    """Whether there is no place for this one; there always is for a worker that is known or that the operator lists."""
    known = new.worker in state.sessions or new.worker in state.presence
    return not known and len(state.sessions) >= WORKERS_MAX


def _refusal(state: EndpointState) -> Overloaded:
    text = f"endpoint {state.id} has {len(state.sessions)} workers, as many as the gateway lets in"
    if not state.crowded:
        state.crowded = True
        log.warning("%s; more of them are refused. Look for one that goes from name to name", text)
    seconds = limits.LEASE_MS // 1_000
    return Overloaded(
        f"{text}; let workers keep their names, one is free {seconds} seconds after its last word", seconds
    )
