"""The worker exchange: everything a worker says in one request is applied in one go, and answered with what is new.

A request that leaves nothing to say is held until a job, a stop or a drain is there. What a worker says again (a
request number, a result, a chunk) has no second effect.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from msgspec.structs import replace

from submodel.contract import limits
from submodel.contract.exchange import (
    REFUSED_GAP,
    REFUSED_STALE,
    REFUSED_TOO_LARGE,
    ExchangeAnswer,
    ExchangeRequest,
    Held,
    JobPolicy,
    LeasedJob,
    Refused,
)
from submodel.contract.states import JobState, WorkerPhase
from submodel.contract.wire import encode
from submodel_gateway.errors import Unavailable
from submodel_gateway.jobs.ids import is_sync
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.payloads import Payloads
from submodel_gateway.service.session import OpenRequest, Session
from submodel_gateway.service.sessions import Sessions
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.takes import Takes
from submodel_gateway.service.waiting import Hangup, Hold
from submodel_gateway.service.worker_access import WorkerAccess
from submodel_gateway.store import base
from submodel_gateway.tracing.spans import Spans, taken_from

RENEW_MS = 5_000
"""A lease is renewed no more often than this: a busy worker exchanges many times per second."""

MISSED_GRACE_MS = 20_000
MISSES_MAX = 2
"""A held job that this many requests do not list although they could, this long after its take, is lost."""

RETRY_AFTER_MS = 500
"""Told to workers when the gateway goes down: time enough for another to take over."""

_REFUSED = {Reason.GAP: REFUSED_GAP, Reason.TOO_LARGE: REFUSED_TOO_LARGE}
"""What workers hear; every other reason means that the token is not the live one."""

_EXTRA = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOTHING = b"{}"


@dataclass(slots=True)
class _Turn:
    """One request on its way to its answer."""

    endpoint: EndpointState
    session: Session
    request: ExchangeRequest
    hangup: Hangup
    refused: list[Refused] = field(default_factory=list)
    stop: set[str] = field(default_factory=set)
    stop_tokens: set[str] = field(default_factory=set)
    leases: tuple[base.Lease, ...] = ()

    def let_go(self) -> None:
        """Forget what was delivered, which may be large, while the request is held."""
        if self.request.results or self.request.chunks or self.request.progress:
            self.request = replace(self.request, results=[], chunks=[], progress=[])

    @property
    def wants(self) -> int:
        """How many jobs the worker may get; none once it has gone away."""
        if self.hangup.done():
            return 0
        ready = self.request.phase is WorkerPhase.READY and not self.endpoint.drains(self.session)
        return self.request.capacity if ready else 0

    def has_news(self) -> bool:
        """Whether the worker should hear of something at once; what it was told before can wait."""
        return bool(
            self.leases
            or self.refused
            or self.session.stops
            or self.stop - self.session.stops_told
            or self.session.drain_told != self.endpoint.drains(self.session)
        )


class Workers:
    """What workers can ask for. `changed` is told when a session's state is news for the operator."""

    def __init__(
        self,
        stores: Stores,
        payloads: Payloads,
        endpoints: Endpoints,
        access: WorkerAccess,
        sessions: Sessions,
        takes: Takes,
        clock: Clock,
        changed: Callable[[EndpointState], None],
        spans: Spans | None = None,
    ) -> None:
        self._stores = stores
        self._payloads = payloads
        self._endpoints = endpoints
        self._access = access
        self._sessions = sessions
        self._takes = takes
        self._clock = clock
        self._changed = changed
        self._spans = spans or Spans()

    async def authorize(self, endpoint: str, worker: str, token: str) -> None:
        """Check what can be checked before a body is read. Raises `NotFound`, `Unauthorized`, `Unavailable`."""
        await self._access.worker(endpoint, worker, token)

    async def exchange(
        self,
        endpoint: str,
        worker: str,
        token: str,
        request: ExchangeRequest,
        hangup: Hangup,
        applied: Callable[[], None] = lambda: None,
    ) -> bytes:
        """The JSON answer to a worker's request. `applied` is called when what it delivers is durable, and let go.

        Raises `NotFound`, `Unauthorized`, and `Unavailable` or `OperationFailed` when the store could not apply all of
        it: the worker sends the same request again.
        """
        state, revision = await self._access.worker(endpoint, worker, token)
        await self._takes.stalls.over()
        known = state.sessions.get(worker)
        if hangup.done() and (known is None or known.id != request.session):
            # It may be the last word of a process that is dead. As a newcomer's it would end what the next one runs.
            raise Unavailable("the worker has gone away; send the request again")
        now = self._clock.now_ms()
        new = Session(worker, request.session, revision, last_seen_ms=now, idle_since_ms=now)
        session = await self._sessions.of(state, new, request.request)
        if (answer := session.answers.get(request.request)) is not None:
            return answer
        if (earlier := session.open.get(request.request)) is not None:
            # The worker gave up on its connection before the gateway noticed: what that request got is the answer.
            earlier.hold.end()
            return await asyncio.shield(earlier.answer)
        if session.is_past(request.request):
            # Its offer of capacity, above all, is not to be taken up: nobody would read what it gets.
            return encode(ExchangeAnswer(lease_ms=limits.LEASE_MS))
        with Hold(min(request.wait_ms, limits.EXCHANGE_WAIT_MS_MAX), hangup) as hold:
            number = request.request
            turn = asyncio.ensure_future(self._answer(_Turn(state, session, request, hangup), hold, applied))
            del request  # it holds all that the worker delivers, and may be held for long
            session.open[number] = OpenRequest(hold, turn)
            try:
                return await turn
            finally:
                session.last_seen_ms = self._clock.now_ms()
                del session.open[number]

    def close(self) -> None:
        """Answer every held request; hand out nothing more."""
        self._takes.closing = True
        for state in self._endpoints.all():
            for session in state.sessions.values():
                session.end_requests()

    def expire_silent(self, now: int) -> None:
        """Forget sessions that were not heard of for longer than a lease and hold nothing."""
        for state in self._endpoints.all():
            for session in list(state.sessions.values()):
                if not session.held and session.seen_ms(now) + limits.LEASE_MS < now:
                    del state.sessions[session.worker]
                    self._changed(state)

    async def _answer(self, turn: _Turn, hold: Hold, applied: Callable[[], None]) -> bytes:
        if turn.session.hear(turn.request, self._clock.now_ms()):
            self._changed(turn.endpoint)
        await self._apply(turn)
        turn.let_go()
        applied()
        if not turn.has_news() and not self._takes.closing:
            await self._wait(turn, hold)
        if turn.hangup.done() and turn.leases:
            await self._give_back(turn)
        answer = self._encode(turn)
        turn.session.keep_answer(turn.request.request, answer)
        return answer

    async def _apply(self, turn: _Turn) -> None:
        """Apply what the worker said, and take jobs in the same transaction when some are known to wait."""
        ends = self._result_spans(turn) if self._spans.on else {}
        outputs = await self._kept_outputs(turn)
        unread = await self._unread(turn)
        await self._takes.stalls.over()
        said = [*self._writes(turn, outputs), *self._signs_of_life(turn), *self._lost(turn), *unread]
        take = self._take(turn) if unread or self._stores.tally(turn.endpoint.id).queued else None
        operations: list[base.Operation] = [*said, *([take] if take else [])]
        if not operations:
            return
        if take is None:
            outcomes = await self._stores.of(turn.endpoint.id).many(operations)
        else:
            outcomes = await self._takes.applied(turn.endpoint, turn.session, operations)
        await self._discard_unused(turn, said, outcomes)
        oversized = []
        for operation, outcome in zip(said, outcomes, strict=False):
            if ends and isinstance(operation, base.Finish) and isinstance(outcome, base.Applied):
                _end_span(ends, operation, outcome)
            if isinstance(outcome, base.Refused):
                self._refuse(turn, operation, outcome.reason)
                if outcome.reason is Reason.TOO_LARGE:
                    oversized.append(_too_large(operation, "it streamed more than one attempt may"))
        if take:
            await self._got(turn, outcomes[-1])
        if oversized:
            outcomes = [*outcomes, *await self._stores.of(turn.endpoint.id).many(oversized)]
        failed = next((outcome for outcome in outcomes if isinstance(outcome, base.Failed)), None)
        if failed is not None:
            await self._give_back(turn)
            raise Unavailable(f"the job store could not apply the whole request, send it again: {failed.error}")

    async def _wait(self, turn: _Turn, hold: Hold) -> None:
        takers = turn.endpoint.takers
        try:
            while True:
                # Registered before the tally is read and while a take is on its way: no job comes unnoticed.
                if turn.wants:
                    takers[hold] = turn.session
                await hold.woken()
                await self._takes.stalls.over()
                if hold.ended or turn.has_news():
                    return
                if take := self._take(turn):
                    takers[hold] = turn.session
                    (outcome,) = await self._takes.applied(turn.endpoint, turn.session, [take])
                    if isinstance(outcome, base.Failed):
                        raise outcome.error
                    await self._got(turn, outcome)
                    if turn.has_news():
                        return
        finally:
            takers.pop(hold, None)

    def _take(self, turn: _Turn) -> base.Take | None:
        return self._takes.operation(turn.endpoint, turn.session, turn.wants)

    async def _got(self, turn: _Turn, outcome: base.Outcome) -> None:
        if not isinstance(outcome, base.Taken):
            return
        for lease in outcome.leases:
            if (holding := turn.session.held.get(lease.job.id)) is not None:
                holding.request = turn.request.request
        turn.leases = await self._takes.whole(outcome.leases, turn.session)

    async def _kept_outputs(self, turn: _Turn) -> dict[str, base.Payload]:
        """Outputs by job, as their operations carry them; one that is too large is not kept."""
        outputs: dict[str, base.Payload] = {}
        for result in turn.request.results:
            if not isinstance(result.output, msgspec.UnsetType):
                output = bytes(result.output)
                if len(output) <= _output_limit(result.id):
                    outputs[result.id] = await self._payloads.keep(turn.endpoint.id, output)
        return outputs

    async def _discard_unused(
        self, turn: _Turn, said: Iterable[base.JobOperation], outcomes: Iterable[base.Outcome]
    ) -> None:
        for operation, outcome in zip(said, outcomes, strict=False):
            used = isinstance(outcome, base.Applied) and outcome.change.ended
            if isinstance(operation, base.Finish) and not used:
                await self._payloads.drop(turn.endpoint.id, operation.output)

    async def _give_back(self, turn: _Turn) -> None:
        """Nobody will read the answer. What could not be given back stays in it, for a worker that asks again."""
        turn.leases = await self._takes.give_back(turn.leases)

    def _writes(self, turn: _Turn, outputs: Mapping[str, base.Payload]) -> Iterable[base.JobOperation]:
        endpoint = turn.endpoint.id
        for item in turn.request.progress:
            yield base.Progress(endpoint=endpoint, id=item.id, token=item.token, value=bytes(item.value))
        for chunk in turn.request.chunks:
            items = tuple(bytes(item) for item in chunk.items)
            append = base.AppendChunk(endpoint=endpoint, id=chunk.id, token=chunk.token, seq=chunk.seq, items=items)
            if max(map(len, items), default=0) > limits.CHUNK_BYTES:
                turn.refused.append(Refused(id=chunk.id, reason=REFUSED_TOO_LARGE, token=chunk.token))
                yield _too_large(append, f"a streamed item is larger than {limits.CHUNK_BYTES} bytes")
            else:
                yield append
        for result in turn.request.results:
            size = 0 if isinstance(result.output, msgspec.UnsetType) else memoryview(result.output).nbytes
            limit = _output_limit(result.id)
            finish = base.Finish(
                endpoint=endpoint,
                id=result.id,
                token=result.token,
                output=outputs.get(result.id),
                error=result.error,
                execution_ms=None if result.execution_ms is None else _bounded(result.execution_ms),
            )
            if size > limit:
                turn.refused.append(Refused(id=result.id, reason=REFUSED_TOO_LARGE, token=result.token))
                yield _too_large(finish, f"its output has {size} bytes, the limit is {limit}")
            else:
                yield finish
        for held in turn.request.released:
            yield base.Release(endpoint=endpoint, id=held.id, token=held.token)

    def _result_spans(self, turn: _Turn) -> dict[str, Callable[[JobState], None]]:
        """What ends the span of each result, by the lease's token."""
        endpoint = turn.endpoint.id
        return {each.token: self._spans.result(each.trace, endpoint, each.id) for each in turn.request.results}

    def _signs_of_life(self, turn: _Turn) -> Iterable[base.JobOperation]:
        now = self._clock.now_ms()
        for item in turn.request.running:
            holding = turn.session.held.get(item.id)
            if holding is not None and holding.token == item.token:
                holding.misses = 0
                if now - holding.renewed_at < RENEW_MS:
                    continue
                holding.renewed_at = now
            yield _heartbeat(turn.endpoint.id, item)

    async def _unread(self, turn: _Turn) -> list[base.Release]:
        """Jobs in an answer that died with another gateway, or with this one's last process: they never began.

        Only a request that offers capacity brings jobs, and a worker has one of these under way at a time: what it got
        by earlier ones is listed in this one. Those jobs are released, uncharged, and go out with its answer.
        """
        request = turn.request
        if not request.repeated or not turn.wants:
            return []
        listed = {item.token for items in (request.running, request.results, request.released) for item in items}
        held = await self._stores.at(turn.endpoint.id).held(turn.endpoint.id, turn.session.worker)
        return [
            base.Release(endpoint=job.endpoint, id=job.id, token=job.token)
            for job in held
            if job.session == turn.session.id and job.token not in listed
        ]

    def _lost(self, turn: _Turn) -> Iterable[base.JobOperation]:
        """Held jobs that the worker has twice not listed."""
        request, now = turn.request, self._clock.now_ms()
        listed = {item.id for items in (request.running, request.results, request.released) for item in items}
        for id, holding in turn.session.held.items():
            if id in listed or now - holding.taken_at <= MISSED_GRACE_MS or not holding.missing_from(request):
                continue
            holding.misses += 1
            if holding.misses >= MISSES_MAX:
                reason = f"worker {turn.session.worker} no longer listed it as running"
                yield base.Lose(endpoint=turn.endpoint.id, id=id, token=holding.token, reason=reason)

    def _refuse(self, turn: _Turn, operation: base.JobOperation, reason: Reason) -> None:
        if isinstance(operation, base.Heartbeat):
            turn.stop.add(operation.id)
            turn.stop_tokens.add(operation.token)
        elif not isinstance(operation, base.Lose | base.Cancel | base.Retry):
            refusal = _REFUSED.get(reason, REFUSED_STALE)
            turn.refused.append(Refused(id=operation.id, reason=refusal, token=operation.token))

    def _encode(self, turn: _Turn) -> bytes:
        session = turn.session
        # For a worker that stops by id alone: one that got the job again must keep it.
        turn.stop = (turn.stop | session.stops) - session.held.keys()
        session.stops_told = (session.stops_told | turn.stop) & {item.id for item in turn.request.running} | turn.stop
        session.stops.clear()
        turn.stop_tokens |= session.stop_tokens
        session.stop_tokens.clear()
        session.drain_told = turn.endpoint.drains(session)
        return encode(
            ExchangeAnswer(
                jobs=[_leased(lease) for lease in turn.leases],
                refused=turn.refused,
                stop=sorted(turn.stop),
                stop_tokens=sorted(turn.stop_tokens),
                drain=session.drain_told,
                lease_ms=limits.LEASE_MS,
                retry_after_ms=RETRY_AFTER_MS if self._takes.closing else 0,
            )
        )


def _end_span(ends: Mapping[str, Callable[[JobState], None]], operation: base.Finish, outcome: base.Applied) -> None:
    if outcome.change.ended and outcome.change.after is not None and operation.token in ends:
        ends[operation.token](outcome.change.after.state)


def _heartbeat(endpoint: str, item: Held) -> base.Heartbeat:
    return base.Heartbeat(endpoint=endpoint, id=item.id, token=item.token, lease_ms=limits.LEASE_MS)


def _too_large(operation: base.JobOperation, why: str) -> base.Finish:
    """A refusal that repeating cannot change must end the job, or it would run again for ever."""
    error = f"the job was ended because {why}"
    token = "" if isinstance(operation, base.Cancel | base.Retry) else operation.token
    return base.Finish(endpoint=operation.endpoint, id=operation.id, token=token, error=error, final=True)


def _output_limit(job: str) -> int:
    return limits.RUNSYNC_BODY_BYTES if is_sync(job) else limits.RUN_BODY_BYTES


def _bounded(milliseconds: int) -> int:
    return max(0, min(milliseconds, limits.POLICY_MS_MAX))


def _leased(lease: base.Lease) -> LeasedJob:
    job, extra = lease.job, {} if lease.extra == _NOTHING else _EXTRA.decode(lease.extra)
    return LeasedJob(
        id=job.id,
        token=job.token,
        input=msgspec.Raw(lease.input if isinstance(lease.input, bytes) else b"null"),
        policy=JobPolicy(execution_timeout_ms=job.execution_timeout_ms, ttl_ms=job.ttl_ms),
        attempt=job.attempt,
        trace=taken_from(extra),
        extra=extra,
    )
