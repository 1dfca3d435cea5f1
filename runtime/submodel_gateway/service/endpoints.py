"""What the gateway has in mind of its endpoints and their workers; everything here can be learnt again.

The registration comes from the store at start, sessions from the workers' next exchange, presence and drains from the
operator's next push.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest

from submodel.contract.exchange import ExchangeRequest, Startup
from submodel.contract.internal import TERMINATING, EndpointKey, EndpointRegistration, WorkerPresence
from submodel.contract.states import WorkerPhase
from submodel_gateway.auth.credentials import Credentials
from submodel_gateway.auth.pods import Pod, Pools
from submodel_gateway.errors import NotFound, StoreAway, Unauthorized
from submodel_gateway.jobs.ids import delivery_id
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.legacy_memory import LegacyMemory, LegacyStream
from submodel_gateway.service.waiting import Hold
from submodel_gateway.service.words import Word

ANSWERS_KEPT = 8
"""A bound against workers that name too many; ours has at most three requests under way."""

FORMER_KEPT = 16
RUNS_KEPT = 200
RUNNING = "Running"
"""Phase of a worker whose pod is up."""


@dataclass(slots=True)
class Holding:
    """A lease as its worker's session knows it."""

    name: str
    """What the worker calls the job."""

    token: str
    limit_at: int
    """When the execution is over at the latest."""

    taken_at: int
    renewed_at: int
    request: int | None = None
    """Number of the request whose answer handed it out; None while that answer is being made."""

    misses: int = 0
    listed: bool = False
    """Whether its worker ever said that it has the job; kept for the legacy dialect."""

    stream: LegacyStream | None = None
    trace: str = ""
    """The trace context of this attempt, for a worker that does not send it back."""

    def missing_from(self, request: ExchangeRequest) -> bool:
        """Whether the worker could have listed it in `request`; see the contract for requests that overtake."""
        return self.request is not None and self.request < request.request and self.request not in request.unanswered


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A request that is being served, and the answer it will get."""

    hold: Hold
    answer: "asyncio.Future[bytes]"


@dataclass(slots=True, eq=False)
class Session:
    """One process of a worker: from its first exchange until another takes its name, or it is gone."""

    worker: str
    id: str
    revision: str
    last_seen_ms: int
    idle_since_ms: int | None
    began_ms: int = 0
    phase: WorkerPhase = WorkerPhase.STARTING
    reason: str = ""
    startup: Startup | None = None
    asked_ms: int | None = None
    """When it asked for jobs for the first time."""

    legacy: LegacyMemory | None = None
    """What else is known of a worker of the legacy dialect; None for one that speaks the exchange."""

    replace: str = ""
    """Why it must be replaced by a fresh worker; empty when it need not. It gets nothing more."""

    gone: bool = False
    """Superseded, or no longer among the existing workers: it gets nothing more."""

    former: list[str] = field(default_factory=list)
    """Sessions that had the name before."""

    held: dict[str, Holding] = field(default_factory=dict)
    taking: int = 0
    """Takes on their way to the store: until they are back it may hold more than `held` says."""

    stops: set[str] = field(default_factory=set)
    """Jobs that ended without this worker, not told yet, as the worker calls them."""

    stop_tokens: set[str] = field(default_factory=set)
    """Their leases, for a worker that has been given tokens."""

    stops_told: set[str] = field(default_factory=set)
    drain_told: bool = False
    answers: dict[int, bytes] = field(default_factory=dict)
    """The last answers by request number, for a worker that did not get them."""

    newest: int = 0
    """Number of the newest request that was heard, whenever it came."""

    newest_unanswered: frozenset[int] = frozenset()
    """What that request named as unanswered."""

    open: dict[int, OpenRequest] = field(default_factory=dict)
    """Exchanges that are being served, by request number."""

    polls: dict[Hold, None] = field(default_factory=dict)
    """Held requests of the legacy dialect, which have no numbers."""

    def hear(self, request: ExchangeRequest, now: int) -> bool:
        """Note what the worker says of itself; returns whether it is news."""
        self.last_seen_ms = now
        if request.request > self.newest:
            self.newest, self.newest_unanswered = request.request, frozenset(request.unanswered)
        # What is older and not named as unanswered has been read. Of what is newer, a repeated request knows nothing.
        kept = {*request.unanswered, request.request}
        read = {number for number in self.answers if number < request.request} - kept
        self.answers = {number: answer for number, answer in self.answers.items() if number not in read}
        said = (request.phase, request.reason)
        news = said != (self.phase, self.reason)
        if request.startup is not None and self.startup is None:
            self.startup, news = request.startup, True
        if not self.replace and any(result.stop_worker for result in request.results):
            self.replace, news = "a job asked for a fresh worker", True
        self.enter(*said, now)
        return news

    def enter(self, phase: WorkerPhase, reason: str, now: int) -> None:
        """What it says of itself; once it is ready it asks for jobs."""
        self.phase, self.reason = phase, reason
        if phase is WorkerPhase.READY and self.asked_ms is None:
            self.asked_ms = now

    def is_past(self, number: int) -> bool:
        """Whether nobody waits for the answer to this request any more: it came late, or a second time."""
        return number < self.newest and number not in self.newest_unanswered

    def seen_ms(self, now: int) -> int:
        """When it was last heard of: now, while a request of it is open."""
        return now if self.open or self.polls else self.last_seen_ms

    def hold(self, job: Job, now: int, request: int | None = None) -> None:
        """The session got a lease."""
        name = delivery_id(job.id, job.attempt) if self.legacy else job.id
        limit = job.deadline if job.exec_limit is None else min(job.exec_limit, job.deadline)
        limit_at = now + limit - (job.taken_at or limit)
        self.held[job.id] = Holding(name, job.token, limit_at, now, now, request)
        self.idle_since_ms = None

    def lose(self, job: str, now: int, *, stop: bool) -> None:
        """The session's lease ended; `stop` when the worker does not know."""
        holding = self.held.pop(job, None)
        if holding and not self.held:
            self.idle_since_ms = now
        if stop:
            self.stops.add(holding.name if holding else job)
            if self.legacy and holding:
                self.legacy.end(holding.name, holding.limit_at, now)
            elif holding:
                self.stop_tokens.add(holding.token)
            self.wake()

    def keep_answer(self, number: int, answer: bytes) -> None:
        """Store an answer, forgetting the oldest."""
        self.answers[number] = answer
        while len(self.answers) > ANSWERS_KEPT:
            del self.answers[next(iter(self.answers))]

    def wake(self) -> None:
        """Let the held requests look again."""
        for hold in self._holds():
            hold.wake()

    def end(self) -> None:
        """No more for this session."""
        self.gone = True
        self.end_requests()

    def end_requests(self) -> None:
        """Let the held requests answer now."""
        for hold in self._holds():
            hold.end()

    def _holds(self) -> list[Hold]:
        return [*(request.hold for request in self.open.values()), *self.polls]

    @property
    def usable(self) -> bool:
        """Whether it takes jobs, or will when it has started."""
        return not self.gone and self.phase in (WorkerPhase.STARTING, WorkerPhase.READY)


@dataclass(slots=True, eq=False)
class EndpointState:
    """One registered endpoint."""

    registration: EndpointRegistration
    sessions: dict[str, Session] = field(default_factory=dict)
    presence: dict[str, WorkerPresence] = field(default_factory=dict)
    """The operator's last list."""

    pushes: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a push about workers is on its way to the store: they count in the order in which they came."""

    draining: set[str] = field(default_factory=set)
    takers: dict[Hold, Session] = field(default_factory=dict)
    """Held exchanges that want jobs, the longest waiting first, with the workers whose they are."""
    ordering: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while what the operator said of workers is on its way to the other gateways."""

    gone_at: dict[str, int] = field(default_factory=dict)
    """Workers that ended lately, by the clock that gateways share, for gateways that heard of them."""

    ordered: int = 0
    """Version of what it said, where gateways share it."""

    elsewhere: list[Word] = field(default_factory=list)
    """What the other gateways say of workers."""

    runs_ms: deque[int] = field(default_factory=lambda: deque(maxlen=RUNS_KEPT))
    """How long the last jobs that completed were with their workers."""

    version: int = 0
    urgent_version: int = 0
    """When demand last met no capacity."""

    urgent: bool = False

    @property
    def id(self) -> str:
        return self.registration.endpoint_id

    def run_ms_p95(self) -> int | None:
        """What 95 in a hundred of the last completed jobs did not exceed."""
        return sorted(self.runs_ms)[-(-len(self.runs_ms) * 95 // 100) - 1] if self.runs_ms else None

    def end_revoked(self) -> None:
        """End the sessions whose credential is none any more; what they hold goes on until it is done or lost."""
        valid = {known.revision for known in self.registration.worker_tokens}
        valid |= {known.revision for known in self.registration.worker_pools}
        for session in self.sessions.values():
            if session.revision not in valid:
                session.end()

    def drains(self, session: Session) -> bool:
        """Whether the session is to take no more jobs."""
        presence = self.presence.get(session.worker)
        leaving = presence is not None and presence.phase == TERMINATING
        return session.gone or leaving or bool(session.replace) or session.worker in self.draining

    def working(self) -> int:
        """How many workers run jobs or could, as this gateway or the operator sees it."""
        here = {each.worker for each in self.sessions.values() if not each.gone and each.phase is WorkerPhase.READY}
        ready = len(here | {word.worker for word in self.elsewhere if word.phase is WorkerPhase.READY})
        running = sum(worker.phase == RUNNING for worker in self.presence.values())
        return max(ready, running)

    def word(self, session: Session, now: int) -> Word:
        """What this gateway says of a session, to others and of itself."""
        draining = self.drains(session)
        return Word(
            worker=session.worker,
            session=session.id,
            revision=session.revision,
            phase=session.phase,
            reason=session.replace or session.reason,
            replace=bool(session.replace),
            draining=draining,
            taking=session.taking if draining else 0,
            seen_ms=session.seen_ms(now),
            idle_since_ms=session.idle_since_ms,
            startup=session.startup,
            asked_ms=session.asked_ms,
        )

    def tell_drains(self) -> None:
        """Let workers hear that they shall drain, or need not any more."""
        for session in self.sessions.values():
            if session.drain_told != self.drains(session):
                session.wake()

    def wake_takers(self, count: int) -> None:
        """Let up to `count` waiting exchanges try to take a job.

        The worker that became idle last comes first. Taken in turns, a few jobs would keep any number of workers from
        ever being idle long enough to go. Workers that hold jobs already, and have room for more, come after idle ones.
        """
        if not self.takers:
            return
        for hold in nlargest(count, self.takers, key=lambda hold: self.takers[hold].idle_since_ms or 0):
            del self.takers[hold]
            hold.wake()


def no_endpoint(endpoint: str) -> NotFound:
    """The one sentence about endpoints that are not there, or not there for the caller."""
    return NotFound(f"endpoint {endpoint!r} does not exist; check the id in the path")


def unknown_worker() -> Unauthorized:
    """The one sentence about tokens that let nobody in."""
    return Unauthorized("the bearer token is not one of a worker, or the worker's endpoint is gone")


class Endpoints:
    """The registered endpoints by id."""

    def __init__(self) -> None:
        self._states: dict[str, EndpointState] = {}
        self.complete = True
        """Whether these are all; False while a job store has never been reached."""

        self.keys: Credentials[EndpointKey] = Credentials()
        self._workers: Credentials[str] = Credentials()
        self.pools = Pools()

    def get(self, endpoint: str) -> EndpointState:
        """Raises `NotFound` for an endpoint that is not registered, `StoreAway` when that is not known."""
        state = self._states.get(endpoint)
        if state is None:
            self.check_complete()
            raise no_endpoint(endpoint)
        return state

    def check_complete(self) -> None:
        """Before something is said not to exist. Raises `StoreAway` when it may be where nobody has looked yet."""
        if not self.complete:
            raise StoreAway("a job store has not been reached since this gateway started, and may know more; try again")

    def of_worker(self, endpoint: str, token: str) -> tuple[EndpointState, str]:
        """The endpoint, and the revision that the worker's token is of.

        Raises `Unauthorized` for a token that nobody knows, `NotFound` for one of another endpoint, and `StoreAway`
        when these are not all known.
        """
        known = self._workers.find(token)
        if endpoint not in known:
            self.check_complete()
        if not known:
            raise unknown_worker()
        if endpoint not in known:
            raise no_endpoint(endpoint)
        return self.get(endpoint), known[endpoint]

    def of_pod(self, endpoint: str, worker: str, pod: Pod) -> tuple[EndpointState, str]:
        """The endpoint, and the revision that the pod is a worker of, where it calls itself `worker`.

        Raises `Unauthorized` for a pod that is no worker, or no longer the one of that name, and `NotFound` for one of
        another endpoint, or with the name of another pod.
        """
        place = self.pools.find(pod.namespace, pod.name)
        if place is None:
            raise unknown_worker()
        if place.endpoint != endpoint or pod.name != worker:
            raise no_endpoint(endpoint)
        state = self.get(endpoint)
        listed = state.presence.get(worker)
        # The list may be about to name it: only one that names another pod speaks against it.
        if listed is not None and listed.uid != pod.uid:
            raise unknown_worker()
        return state, place.revision

    def lists(self, pod: Pod) -> bool:
        """Whether the operator's last list of workers names this very pod."""
        place = self.pools.find(pod.namespace, pod.name)
        state = self.find(place.endpoint) if place else None
        listed = state.presence.get(pod.name) if state else None
        return listed is not None and listed.uid == pod.uid

    def find(self, endpoint: str) -> EndpointState | None:
        return self._states.get(endpoint)

    def put(self, registration: EndpointRegistration) -> EndpointState:
        """Add an endpoint or replace its registration."""
        state = self._states.get(registration.endpoint_id)
        if state is None:
            state = self._states[registration.endpoint_id] = EndpointState(registration)
        state.registration = registration
        self.keys.put(registration.endpoint_id, {key.sha256: key for key in registration.api_keys})
        tokens = {token.sha256.lower(): token.revision for token in registration.worker_tokens}
        self._workers.put(registration.endpoint_id, tokens)
        pools = ((each.namespace, each.deployment, each.revision) for each in registration.worker_pools)
        self.pools.put(registration.endpoint_id, pools)
        return state

    def remove(self, endpoint: str) -> None:
        self._states.pop(endpoint, None)
        self.keys.remove(endpoint)
        self._workers.remove(endpoint)
        self.pools.remove(endpoint)

    def ids(self) -> Iterable[str]:
        return self._states.keys()

    def all(self) -> list[EndpointState]:
        return list(self._states.values())
