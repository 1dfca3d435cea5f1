"""What the operator tells: which endpoints exist, which workers exist, which of them shall drain.

Every push is level-triggered: the whole truth of its object, repeatable at any time. One that the store could not
apply raises `OperationFailed` and leaves what is remembered as it was, so that repeating it does what it did not.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping

from submodel.contract.internal import EndpointKey, EndpointRegistration, GoneWorker, WorkerPresence
from submodel.contract.wire import decode, encode
from submodel_gateway.auth.keys import Scope
from submodel_gateway.errors import GatewayError, InvalidRequest, Outdated, StoreError
from submodel_gateway.ratelimit import bucket
from submodel_gateway.service import canary
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.sharing import Sharing
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.words import newest
from submodel_gateway.store import base

DELETE_BATCH = 1_000
ENDED = "the endpoint was deleted"
UNHEARD_MS = 10_000
"""A living worker exchanges more often than this. A list that was long on its way, to a gateway that stood still, may
be older than a worker that was heard of since."""

GONE_KEPT_MS = 60_000
"""How long other gateways may take to hear that a worker ended."""

SEQ_MAX = 2**62
"""Above every job's number."""

LOOKS_PER_WINDOW = 200
"""How often the stores are asked in ten seconds for ids that are not known here: anybody can make some up."""


class Registry:
    """The operator's writes. `changed` and `deleted` tell the snapshots."""

    def __init__(
        self,
        stores: Stores,
        endpoints: Endpoints,
        clock: Clock,
        sharing: Sharing,
        changed: Callable[[EndpointState], None],
        deleted: Callable[[str], None],
    ) -> None:
        self._stores = stores
        self._endpoints = endpoints
        self._clock = clock
        self._sharing = sharing
        self._changed = changed
        self._deleted = deleted
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        """One writer per endpoint: a push that meets a deletion waits for its end."""

        self._looks = bucket.FULL

    def load(self, registrations: Mapping[str, bytes]) -> None:
        """Remember what a store remembers; called once for each, before anything of it is served."""
        for text in registrations.values():
            self._changed(self._endpoints.put(decode(text, EndpointRegistration), text))

    async def put(self, endpoint: str, registration: EndpointRegistration, text: bytes = b"") -> None:
        """Register an endpoint. Raises `InvalidRequest`, `Outdated`, `StoreError`.

        Another epoch is another endpoint of the same name: the jobs and workers of the one before end with it.

        Args:
            text: as it came, which is what is stored; gateways of a newer version may read more in it.
        """
        _check(endpoint, registration)
        async with self._locks[endpoint]:
            await self._put(endpoint, registration, text or encode(registration))

    async def _put(self, endpoint: str, registration: EndpointRegistration, text: bytes) -> None:
        known = self._endpoints.find(endpoint)
        if known is not None and _older(registration, known.registration):
            raise Outdated(
                f"generation {registration.generation} of endpoint {endpoint} is older than "
                f"{known.registration.generation}, which is in force"
            )
        if known is not None and known.registration.epoch != registration.epoch:
            await self._end_all(endpoint)
        if known is None:
            await self._stores.place(endpoint)
        if known is None or known.text != text:
            await self._stores.of(endpoint).one(base.PutEndpoint(endpoint=endpoint, registration=text))
            self._stores.found(endpoint, self._stores.name_of(endpoint))
            state = self._endpoints.put(registration, text)
            state.end_revoked()
            self._changed(state)
            await self._sharing.registered(endpoint)

    async def look_up(self, endpoint: str) -> None:
        """Ask for what another gateway was told a moment ago, before a caller hears that it is not there.

        Raises `StoreError` when a store that may know the endpoint does not answer.
        """
        for name, board in self._stores.boards().items():
            if not self._may_look():
                return
            try:
                if await board.registration(endpoint) is not None:
                    await self.learn(endpoint, name)
            except StoreError:
                if self._endpoints.find(endpoint) is None:
                    raise

    def _may_look(self) -> bool:
        decision, self._looks = bucket.take(self._looks, LOOKS_PER_WINDOW, 1, self._clock.now_ms() * bucket.MS_NS)
        return decision.allowed

    async def learn(self, endpoint: str, store: str) -> None:
        """Another gateway registered the endpoint in this store, or deleted it there. Raises `StoreError`."""
        board = self._stores.groups[store].store.board
        async with self._locks[endpoint]:
            stored = await board.registration(endpoint) if board is not None else None
            here = self._stores.found(endpoint, store) if stored else self._stores.name_of(endpoint) == store
            if not here:
                return
            known = self._endpoints.find(endpoint)
            registration = None if stored is None else decode(stored, EndpointRegistration)
            if known is not None and (registration is None or registration.epoch != known.registration.epoch):
                self._end_sessions(endpoint)
                self._deleted(endpoint)
            if registration is None:
                self._stores.forget(endpoint)
            if stored and registration is not None and (known is None or known.text != stored):
                state = self._endpoints.put(registration, stored)
                state.end_revoked()
                self._changed(state)

    async def delete(self, endpoint: str, epoch: str | None = None) -> None:
        """Forget an endpoint, its workers and, as cancelled, its jobs. An unknown one is fine.

        With `epoch`, only the one of that epoch: the id may have gone to another custom resource meanwhile.
        """
        async with self._locks[endpoint]:
            known = self._endpoints.find(endpoint)
            if known is None:
                await self._stores.place(endpoint)
            stored = await self._stored(endpoint)
            if (known is None and stored is None) or (stored and epoch not in (None, stored.epoch)):
                return
            await self._end_all(endpoint)
            delete = base.DeleteEndpoint(endpoint=endpoint, limit=DELETE_BATCH)
            while await self._stores.of(endpoint).one(delete) == base.Stored(more=True):
                pass
            await self._sharing.forget(endpoint)
            self._stores.forget(endpoint)
            self._deleted(endpoint)

    async def _stored(self, endpoint: str) -> EndpointRegistration | None:
        """What is in force, also by the word of another gateway that has not been heard of yet."""
        store, known = self._stores.at(endpoint), self._endpoints.find(endpoint)
        if store.board is None and known is not None:
            return known.registration
        stored = await store.board.registration(endpoint) if store.board else (await store.endpoints()).get(endpoint)
        return None if stored is None else decode(stored, EndpointRegistration)

    async def _end_all(self, endpoint: str) -> None:
        """Nobody reaches the endpoint any more; its workers hear so, and its jobs are cancelled.

        A job that is on its way to the store is ahead of the purge in the queue of operations, so it is caught too.
        """
        self._end_sessions(endpoint)
        purge = base.Purge(endpoint=endpoint, up_to=SEQ_MAX, limit=DELETE_BATCH, running=True, reason=ENDED)
        while base.changes(await self._stores.of(endpoint).one(purge)):
            pass

    def _end_sessions(self, endpoint: str) -> None:
        state = self._endpoints.find(endpoint)
        self._endpoints.remove(endpoint)
        for session in state.sessions.values() if state else ():
            session.end()

    async def put_workers(self, endpoint: str, workers: list[WorkerPresence], began_ms: int) -> None:
        """The workers that exist, as of a push that began at `began_ms`. Raises `NotFound`, `StoreError`.

        Clocks of operator and worker race: a worker may exchange before a list names it. So the list says *gone* only
        of a worker that an earlier list named, or that was not heard of for a while before the push began.
        """
        state = self._endpoints.get(endpoint)
        listed = {worker.worker: worker for worker in workers}
        async with state.pushes:
            holders = await self._stores.at(endpoint).holders(endpoint)
            # After the holders: whoever hands out a first job has told the others of its worker before.
            await self._sharing.look(endpoint)
            gone = _missing(state, listed, began_ms, self._clock.now_ms(), holders)
            await self._end(state, [GoneWorker(worker=name, reason="it no longer exists") for name in gone])
            await self._sharing.order(state, lambda: setattr(state, "presence", listed))
            for name in listed:
                if (known := state.sessions.get(name)) is not None and known.gone:
                    known.gone = False
            state.tell_drains()

    async def gone(self, endpoint: str, workers: Iterable[GoneWorker]) -> None:
        """These workers ended, or one session of theirs. Raises `NotFound`."""
        state = self._endpoints.get(endpoint)
        async with state.pushes:
            await self._end(state, list(workers))

    async def drain(self, endpoint: str, workers: Iterable[str]) -> None:
        """Hand these workers no more jobs and tell them so. Raises `NotFound`, `StoreError`."""
        state, names = self._endpoints.get(endpoint), set(workers)
        await self._sharing.order(state, lambda: state.draining.update(names))
        state.tell_drains()
        self._changed(state)

    async def undrain(self, endpoint: str, workers: Iterable[str]) -> None:
        """Take a drain back. Raises `NotFound`, `StoreError`."""
        state, names = self._endpoints.get(endpoint), set(workers)
        await self._sharing.order(state, lambda: state.draining.difference_update(names))
        state.tell_drains()
        self._changed(state)

    def _note_gone(self, state: EndpointState, names: set[str]) -> None:
        now = self._clock.now_ms()
        state.gone_at = {name: at for name, at in state.gone_at.items() if now - at < GONE_KEPT_MS}
        state.gone_at |= dict.fromkeys(names, now)
        state.draining -= names

    async def _end(self, state: EndpointState, workers: list[GoneWorker]) -> None:
        if not workers:
            return
        # One session that ended says nothing of the worker: another may have begun, here or at another gateway.
        names = {worker.worker for worker in workers if not worker.session}
        processes = {(worker.worker, worker.session) for worker in workers}
        ended = [
            session
            for session in state.sessions.values()
            if not session.gone and (session.worker in names or (session.worker, session.id) in processes)
        ]
        # Before the store: the jobs go back to the queue with its commit, and must not go to these workers again.
        for session in ended:
            session.end()
        try:
            await self._stores.of(state.id).all_of([_gone(state.id, worker) for worker in workers])
        except GatewayError:
            for session in ended:
                session.gone = False
            raise
        if names:
            await self._sharing.order(state, lambda: self._note_gone(state, names))
        self._changed(state)


def _missing(
    state: EndpointState, listed: Mapping[str, WorkerPresence], began_ms: int, now: int, holders: Iterable[str]
) -> list[str]:
    """Workers that a list which does not name them ends.

    `holders` have leases: one that neither came back since this process started nor is listed will never report.
    """
    seen = {word.worker: word.seen_ms for word in newest(state.elsewhere).values()}
    seen |= {
        session.worker: max(session.seen_ms(now), seen.get(session.worker, 0))
        for session in state.sessions.values()
        if not session.gone
    }
    known = [
        worker
        for worker, seen_ms in seen.items()
        if worker not in listed and (worker in state.presence or seen_ms < began_ms - UNHEARD_MS)
    ]
    silent = {*state.presence, *holders} - listed.keys() - state.sessions.keys() - seen.keys()
    return known + sorted(silent)


def _gone(endpoint: str, worker: GoneWorker) -> base.WorkerGone:
    reason = f"worker {worker.worker} ended: {worker.reason}"
    only = worker.session or None
    return base.WorkerGone(endpoint=endpoint, worker=worker.worker, reason=reason, only=only, charged=worker.charged)


def _older(registration: EndpointRegistration, known: EndpointRegistration) -> bool:
    """Generations count within one custom resource; a re-created namesake starts again."""
    return registration.epoch == known.epoch and registration.generation < known.generation


def _check(endpoint: str, registration: EndpointRegistration) -> None:
    if registration.endpoint_id != endpoint:
        raise InvalidRequest(f"endpointId {registration.endpoint_id!r} is not the id in the path, {endpoint!r}")
    if endpoint == canary.ENDPOINT:
        raise InvalidRequest(f"endpointId {endpoint!r} is the gateway's own; choose another")
    if registration.max_attempts < 1:
        raise InvalidRequest("maxAttempts must be at least 1")
    if registration.ttl_ms < 1 or registration.execution_timeout_ms < 0:
        raise InvalidRequest("ttlMs must be above 0, and executionTimeoutMs not below it (0 means no limit)")
    if min(registration.result_ttl_seconds, registration.sync_result_ttl_seconds) < 0:
        raise InvalidRequest("resultTtlSeconds and syncResultTtlSeconds must not be below 0")
    if registration.queued_max is not None and registration.queued_max < 1:
        raise InvalidRequest("queuedMax must be at least 1; leave it out for what workersMax allows")
    for key in registration.api_keys:
        _check_key(key)


def _check_key(key: EndpointKey) -> None:
    if not 1 <= len(key.id) <= 253:
        raise InvalidRequest("apiKeys: an id has 1 to 253 characters")
    if not re.fullmatch(r"[0-9a-f]{64}", key.sha256):
        raise InvalidRequest(f"apiKeys: sha256 of {key.id!r} must be 64 lower-case hexadecimal digits")
    if unknown := sorted(set(key.scopes) - set(Scope)):
        raise InvalidRequest(f"apiKeys: {key.id!r} has a scope {unknown[0]!r}; there are {' and '.join(Scope)}")
