"""Jobs on their way to a worker, and back when nobody will read the answer that carries them."""

import logging
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence

from msgspec.structs import replace

from submodel.contract import limits
from submodel_gateway.errors import OperationFailed
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.payloads import Payloads, fetched_bytes_at_most
from submodel_gateway.service.session import Session
from submodel_gateway.service.stalls import Stalls
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.unread import Pile, Unread
from submodel_gateway.store import base
from submodel_gateway.tracing.spans import Spans, carried, of_extra

TAKE_MAX = 256
"""Jobs per answer at most."""

ROOM_SECONDS = 10.0
"""How long a leased job waits for room in memory; its lease is longer."""

log = logging.getLogger(__name__)


def workers_of(endpoint: str) -> Hashable:
    """The owner of bytes that come from an endpoint's workers, or go to them."""
    return "workers", endpoint


class Takes:
    """Leases jobs to sessions. Set `closing` when the process goes down: nothing is handed out any more."""

    def __init__(
        self,
        stores: Stores,
        payloads: Payloads,
        endpoints: Endpoints,
        random_bits: Callable[[int], int],
        changed: Callable[[EndpointState], None],
        stalls: Stalls,
        undelivered: Unread,
        spans: Spans | None = None,
    ) -> None:
        self._stores = stores
        self._payloads = payloads
        self._endpoints = endpoints
        self._random_bits = random_bits
        self._changed = changed
        self.stalls = stalls
        """Waited for before each take, and after it: the stall may have come while it was on its way."""

        self._undelivered = undelivered
        undelivered.freed = self._freed
        self._denied: set[str] = set()
        """Endpoints that were denied a take for what they have to read."""

        self._spans = spans or Spans()
        self.closing = False

    def operation(self, state: EndpointState, session: Session, limit: int) -> base.Take | None:
        """The take of up to `limit` jobs; None when there is none to be made.

        There is none either while the endpoint's workers have more than their share of answers to read: those are in
        this process's memory, and workers may be anybody's. Its takers are woken once that has changed.
        """
        if self.closing or not limit or self._endpoints.find(state.id) is not state:
            return None
        limit = min(limit, TAKE_MAX)
        if not self._undelivered.may_hold(workers_of(state.id), _bytes_at_most(limit)):
            self._denied.add(state.id)
            return None
        return base.Take(
            endpoint=state.id,
            worker=session.worker,
            session=session.id,
            limit=limit,
            nonce=self._random_bits(63),
            lease_ms=limits.LEASE_MS,
            max_bytes=int(base.TAKE_BYTES / state.swelling),
        )

    async def applied(
        self, state: EndpointState, session: Session, take: base.Take, before: Sequence[base.Operation] = ()
    ) -> list[base.Outcome]:
        """The outcomes of operations and of a take after them; until they are back, `session` may hold more."""
        reserved = _bytes_at_most(take.limit)
        self._undelivered.hold(workers_of(state.id), reserved)
        session.taking += 1
        try:
            outcomes = await self._stores.of(state.id).many([*before, take])
            await self.stalls.over()
            return outcomes
        finally:
            self._undelivered.leave(workers_of(state.id), reserved)
            session.taking -= 1
            if state.drains(session):
                self._changed(state)

    def _freed(self) -> None:
        for id in [id for id in self._denied if self._undelivered.may_hold(workers_of(id), base.BLOB_BYTES)]:
            self._denied.remove(id)
            if (state := self._endpoints.find(id)) is not None:
                state.wake_takers(self._stores.tally(id).queued)

    async def whole(
        self, state: EndpointState, leases: Iterable[base.Lease], session: Session
    ) -> tuple[base.Lease, ...]:
        """The leases with their inputs as clients sent them, less those that ended meanwhile and took theirs along.

        A store bounds a take by the bytes that it keeps. What is too much once it is unpacked goes back, uncharged, as
        does what there is no room for.
        """
        rest, pile = deque(leases), Pile(self._undelivered, workers_of(state.id))
        try:
            whole = await self._fitting(state, rest, pile)
            left = [await self._whole(each) for each in await self.give_back(rest)]
        finally:
            pile.end()  # the answer itself counts from here on
        whole += [lease for lease in left if lease is not None]
        return tuple([self._traced(lease, session) for lease in whole] if self._spans.on else whole)

    async def _fitting(self, state: EndpointState, rest: deque[base.Lease], pile: Pile) -> list[base.Lease]:
        """The first ones of `rest`, whole; they are left out there."""
        whole: list[base.Lease] = []
        pile.add(sum(len(lease.input) for lease in rest if isinstance(lease.input, bytes)))
        kept = read = 0
        while rest:
            size = fetched_bytes_at_most(rest[0].job.id, rest[0].input)
            if size and not await pile.grow(size, ROOM_SECONDS):
                break
            lease = await self._whole(rest[0])
            if size:
                pile.add((0 if lease is None else base.size_of(lease.input)) - size)
            if lease is not None:
                kept, read = kept + base.size_of(rest[0].input), read + base.size_of(lease.input)
                if whole and read > base.TAKE_BYTES:
                    break
                whole.append(lease)
            rest.popleft()
        state.swelling = max(1.0, read / kept) if kept else 1.0
        return whole

    def _traced(self, lease: base.Lease, session: Session) -> base.Lease:
        """The lease with the trace context of this attempt."""
        trace = self._spans.handed_out(of_extra(lease.extra), lease.job)
        if (holding := session.held.get(lease.job.id)) is not None:
            holding.trace = trace
        return replace(lease, extra=carried(lease.extra, trace))

    async def give_back(self, leases: Collection[base.Lease]) -> tuple[base.Lease, ...]:
        """Let the next worker have the jobs, unharmed. Returns what could not be given back."""
        if not leases:
            return ()
        jobs = [lease.job for lease in leases]
        releases = [base.Release(endpoint=job.endpoint, id=job.id, token=job.token) for job in jobs]
        outcomes = zip(leases, await self._stores.of(jobs[0].endpoint).many(releases), strict=True)
        return tuple(lease for lease, outcome in outcomes if isinstance(outcome, base.Failed))

    async def _whole(self, lease: base.Lease) -> base.Lease | None:
        try:
            loaded = await self._payloads.load(lease.job.endpoint, lease.input)
            return lease if loaded is lease.input else replace(lease, input=loaded)
        except OperationFailed as error:
            log.error("the input of job %s could not be read: %s", lease.job.id, error)
            return None


def _bytes_at_most(limit: int) -> int:
    """What comes with a take of so many jobs; what they have beside it in the store is fetched later."""
    return min(base.TAKE_BYTES, limit * base.BLOB_BYTES)
