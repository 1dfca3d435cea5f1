"""The worker exchange: everything a worker says in one request is applied in one go, and answered with what is new.

A request that leaves nothing to say is held until a job, a stop or a drain is there. What a worker says again (a
request number, a result, a chunk) has no second effect.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping

import msgspec

from submodel.contract import limits
from submodel.contract.exchange import ExchangeAnswer, ExchangeRequest
from submodel.contract.states import JobState
from submodel.contract.wire import encode
from submodel_gateway.errors import Unavailable
from submodel_gateway.jobs.ids import payload_limit
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.payloads import Payloads
from submodel_gateway.service.session import OpenRequest, Session, most_kept
from submodel_gateway.service.sessions import Sessions
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.takes import Takes
from submodel_gateway.service.turn import Turn, too_large
from submodel_gateway.service.waiting import Hangup, Hold
from submodel_gateway.service.worker_access import WorkerAccess
from submodel_gateway.store import base
from submodel_gateway.tracing.spans import Spans


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
        if answer := session.answers.get(request.request):
            return answer
        if (earlier := session.open.get(request.request)) is not None:
            # The worker gave up on its connection before the gateway noticed: what that request got is the answer.
            earlier.hold.end()
            return await asyncio.shield(earlier.answer)
        if session.is_past(request.request):
            # Its offer of capacity, above all, is not to be taken up: nobody would read what it gets.
            return encode(ExchangeAnswer(lease_ms=limits.LEASE_MS))
        with Hold(min(request.wait_ms, limits.EXCHANGE_WAIT_MS_MAX), hangup) as hold:
            number, turn = request.request, Turn(state, session, request, hangup)
            del request  # it holds all that the worker delivers, and may be held for long
            opened = session.open[number] = OpenRequest(hold, asyncio.get_running_loop().create_future())
            try:
                # Not in a task of its own: the worker would wait for its answer behind all readers of what it streamed.
                answer = await self._answer(turn, hold, applied)
            except BaseException as error:
                opened.fail(error)
                raise
            else:
                opened.answer.set_result(answer)
                return answer
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

    async def _answer(self, turn: Turn, hold: Hold, applied: Callable[[], None]) -> bytes:
        if turn.session.hear(turn.request, self._clock.now_ms()):
            self._changed(turn.endpoint)
        await self._apply(turn)
        turn.let_go()
        applied()
        if not turn.has_news() and not self._takes.closing:
            await self._wait(turn, hold)
        if turn.hangup.done() and turn.leases:
            await self._give_back(turn)
        answer = turn.answer(closing=self._takes.closing)
        turn.session.keep_answer(turn.request.request, answer, most_kept(len(turn.endpoint.sessions)))
        return answer

    async def _apply(self, turn: Turn) -> None:
        """Apply what the worker said, and take jobs in the same transaction when some are known to wait."""
        ends = self._result_spans(turn) if self._spans.on else {}
        outputs = await self._kept_outputs(turn)
        unread = await self._unread(turn)
        await self._takes.stalls.over()
        now = self._clock.now_ms()
        said = [*turn.writes(outputs), *turn.signs_of_life(now), *turn.lost(now), *unread]
        take = self._take(turn) if unread or self._stores.tally(turn.endpoint.id).queued else None
        if take is not None:
            outcomes = await self._takes.applied(turn.endpoint, turn.session, take, said)
        elif said:
            outcomes = await self._stores.of(turn.endpoint.id).many(said)
        else:
            return
        await self._discard_unused(turn, said, outcomes)
        oversized = []
        for operation, outcome in zip(said, outcomes, strict=False):
            if ends and isinstance(operation, base.Finish) and isinstance(outcome, base.Applied):
                _end_span(ends, operation, outcome)
            if isinstance(outcome, base.Refused):
                turn.refuse(operation, outcome.reason)
                if outcome.reason is Reason.TOO_LARGE:
                    oversized.append(too_large(operation, "it streamed more than one attempt may"))
        if take:
            await self._got(turn, outcomes[-1])
        if oversized:
            outcomes = [*outcomes, *await self._stores.of(turn.endpoint.id).many(oversized)]
        failed = next((outcome for outcome in outcomes if isinstance(outcome, base.Failed)), None)
        if failed is not None:
            await self._give_back(turn)
            raise Unavailable(f"the job store could not apply the whole request, send it again: {failed.error}")

    async def _wait(self, turn: Turn, hold: Hold) -> None:
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
                    (outcome,) = await self._takes.applied(turn.endpoint, turn.session, take)
                    if isinstance(outcome, base.Failed):
                        raise outcome.error
                    await self._got(turn, outcome)
                    if turn.has_news():
                        return
        finally:
            takers.pop(hold, None)

    def _take(self, turn: Turn) -> base.Take | None:
        return self._takes.operation(turn.endpoint, turn.session, turn.wants)

    async def _got(self, turn: Turn, outcome: base.Outcome) -> None:
        if not isinstance(outcome, base.Taken):
            return
        for lease in outcome.leases:
            if (holding := turn.session.held.get(lease.job.id)) is not None:
                holding.request = turn.request.request
        turn.leases = await self._takes.whole(turn.endpoint, outcome.leases, turn.session)

    async def _kept_outputs(self, turn: Turn) -> dict[str, base.Payload]:
        """Outputs by lease token, as their operations carry them; one that is too large is not kept."""
        outputs: dict[str, base.Payload] = {}
        for result in turn.request.results:
            if not isinstance(result.output, msgspec.UnsetType):
                output = bytes(result.output)
                if len(output) <= payload_limit(result.id):
                    outputs[result.token] = await self._payloads.keep(turn.endpoint.id, output)
        return outputs

    async def _discard_unused(
        self, turn: Turn, said: Iterable[base.JobOperation], outcomes: Iterable[base.Outcome]
    ) -> None:
        for operation, outcome in zip(said, outcomes, strict=False):
            if isinstance(operation, base.Finish):
                await self._payloads.finished(operation, outcome)

    async def _give_back(self, turn: Turn) -> None:
        """Nobody will read the answer. What could not be given back stays in it, for a worker that asks again."""
        turn.leases = await self._takes.give_back(turn.leases)

    def _result_spans(self, turn: Turn) -> dict[str, Callable[[JobState], None]]:
        """What ends the span of each result, by the lease's token."""
        endpoint = turn.endpoint.id
        return {each.token: self._spans.result(each.trace, endpoint, each.id) for each in turn.request.results}

    async def _unread(self, turn: Turn) -> list[base.Release]:
        """Jobs in an answer to this very request that was not read, and is not kept: they never began.

        Those jobs are released, uncharged, and go out with the next answer. Where another gateway gave that answer, or
        this one's last process, nobody knows what was in it. But only a request that offers capacity brings jobs, and a
        worker has one of these under way at a time: what it got by earlier ones is listed in this one.
        """
        request, session, endpoint = turn.request, turn.session, turn.endpoint.id
        unread: dict[str, str] = {}
        if request.request in session.answers:
            unread = {id: each.token for id, each in session.held.items() if each.request == request.request}
        if request.repeated and turn.wants:
            held = await self._stores.at(endpoint).held(endpoint, session.worker)
            unread |= {job.id: job.token for job in held if job.session == session.id}
        if not unread:
            return []
        listed = {item.token for items in (request.running, request.results, request.released) for item in items}
        return [base.Release(endpoint=endpoint, id=id, token=unread[id]) for id in unread if unread[id] not in listed]


def _end_span(ends: Mapping[str, Callable[[JobState], None]], operation: base.Finish, outcome: base.Applied) -> None:
    if outcome.change.ended and outcome.change.after is not None and operation.token in ends:
        ends[operation.token](outcome.change.after.state)
