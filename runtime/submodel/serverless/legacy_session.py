"""What a worker on a hosted platform says next, and what the answers mean. Pure; `legacy_exchange` adds threads.

One request at a time of each of these is under way, and up to `POSTS_MAX` posts, one per job:

- TAKE is held by the platform and brings jobs: as many as are free, by its other URL when that is more than one.
- STOP is held too, and opened while a job runs: it names jobs that shall end.
- PING lists the jobs that are here, every few seconds.
- POST delivers progress, a chunk or the result of one job, in this order.

What makes it safer than the SDKs that this dialect was made for:

1. A result stays here, and its job in the pings and in `job_in_progress`, until the platform took it; whatever else
   happens, the post is made again. A result that could not be posted keeps its slot, so what waits is bounded.
2. A post that can never succeed (too large, unreadable) is replaced by a sentence that fails the job; a job that the
   platform says it does not know, again and again, is dropped.
3. No answer, however wrong or quick, makes requests without a pause between them.
4. A job that comes again while it is here is not run twice; its one result answers both.
5. A worker that leaves runs what it has, and what the TAKE under way brings all the same: it cannot be given back.
"""

import math

from submodel.contract.exchange import LeasedJob, Startup
from submodel.serverless import legacy_bodies
from submodel.serverless.backoff import backoff_seconds, longer_pause
from submodel.serverless.dialect import Concurrency, Flow, News
from submodel.serverless.http_reply import Reply
from submodel.serverless.legacy_calls import Call, Item, Kind, LegacyCalls
from submodel.serverless.legacy_leases import LegacyLease
from submodel.serverless.legacy_urls import LegacyUrls
from submodel.serverless.outcome import Outcome

POSTS_MAX = 4
BUSY_SECONDS = 5.0
"""How long a 429 keeps a worker away."""

STOP_AFTER_SECONDS = 0.05
"""How long a job has run before the worker asks what to stop; shorter ones need no such request."""

NO_STOPS_SECONDS = 60.0
"""When a platform that does not know that question is asked again."""

UNKNOWN_TRIES = 15
"""How often a platform must say that it does not know a job before what is here of it is dropped."""

CONGESTED_BYTES = 8 * 1024 * 1024

TOO_LARGE = "the platform refused the output: it is too large; upload it and return its URL"
UNREADABLE = "the platform cannot read the output; return plain JSON values, nested less deeply"

_UNKNOWN = (404, 409, 410)
_HOPELESS = {400: UNREADABLE, 413: TOO_LARGE, 422: UNREADABLE}


class LegacySession(Concurrency):
    """State of one worker process towards its platform. Not thread-safe. `now` is a monotonic clock in seconds."""

    def __init__(self, urls: LegacyUrls, concurrency: int, version: str) -> None:
        self._urls = urls
        super().__init__(concurrency)
        self._calls = LegacyCalls(urls, version)
        self._leases: dict[str, LegacyLease] = {}
        self._under_way: dict[Kind, int] = dict.fromkeys(Kind, 0)
        self._deliveries = 0
        self._ready = False
        self._leaving = False
        self._reason = ""
        self._said_reason = False
        self._at = {Kind.TAKE: -math.inf, Kind.STOP: -math.inf, Kind.PING: -math.inf}
        """Before this instant no such request is made."""

        self._failures = {Kind.TAKE: 0, Kind.STOP: 0}
        self._pause = {Kind.TAKE: 0.0, Kind.STOP: 0.0}

    # The worker's side:

    def ready(self) -> None:
        self._ready = True

    def set_startup(self, startup: Startup) -> None:
        """These platforms do not ask."""

    def fail(self, reason: str) -> None:
        self._reason = reason
        self._said_reason = not self._urls.ping

    def begin(self, token: str) -> bool:
        lease = self._leases.get(token)
        if lease is None:
            return False
        lease.begun = True
        return True

    def add_chunk(self, token: str, chunk: bytes) -> tuple[Flow, bool]:
        lease = self._leases.get(token)
        if lease is None or lease.stopped or lease.outcome is not None:
            return Flow.END, False
        if self._urls.stream:
            lease.chunks.append(chunk)
            lease.size += len(chunk)
        return Flow.WAIT if self.congested else Flow.ON, not lease.carried

    def set_progress(self, job_id: str, value: bytes) -> None:
        for lease in self._leases.values():
            if lease.id == job_id and not lease.stopped and lease.outcome is None and lease.begun:
                lease.progress = value

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        lease = self._leases.get(token)
        if lease is None:
            return
        if lease.stopped:
            del self._leases[token]
        elif lease.outcome is None:
            lease.outcome, lease.progress = outcome, None

    def leave(self) -> None:
        """Ask for no more jobs."""
        self._leaving = True

    def give_up(self) -> list[str]:
        """The jobs that still run. There is no way to give them back but to leave: the platform finds out."""
        return [token for token, lease in self._leases.items() if lease.outcome is None and not lease.stopped]

    @property
    def settled(self) -> bool:
        if self._reason:
            return self._said_reason
        return self._leaving and not self._leases and not self._under_way[Kind.TAKE]

    @property
    def congested(self) -> bool:
        return sum(lease.size for lease in self._leases.values()) > CONGESTED_BYTES

    # What to say next:

    def next_call(self, now: float) -> Call | float:
        """The next request to make, or the instant at which to ask again if nothing changes before (may be inf)."""
        if self._reason:
            if self._said_reason or self._under_way[Kind.PING]:
                return math.inf
            return self._fly(self._calls.farewell(now, self._reason))
        due, post_at = self._next_post(now)
        if due is not None:
            return self._fly(self._calls.post(now, due, self._leases[due]))
        at = post_at
        for kind, earliest in (
            (Kind.PING, self._ping_at()),
            (Kind.TAKE, self._take_at()),
            (Kind.STOP, self._stop_at()),
        ):
            if self._under_way[kind]:
                continue
            if earliest <= now:
                return self._fly(self._ask(kind, now))
            at = min(at, earliest)
        return at

    def _next_post(self, now: float) -> tuple[str | None, float]:
        """The lease of which something is to be posted, or when there may be one."""
        if self._under_way[Kind.POST] >= POSTS_MAX:
            return None, math.inf
        at = math.inf
        for token, lease in self._leases.items():
            if lease.loaded:
                if lease.retry_at <= now:
                    return token, now
                at = min(at, lease.retry_at)
        return None, at

    def _ping_at(self) -> float:
        if not self._urls.ping or not self._ready:
            return math.inf
        return self._at[Kind.PING]

    def _take_at(self) -> float:
        if not self._ready or self._leaving or not self._free_slots():
            return math.inf
        return self._at[Kind.TAKE]

    def _stop_at(self) -> float:
        if not self._urls.stop:
            return math.inf
        running = [lease.taken_at for lease in self._leases.values() if lease.outcome is None and not lease.stopped]
        return max(self._at[Kind.STOP], min(running, default=math.inf) + STOP_AFTER_SECONDS)

    def _free_slots(self) -> int:
        """A finished job is a slot again, unless its result could not be delivered at once."""
        busy = sum(1 for lease in self._leases.values() if lease.outcome is None or lease.failures)
        return max(0, self.concurrency - busy)

    def _fly(self, call: Call) -> Call:
        self._under_way[call.kind] += 1
        return call

    def _ask(self, kind: Kind, now: float) -> Call:
        if kind is Kind.STOP:
            return self._calls.stop(now)
        if kind is Kind.TAKE:
            return self._calls.take(now, self._free_slots(), busy=bool(self._leases))
        self._at[Kind.PING] = now + self._urls.ping_seconds
        return self._calls.ping(now, (lease.id for lease in self._leases.values()))

    # What the answers mean:

    def answered(self, call: Call, reply: Reply | None, now: float, jitter: float) -> News:
        """Read the answer to a request under way.

        Args:
            reply: None when there was none.
            jitter: in [0, 1), for the pause after a failure.
        """
        self._under_way[call.kind] -= 1
        if call.kind is Kind.POST:
            return News([], self._delivered(call, reply, now, jitter))
        if call.kind is Kind.PING:
            self._said_reason = self._said_reason or bool(self._reason)
            return News([], [])
        status = reply.status if reply is not None else 0
        found = self._found(call.kind, reply.body, now) if reply is not None and status == 200 else News([], [])
        if found.jobs or found.stops:
            self._failures[call.kind], self._pause[call.kind] = 0, 0.0
        else:
            self._at[call.kind] = now + self._wait(call, status, now, jitter)
        return found

    def _found(self, kind: Kind, body: bytes, now: float) -> News:
        if kind is Kind.STOP:
            return News([], self._stop(legacy_bodies.stops(body)))
        try:
            return News(self._accept(legacy_bodies.jobs(body), now), [])
        except ValueError:
            return News([], [])

    def _wait(self, call: Call, status: int, now: float, jitter: float) -> float:
        """How long to wait after an answer that brought nothing."""
        if status in (200, 204, 400):
            self._failures[call.kind] = 0
            quick = now - call.sent_at < 1.0
            self._pause[call.kind] = longer_pause(self._pause[call.kind]) if quick else 0.0
            return self._pause[call.kind]
        if status == 429:
            return BUSY_SECONDS
        if call.kind is Kind.STOP and status == 404:
            return NO_STOPS_SECONDS
        self._failures[call.kind] += 1
        return backoff_seconds(self._failures[call.kind], jitter)

    def _accept(self, jobs: list[LeasedJob], now: float) -> list[LeasedJob]:
        here = {lease.id for lease in self._leases.values() if not lease.stopped}
        accepted = []
        for job in jobs:
            if job.id in here:
                continue
            here.add(job.id)
            self._deliveries += 1
            job.token = f"{self._deliveries}"
            self._leases[job.token] = LegacyLease(job.id, now)
            accepted.append(job)
        return accepted

    def _stop(self, ids: list[str]) -> list[str]:
        """Tokens of begun leases whose handlers shall end; what has not begun is not run."""
        stops = []
        for token, lease in list(self._leases.items()):
            if lease.id not in ids or lease.stopped or lease.outcome is not None:
                continue
            if lease.begun:
                lease.stopped = True
                lease.clear()
                stops.append(token)
            else:
                del self._leases[token]
        return stops

    def _delivered(self, call: Call, reply: Reply | None, now: float, jitter: float) -> list[str]:
        """Tokens of leases whose handlers shall end."""
        lease = self._leases.get(call.token)
        if lease is None:
            return []
        lease.carried = False
        status = reply.status if reply is not None else 0
        if 200 <= status < 300 or call.item is Item.PROGRESS:
            lease.failures = lease.unknown = 0
            self._delivered_item(call.token, lease, call.item)
            return []
        lease.failures += 1
        lease.unknown = lease.unknown + 1 if status in _UNKNOWN else 0
        lease.retry_at = now + (BUSY_SECONDS if status == 429 else backoff_seconds(lease.failures, jitter))
        if lease.stopped:
            return []
        if lease.unknown >= UNKNOWN_TRIES:
            return self._drop(call.token, lease)
        return self._replace(call.token, lease, _HOPELESS[status]) if status in _HOPELESS else []

    def _delivered_item(self, token: str, lease: LegacyLease, item: Item | None) -> None:
        if item is Item.RESULT:
            del self._leases[token]
        elif item is Item.CHUNK and lease.chunks:
            lease.size -= len(lease.chunks.popleft())

    def _drop(self, token: str, lease: LegacyLease) -> list[str]:
        """The platform does not know the job: nobody waits for it."""
        if lease.outcome is None:
            lease.stopped = True
            lease.clear()
            return [token]
        del self._leases[token]
        return []

    def _replace(self, token: str, lease: LegacyLease, sentence: str) -> list[str]:
        """Fail the job with a sentence instead of what can never be delivered; drop it when not even that can."""
        stops = [] if lease.outcome is not None else [token]
        if lease.outcome is not None and lease.outcome.error == sentence:
            del self._leases[token]
            return []
        lease.clear()
        lease.outcome = Outcome(error=sentence)
        lease.retry_at = -math.inf
        return stops
