"""The session of a worker: what one of its processes said, holds and waits for. `sessions` finds it for a request."""

import asyncio
from dataclasses import dataclass, field

from submodel.contract.exchange import ExchangeRequest, Startup
from submodel.contract.states import WorkerPhase
from submodel_gateway.jobs.ids import delivery_id
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.legacy_memory import LegacyMemory, LegacyStream
from submodel_gateway.service.waiting import Hold

ANSWERS_KEPT = 8
"""A bound against workers that name too many; ours has at most three requests under way."""

ANSWER_KEPT_BYTES = 65_536
"""Larger ones are not kept: those of some hundred workers would fill the memory. Their jobs go out again instead, as
after a restart of the gateway."""

ANSWERS_BYTES = 16 * 1024 * 1024
"""About so much is kept for one endpoint, whose token may go from name to name: the more workers, the less for each."""

FORMER_KEPT = 16


def most_kept(workers: int) -> int:
    """How large an answer may be that is kept, where an endpoint has so many workers."""
    return min(ANSWER_KEPT_BYTES, ANSWERS_BYTES // (ANSWERS_KEPT * max(1, workers)))


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

    def fail(self, error: BaseException) -> None:
        """It gets none, and whoever waits for the same hears why."""
        if isinstance(error, asyncio.CancelledError):
            self.answer.cancel()
        else:
            self.answer.set_exception(error)
            self.answer.exception()  # mostly there is nobody


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

    completed: int = 0
    failed: int = 0
    stops: set[str] = field(default_factory=set)
    """Jobs that ended without this worker, not told yet, as the worker calls them."""

    stop_tokens: set[str] = field(default_factory=set)
    """Their leases, for a worker that has been given tokens."""

    stops_told: set[str] = field(default_factory=set)
    drain_told: bool = False
    answers: dict[int, bytes] = field(default_factory=dict)
    """The last answers by request number, for a worker that did not get them; empty where one was too large to keep."""

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
        # Requests travel on several connections: one that was overtaken tells how the worker was, not how it is.
        overtaken = request.request < self.newest
        said = (self.phase, self.reason) if overtaken else (request.phase, request.reason)
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

    def keep_answer(self, number: int, answer: bytes, most_bytes: int = ANSWER_KEPT_BYTES) -> None:
        """Store an answer, forgetting the oldest; of one that is larger than `most_bytes`, that there was one."""
        self.answers[number] = answer if len(answer) <= most_bytes else b""
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
