"""The gateway put together: use cases, sweeper, and what a commit wakes."""

import asyncio
import logging
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from submodel.contract.internal import TrafficRecord
from submodel_gateway.errors import StoreAway, StoreError, StoreUnreachable
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.ratelimit.figures import NO_FIGURES, Figures
from submodel_gateway.service import bodies, unread
from submodel_gateway.service.admission import Admission
from submodel_gateway.service.canary import Canary
from submodel_gateway.service.clients import Clients
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.commits import Commits
from submodel_gateway.service.dispatcher import Outgoing
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.gauges import Gauges
from submodel_gateway.service.legacy import LegacyWorkers
from submodel_gateway.service.legacy_posts import LegacyPosts
from submodel_gateway.service.legacy_sessions import LegacySessions
from submodel_gateway.service.openai import OpenAi
from submodel_gateway.service.payloads import Payloads
from submodel_gateway.service.records import Records
from submodel_gateway.service.registry import Registry
from submodel_gateway.service.sessions import Sessions
from submodel_gateway.service.sharing import Sharing
from submodel_gateway.service.snapshots import SnapshotFeed
from submodel_gateway.service.stalls import Stalls
from submodel_gateway.service.stores import NamedStore, Stores
from submodel_gateway.service.streams import Streams
from submodel_gateway.service.sweeper import Sweeper
from submodel_gateway.service.takes import Takes
from submodel_gateway.service.waiting import JobWatchers
from submodel_gateway.service.webhooks import Webhooks
from submodel_gateway.service.worker_access import Reviewer, WorkerAccess
from submodel_gateway.service.workers import Workers
from submodel_gateway.tracing.spans import Spans
from submodel_gateway.webhooks.targets import Rules

AGAIN_SECONDS = 0.2
"""How long a store that could not be reached is left alone; it takes its own time to say so."""

log = logging.getLogger(__name__)


class Gateway:
    """One gateway over its stores. `start` before the first request, `close` after the last.

    Args:
        stores: open stores; the gateway starts and closes them.
        clock: the gateway's own time, for what is in memory only.
        compress: whether payloads are stored compressed.
        random_bits: as `secrets.randbits`; a test may pass a seeded one.
        outgoing: how webhooks leave; None keeps them in the store.
        rates: how often clients may call, per group of operations; none for no limits.
        queue_limit: queued jobs per worker that an endpoint may have; None for any number.
        reviewer: judges tokens of pods; without one they let nobody in.
        body_bytes: bytes of request bodies that may be in memory at once.
        answer_bytes: bytes of answers that their clients have not read which may be.
        spans: what is said of jobs in traces.
    """

    def __init__(
        self,
        stores: Sequence[NamedStore],
        clock: Clock,
        random_bits: Callable[[int], int] = secrets.randbits,
        boot: str | None = None,
        *,
        compress: bool = False,
        outgoing: Outgoing | None = None,
        rates: Mapping[str, Figures] = NO_FIGURES,
        queue_limit: int | None = None,
        reviewer: Reviewer | None = None,
        body_bytes: int = bodies.TOTAL_BYTES,
        answer_bytes: int = unread.TOTAL_BYTES,
        spans: Spans | None = None,
    ) -> None:
        self.clock = clock
        spans = self.spans = spans or Spans()
        self.ready = False
        self.leaving = False
        """Whether nothing is held any more, and whoever waits gets what there is."""

        self.endpoints = Endpoints()
        self.measures = Measures(self.endpoints.owner)
        self._stores = Stores(stores, lambda done: self._commits.committed(done), self.measures)
        self.bodies = bodies.Bodies(body_bytes, self.measures)
        self.unread = unread.Unread(answer_bytes, self.measures)
        self.undelivered = unread.Unread(answer_bytes, self.measures)
        """Jobs on their way to workers; a room of their own, for a busy gateway sets much of it aside."""

        self.gauges = Gauges(self._stores, self.endpoints, clock, self.measures, self.bodies, self.unread)
        self._watchers = JobWatchers()
        self.snapshots = SnapshotFeed(self._stores, self.endpoints, clock, boot or f"{random_bits(64):016x}")
        payloads = Payloads(self._stores, compress=compress)
        rules = outgoing.rules if outgoing else Rules()
        self.clients = Clients(
            self._stores, payloads, self.endpoints, self._watchers, random_bits, rules, queue_limit, spans
        )
        self.streams = Streams(self._stores, self.endpoints, self._watchers)
        self.openai = OpenAi(self.clients, self.streams, self.endpoints, clock)
        self.webhooks = Webhooks(self._stores, self.endpoints, clock, self.clients.view, random_bits, outgoing)
        sharing = self._sharing = Sharing(self._stores, self.endpoints, clock, self.snapshots.changed)
        self.records = Records(lambda id: self.endpoints.find(id) is not None)
        changed = self._changed if sharing.shared else self.snapshots.changed
        sessions = Sessions(self._stores, clock, sharing, changed)
        self._stalls = Stalls(clock)
        takes = Takes(
            self._stores, payloads, self.endpoints, random_bits, changed, self._stalls, self.undelivered, spans
        )
        pods = WorkerAccess(self.endpoints, clock, self.measures, reviewer)
        self.workers = Workers(self._stores, payloads, self.endpoints, pods, sessions, takes, clock, changed, spans)
        self.legacy_sessions = LegacySessions(self._stores, self.endpoints, sessions, clock, changed)
        self.legacy = LegacyWorkers(self._stores, self.legacy_sessions, takes, clock)
        self.legacy_posts = LegacyPosts(self._stores, payloads, self.legacy_sessions, clock, spans)
        self.registry = Registry(self._stores, self.endpoints, clock, sharing, changed, self._deleted)
        self._commits = Commits(
            self._stores,
            self.endpoints,
            clock,
            self.measures,
            self.records,
            self._watchers,
            self.streams,
            self.webhooks,
            changed,
        )
        self._sweeper_of = {name: self._sweeper(name) for name in self._stores.groups}
        self.sweepers = list(self._sweeper_of.values())
        self._canary_of = self._canaries(random_bits)
        self.canaries = list(self._canary_of.values())
        self._flying = False
        self.admission = Admission(rates, self.endpoints, clock, self._gateways)
        self._sweeping: list[asyncio.Task[None]] = []
        self._waiting: list[asyncio.Task[None]] = []
        """For stores that could not be reached at the start."""

        self._closing = asyncio.Event()

    async def start(self) -> None:
        """Learn the endpoints and begin to sweep. Raises `StoreError`.

        Of several stores those are waited for that answer; the others begin when they can be reached.
        """
        names = list(self._stores.groups)
        errors = dict(zip(names, await asyncio.gather(*map(self._begun, names)), strict=True))
        late = {name: error for name, error in errors.items() if error is not None}
        for error in late.values():
            if len(late) == len(names) or not isinstance(error, StoreUnreachable | StoreAway):
                raise error
        self.endpoints.complete = not late
        self._stalls.begin()
        self._waiting = [asyncio.create_task(self._await_store(name, error)) for name, error in late.items()]
        self.ready = True

    def unready(self) -> str:
        """Why nobody should ask this gateway for anything now; empty when everybody may.

        One store in which jobs move is enough: the endpoints of the others are away at every gateway.
        """
        if not self.ready:
            return "the gateway is starting or going down"
        reasons = [each.unready() for name, each in self._canary_of.items() if name not in self._stores.missing]
        return reasons[0] if all(reasons) else ""

    async def fly_canaries(self) -> None:
        """Let a job of its own move through each store that has begun, now and from time to time; see `Canary`."""
        self._flying = True
        here = [each for name, each in self._canary_of.items() if name not in self._stores.missing]
        await asyncio.gather(*(each.begin() for each in here))

    def drain(self) -> None:
        """The process is going down: answer everything that is held, hand out nothing more.

        What workers deliver goes on waiting for a store that is away, for a while: they throw away what is refused.
        """
        self.ready, self.leaving = False, True
        self.webhooks.stop()
        self.workers.close()
        self.legacy_posts.drain()
        self.openai.drain(shared=all(group.store.shared for group in self._stores.groups.values()))
        self._watchers.end_all()
        self.snapshots.end_all()

    async def close(self) -> None:
        """Finish the writes and let the store go."""
        self.drain()
        self._stalls.end()
        self._closing.set()
        await asyncio.gather(*self._waiting)
        self.legacy_posts.close()
        for sweeper in self.sweepers:
            sweeper.stop()
        await asyncio.gather(*self._sweeping, *(each.close() for each in self.canaries))
        await self.webhooks.close()
        await self._sharing.close()
        await self._stores.close()

    async def _begun(self, name: str) -> StoreError | None:
        """Begin with a store; returns why that was not possible."""
        try:
            await self._begin(name)
        except StoreError as error:
            return error
        return None

    async def _begin(self, name: str) -> None:
        self.registry.load(await self._stores.begin(name, self._news))
        await self._sharing.begin(name)
        await self._sweeper_of[name].sweep()
        self._stores.begun(name)
        self._sharing.follow(name, self.registry.learn)
        self._sweeping.append(asyncio.create_task(self._sweeper_of[name].run()))
        self.webhooks.start(name)

    async def _await_store(self, name: str, error: StoreError | None) -> None:
        """Begin with a store as soon as it can be reached."""
        while error is not None and not self._closing.is_set():
            log.error("job store %s: %s. Its endpoints are not served until it is there", name, error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), AGAIN_SECONDS)
            if not self._closing.is_set():
                error = await self._begun(name)
        if error is None:
            if self._flying:
                await self._canary_of[name].begin()
            log.info("job store %s has been reached; its endpoints are served", name)
            self.endpoints.complete = not self._stores.missing

    def _answers(self, store: str, answers: bool) -> None:
        (self._stores.away.discard if answers else self._stores.away.add)(store)

    def _changed(self, state: EndpointState) -> None:
        self.snapshots.changed(state)
        self._sharing.touched(state)

    def _deleted(self, endpoint: str) -> None:
        self.records.forget(endpoint)
        self.snapshots.deleted(endpoint)

    async def record(self, endpoint: str) -> TrafficRecord:
        """When the endpoint's jobs came, how long they waited and ran. Raises `NotFound`."""
        self.endpoints.get(endpoint)
        since_ms, runs = self.records.of(endpoint)
        accepted, waited, ran = zip(*runs, strict=True) if runs else ((), (), ())
        return TrafficRecord(
            now_ms=self._stores.now_ms(endpoint),
            since_ms=since_ms,
            gateways=self._gateways(endpoint),
            accepted_at_ms=list(accepted),
            waited_ms=list(waited),
            ran_ms=list(ran),
        )

    def _canaries(self, random_bits: Callable[[int], int]) -> dict[str, Canary]:
        """One for each store, by the number that the store has in metrics."""
        return {
            name: Canary(group, str(place), self._stores.clocks[name], self.measures, random_bits)
            for place, (name, group) in enumerate(self._stores.groups.items(), 1)
        }

    def _sweeper(self, store: str) -> Sweeper:
        group = self._stores.groups[store]

        def running() -> bool:
            return any(
                self._stores.tally(id).in_progress for id in self.endpoints.ids() if self._stores.of(id) is group
            )

        return Sweeper(group, self._stores.clocks[store], running, self._swept, partial(self._answers, store))

    def _gateways(self, endpoint: str) -> int:
        return self._sweeper_of[self._stores.name_of(endpoint)].gateways

    def _news(self, endpoints: Iterable[str]) -> None:
        """Another gateway changed jobs of these endpoints."""
        for endpoint in endpoints:
            self._watchers.tell_all_of(endpoint)
            self._sharing.news(endpoint)
            if (state := self.endpoints.find(endpoint)) is not None:
                self._commits.wake_takers(state)
                self.snapshots.changed(state)

    def _swept(self) -> None:
        self.workers.expire_silent(self.clock.now_ms())
        self.legacy_sessions.renew_quiet()
        for state in self.endpoints.all():
            self._commits.wake_takers(state)
