"""Jobs on their way to a worker, and back when nobody will read the answer that carries them."""

import logging
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.structs import replace

from submodel.contract import limits
from submodel_gateway.errors import OperationFailed
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.payloads import Payloads
from submodel_gateway.service.session import Session
from submodel_gateway.service.stalls import Stalls
from submodel_gateway.service.stores import Stores
from submodel_gateway.store import base
from submodel_gateway.tracing.spans import Spans, carried, of_extra

TAKE_MAX = 256
"""Jobs per answer at most."""

log = logging.getLogger(__name__)


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
        spans: Spans | None = None,
    ) -> None:
        self._stores = stores
        self._payloads = payloads
        self._endpoints = endpoints
        self._random_bits = random_bits
        self._changed = changed
        self.stalls = stalls
        """Waited for before each take, and after it: the stall may have come while it was on its way."""

        self._spans = spans or Spans()
        self.closing = False

    def operation(self, state: EndpointState, session: Session, limit: int) -> base.Take | None:
        """The take of up to `limit` jobs; None when there is none to be made."""
        if self.closing or not limit or self._endpoints.find(state.id) is not state:
            return None
        return base.Take(
            endpoint=state.id,
            worker=session.worker,
            session=session.id,
            limit=min(limit, TAKE_MAX),
            nonce=self._random_bits(63),
            lease_ms=limits.LEASE_MS,
            max_bytes=int(base.TAKE_BYTES / state.swelling),
        )

    async def applied(
        self, state: EndpointState, session: Session, operations: Sequence[base.Operation]
    ) -> list[base.Outcome]:
        """The outcomes of operations with a take among them; until they are back, `session` may hold more."""
        session.taking += 1
        try:
            outcomes = await self._stores.of(state.id).many(operations)
            await self.stalls.over()
            return outcomes
        finally:
            session.taking -= 1
            if state.drains(session):
                self._changed(state)

    async def whole(
        self, state: EndpointState, leases: Iterable[base.Lease], session: Session
    ) -> tuple[base.Lease, ...]:
        """The leases with their inputs as clients sent them, less those that ended meanwhile and took theirs along.

        A store bounds a take by the bytes that it keeps. What is too much once it is unpacked goes back, uncharged.
        """
        whole: list[base.Lease] = []
        rest = deque(leases)
        kept = read = 0
        while rest:
            lease = await self._whole(rest[0])
            if lease is not None:
                kept, read = kept + base.size_of(rest[0].input), read + base.size_of(lease.input)
                if whole and read > base.TAKE_BYTES:
                    break
                whole.append(lease)
            rest.popleft()
        state.swelling = max(1.0, read / kept) if kept else 1.0
        lease = None  # it may be a large one that goes back
        left = [await self._whole(each) for each in await self.give_back(rest)]
        whole.extend(lease for lease in left if lease is not None)
        return tuple([self._traced(lease, session) for lease in whole] if self._spans.on else whole)

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
