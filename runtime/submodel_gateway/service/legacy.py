"""Workers with an SDK of the hosted platforms ask for jobs, say that they live, and hear what to stop.

What they deliver is in `legacy_posts`. Of all answers the one that comes too early does most harm: these SDKs ask again
without a pause, so everything that brings nothing is held.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from submodel.contract import limits
from submodel_gateway.jobs.ids import delivery_id, from_delivery_id
from submodel_gateway.jobs.record import attempt_token
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import EndpointState
from submodel_gateway.service.legacy_memory import MISSES_MAX, UNCONFIRMED_MS
from submodel_gateway.service.legacy_sessions import Caller, LegacySessions
from submodel_gateway.service.session import Session
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.takes import Takes
from submodel_gateway.service.waiting import Hangup, Hold
from submodel_gateway.store import base

POLL_WAIT_MS = 20_000
"""How long a request that brings nothing is held: some SDKs give up after 30 seconds, and lose what comes then."""

LEAVING_WAIT_MS = 1_000
"""The same for a worker that gets nothing more: it may have been told to end, and its open requests hold it up."""

REFUSED_WAIT_MS = 5_000
"""A request that is refused is held for this long."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A request for up to `limit` jobs. `running` is whether the worker says that it runs one, None without a word."""

    limit: int
    running: bool | None = None
    sdk: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """A sign of life. `unhealthy` is a worker's own finding that it cannot work, as a sentence."""

    jobs: tuple[str, ...] = ()
    sdk: str = ""
    unhealthy: str = ""


class LegacyWorkers:
    """What these workers ask for. Jobs go by their delivery ids."""

    def __init__(self, stores: Stores, sessions: LegacySessions, takes: Takes, clock: Clock) -> None:
        self._stores = stores
        self._sessions = sessions
        self._takes = takes
        self._clock = clock

    async def take(
        self, endpoint: str, worker: str, token: str, ask: Ask, hangup: Hangup
    ) -> Sequence[tuple[str, base.Lease]]:
        """Leased jobs with their delivery ids, held until there are some; none when nothing came.

        Raises `NotFound`, `Unauthorized`, `StoreError`.
        """
        caller = await self._sessions.caller(endpoint, worker, token, ask.sdk)
        self._sessions.ready(caller.state, caller.session)
        caller.memory.hear_ask(ask.running, self._clock.now_ms(), self._stores.now_ms(endpoint))
        if ask.running is False:
            caller.session.stops.clear()
        with self._poll(caller, hangup) as hold:
            leases = await self._wait(caller, ask, hold, hangup)
        if hangup.done():
            leases = await self._takes.give_back(leases)
        return [(delivery_id(lease.job.id, lease.job.attempt), lease) for lease in leases]

    async def stops(self, endpoint: str, worker: str, token: str, hangup: Hangup) -> list[str]:
        """Jobs that shall end, each told once, held until there are some. Raises as `take`."""
        caller = await self._sessions.caller(endpoint, worker, token)
        session = caller.session
        with self._poll(caller, hangup) as hold:
            leaving = caller.state.drains(session)
            while not (session.stops or hold.ended or caller.state.drains(session) is not leaving):
                await hold.woken()
        if hangup.done():
            return []
        stops = sorted(session.stops)
        session.stops.clear()
        return stops

    async def ping(self, endpoint: str, worker: str, token: str, ping: Ping) -> None:
        """The worker lives and lists its jobs: these are renewed, one that is left out is lost in the end.

        Raises as `take`.
        """
        caller = await self._sessions.caller(endpoint, worker, token, ping.sdk)
        state, session, memory = caller.state, caller.session, caller.memory
        if ping.unhealthy:
            self._sessions.unhealthy(state, session, ping.unhealthy)
            return
        memory.hear_list(ping.jobs)
        if memory.lists_all:
            session.stops &= memory.ended.keys()
        beats = [_beat(state, session, name) for name in ping.jobs]
        others = [*self._left_out(caller, ping.jobs)]
        outcomes = await self._stores.of(endpoint).many([*beats, *others])
        said = zip(ping.jobs, outcomes, strict=False)
        refused = [name for name, outcome in said if isinstance(outcome, base.Refused)]
        now = self._clock.now_ms()
        for name in refused:
            job = from_delivery_id(name)[0]
            if job in session.held and session.held[job].name == name:
                session.lose(job, now, stop=True)
        if reason := memory.given_up(refused, now, holds_nothing=not session.held):
            self._sessions.replace(state, session, reason)

    async def refuse(self, hangup: Hangup) -> None:
        """Hold a request that is going to be refused, or that the store cannot serve now."""
        with Hold(0 if self._takes.closing else REFUSED_WAIT_MS, hangup) as hold:
            await hold.woken()

    @contextmanager
    def _poll(self, caller: Caller, hangup: Hangup) -> Iterator[Hold]:
        """A held request, which wakes and ends with its session."""
        session = caller.session
        leaving = session.drain_told = caller.state.drains(session)
        wait_ms = 0 if self._takes.closing else LEAVING_WAIT_MS if leaving else POLL_WAIT_MS
        with Hold(wait_ms, hangup) as hold:
            session.polls[hold] = None
            try:
                yield hold
            finally:
                session.polls.pop(hold, None)
                session.last_seen_ms = self._clock.now_ms()

    async def _wait(self, caller: Caller, ask: Ask, hold: Hold, hangup: Hangup) -> tuple[base.Lease, ...]:
        state, session = caller.state, caller.session
        leaving = state.drains(session)
        try:
            while True:
                with _woken_after(await self._lose_forgotten(caller), hold.wake):
                    # Registered before the tally is read and while a take is on its way: no job comes unnoticed.
                    state.takers[hold] = session
                    await self._takes.stalls.over()
                    leases = await self._try(caller, 0 if leaving or hangup.done() else ask.limit)
                    if leases or hold.ended or state.drains(session) is not leaving:
                        return leases
                    await hold.woken()
        finally:
            state.takers.pop(hold, None)

    async def _try(self, caller: Caller, limit: int) -> tuple[base.Lease, ...]:
        state, session = caller.state, caller.session
        queued = self._stores.tally(state.id).queued
        take = self._takes.operation(state, session, limit if queued and not state.drains(session) else 0)
        if take is None:
            return ()
        (outcome,) = await self._takes.applied(state, session, take)
        if isinstance(outcome, base.Failed):
            raise outcome.error
        if not isinstance(outcome, base.Taken) or not outcome.leases:
            return ()
        caller.memory.idle_at = None
        return await self._takes.whole(state, outcome.leases, session)

    async def _lose_forgotten(self, caller: Caller) -> int | None:
        """End what the store says the worker holds and the worker says it does not run.

        Returns the milliseconds after which to look again, None when there is nothing to come.
        """
        state, session, memory = caller.state, caller.session, caller.memory
        if memory.idle_at is None:
            return None
        now = self._stores.now_ms(state.id)
        if not self._stores.tally(state.id).in_progress:
            # As of a moment ago, by other gateways. What they have handed out since is not lost any sooner than this.
            return max(0, memory.idle_at + UNCONFIRMED_MS - now) or None
        rest_ms: int | None = None
        lost: list[base.Lose] = []
        for job in await self._stores.at(state.id).held(state.id, session.worker):
            at = memory.lost_at(job.taken_at or 0)
            if at is None or delivery_id(job.id, job.attempt) in memory.delivering:
                continue
            if at < now:
                reason = f"worker {session.worker} asked for another one and said that it runs none"
                lost.append(base.Lose(endpoint=state.id, id=job.id, token=job.token, reason=reason))
            else:
                rest_ms = at - now + 1 if rest_ms is None else min(rest_ms, at - now + 1)
        if lost:
            await self._stores.of(state.id).all_of(lost)
            session.stops.clear()  # it runs none of them
        return rest_ms

    def _left_out(self, caller: Caller, listed: Iterable[str]) -> Iterator[base.JobOperation]:
        """What becomes of held jobs that a ping does not list."""
        endpoint, session, memory = caller.state.id, caller.session, caller.memory
        names = frozenset(listed)
        for id, holding in session.held.items():
            # A handler that blocks its process may leave an answer unread for long, though not beyond the next ask.
            unread = memory.lists_all and not holding.listed and memory.asked_at <= holding.taken_at
            if holding.name in names:
                holding.listed, holding.misses = True, 0
            elif unread or memory.renews(names):
                yield base.Heartbeat(endpoint=endpoint, id=id, token=holding.token, lease_ms=limits.LEASE_MS)
            elif memory.lists_all and holding.name not in memory.delivering:
                holding.misses += 1
                if holding.misses >= MISSES_MAX:
                    reason = f"worker {session.worker} no longer listed it as running"
                    yield base.Lose(endpoint=endpoint, id=id, token=holding.token, reason=reason)


def _beat(state: EndpointState, session: Session, name: str) -> base.Heartbeat:
    job, attempt = from_delivery_id(name)
    token = attempt_token(attempt, session.worker)
    return base.Heartbeat(endpoint=state.id, id=job, token=token, lease_ms=limits.LEASE_MS)


@contextmanager
def _woken_after(milliseconds: int | None, wake: Callable[[], None]) -> Iterator[None]:
    timer = None
    if milliseconds is not None:
        timer = asyncio.get_running_loop().call_later(milliseconds / 1000, wake)
    try:
        yield
    finally:
        if timer is not None:
            timer.cancel()
