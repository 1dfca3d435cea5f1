"""What the gateway has in mind of its endpoints and their workers; everything here can be learnt again.

The registration comes from the store at start, sessions from the workers' next exchange, presence and drains from the
operator's next push.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import nlargest

from submodel.contract.internal import TERMINATING, EndpointKey, EndpointRegistration, WorkerPresence
from submodel.contract.states import WorkerPhase
from submodel_gateway.auth.credentials import Credentials
from submodel_gateway.auth.pods import Pod, Pools
from submodel_gateway.errors import NotFound, StoreAway, Unauthorized, Unavailable
from submodel_gateway.service.session import Session
from submodel_gateway.service.waiting import Hold
from submodel_gateway.service.words import Word

RUNS_KEPT = 200
RUNNING = "Running"
"""Phase of a worker whose pod is up."""


@dataclass(slots=True, eq=False)
class EndpointState:
    """One registered endpoint."""

    registration: EndpointRegistration
    text: bytes = b""
    """The registration as the operator sent it, also with fields that only gateways of a newer version read."""

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

    swelling: float = 1.0
    """How much larger the inputs of the last take were than what its store keeps of them."""

    runs_ms: deque[int] = field(default_factory=lambda: deque(maxlen=RUNS_KEPT))
    """How long the last jobs that completed were with their workers."""

    version: int = 0
    urgent_version: int = 0
    """When demand last met no capacity."""

    urgent: bool = False
    crowded: bool = False
    """Whether a worker was refused, and none came in since, because there are as many as there may be."""

    @property
    def id(self) -> str:
        """As in URLs."""
        return self.registration.endpoint_id

    @property
    def in_force(self) -> str:
        """Which registration it is, `<epoch>/<generation>`."""
        return f"{self.registration.epoch}/{self.registration.generation}"

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
            completed=session.completed,
            failed=session.failed,
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


_ID = "<namespace>.<name> or what spec.endpointId says"


def no_endpoint(endpoint: str) -> NotFound:
    """The one sentence about endpoints that are not there, or not there for the caller."""
    return NotFound(f"endpoint {endpoint!r} does not exist; check the id in the path, {_ID}")


def unknown_worker() -> Unauthorized:
    """The one sentence about tokens that let nobody in."""
    return Unauthorized("the bearer token is not one of a worker, or the worker's endpoint is gone")


class Endpoints:
    """The registered endpoints by id."""

    def __init__(self) -> None:
        self._states: dict[str, EndpointState] = {}
        self._expected: set[str] = set()
        self.complete = True
        """Whether these are all; False while a job store has never been reached."""

        self.keys: Credentials[EndpointKey] = Credentials()
        self._workers: Credentials[str] = Credentials()
        self.pools = Pools()

    def get(self, endpoint: str) -> EndpointState:
        """Raises `NotFound` for an endpoint that is not registered, `StoreAway` when that is not known, and
        `Unavailable` when it is about to be."""
        state = self._states.get(endpoint)
        if state is None:
            if endpoint in self._expected:
                raise Unavailable(f"endpoint {endpoint!r} is about to be registered; try again")
            self.check_complete()
            raise no_endpoint(endpoint)
        return state

    def expect(self, endpoints: Iterable[str]) -> None:
        """These are about to be registered: until then nobody is told that they do not exist."""
        self._expected |= set(endpoints) - self._states.keys()

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
        """What is known of it; None for one that the operator has not registered here."""
        return self._states.get(endpoint)

    def owner(self, endpoint: str) -> str:
        """Whose it is, as the registration says; empty where nobody does."""
        state = self.find(endpoint)
        return "" if state is None else state.registration.owner

    def put(self, registration: EndpointRegistration, text: bytes = b"") -> EndpointState:
        """Add an endpoint or replace its registration, which came as `text`."""
        state = self._states.get(registration.endpoint_id)
        if state is None:
            state = self._states[registration.endpoint_id] = EndpointState(registration)
        self._expected.discard(registration.endpoint_id)
        state.registration, state.text = registration, text
        self.keys.put(registration.endpoint_id, {key.sha256: key for key in registration.api_keys})
        tokens = {token.sha256.lower(): token.revision for token in registration.worker_tokens}
        self._workers.put(registration.endpoint_id, tokens)
        pools = ((each.namespace, each.deployment, each.revision) for each in registration.worker_pools)
        self.pools.put(registration.endpoint_id, pools)
        return state

    def remove(self, endpoint: str) -> None:
        """Forget it, with the keys and tokens that let callers and workers in."""
        self._states.pop(endpoint, None)
        self.keys.remove(endpoint)
        self._workers.remove(endpoint)
        self.pools.remove(endpoint)

    def ids(self) -> Iterable[str]:
        return self._states.keys()

    def all(self) -> list[EndpointState]:
        return list(self._states.values())
