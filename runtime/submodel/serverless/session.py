"""What the worker says to the gateway next, and what the answers mean. Pure; `exchange` adds threads and clock.

A session has up to three requests under way, at most one of each kind:

- TAKE is held by the gateway and may bring jobs. Its `capacity` is all that is free when it is written, and while it
  is out no other request offers capacity: the gateway can never hand out more than fits.
- LISTEN is held while nothing is free (or the worker drains), to hear of stops and drains. It cannot bring jobs and
  carries nothing, so it is never waited for.
- FLUSH is answered at once and carries what must not wait for a held request: results, chunks, progress, heartbeats,
  a changed phase.

A short job ends before LISTEN is due, so its result and the call for the next job travel in one TAKE; where more jobs
fit, TAKE waits a moment for that. A result may ride on a TAKE because nothing follows it; chunks of a running job ride
on a FLUSH only, where the answer is near.

Consistency with several requests under way:

1. Every request carries the full list of leases the worker knows. A lease whose result is under way in another request
   stays in the list until that result is acknowledged; a lease is absent only from the request that ends it.
2. `unanswered` names the requests whose answers were not read yet. A job handed out in an answer that is still on its
   way is therefore absent from `running` without being missing (contract: `ExchangeRequest`).
3. A request that offers capacity or carries items is repeated, under its number and unchanged, until it is answered:
   the stored answer comes again and no lease is lost in a broken connection. Any other request is dropped when it
   fails, and a new one says what is true by then. One that was refused as a whole for what it carried had no effect:
   its items go again, each job's in a request of its own.
4. A worker that leaves says so in a FLUSH and cuts its TAKE short: it repeats the number with capacity 0 and no wait.
   That brings the stored answer, whose jobs are released, or a new one without jobs. When this fails too the gateway is
   away; it takes back what it had handed out, like everything of a worker that is gone.
5. Answers are read in any order. `stale` for a lease that another request is ending at that moment means nothing.
"""

import enum
import math
from dataclasses import dataclass, field

import msgspec

from submodel.contract import limits
from submodel.contract.exchange import ExchangeAnswer, ExchangeRequest, Held, Startup
from submodel.contract.states import WorkerPhase
from submodel.serverless.backoff import longer_pause
from submodel.serverless.dialect import Concurrency, Flow, News
from submodel.serverless.leases import Cargo, Leases
from submodel.serverless.outcome import Outcome

LISTEN_AFTER_SECONDS = 0.05
"""How long a worker is full before it opens a LISTEN; shorter jobs never need one."""

TAKE_AFTER_SECONDS = 0.001
"""How long after new jobs came the next TAKE waits for the first result, when more jobs would fit."""

BATCH_SECONDS = 0.01
BATCH_BYTES = 64 * 1024
"""Chunks and progress wait at most this long, or for this much, after the previous FLUSH."""

BEATS = 4
"""How often a lease is renewed in its time: a handler may then hold the interpreter's lock for two thirds of it."""

FORSAKEN_SECONDS = 20.0
"""How long a gateway may not know a worker that leaves, until what that holds is dropped: the endpoint was deleted. One
that lost its database, or its connection to what vouches for workers, knows them again sooner."""

CONGESTED_BYTES = 8 * 1024 * 1024
"""Unacknowledged chunks above which generators pause."""

REQUEST_BYTES = limits.EXCHANGE_BODY_BYTES // 2
"""Payload after which a request is full; the rest goes with the next one."""


class Kind(enum.Enum):
    """What a request is for, see above."""

    TAKE = enum.auto()
    LISTEN = enum.auto()
    FLUSH = enum.auto()


@dataclass(slots=True, eq=False)
class Flight:
    """A request under way."""

    kind: Kind
    request: ExchangeRequest
    sent_at: float
    cargo: dict[str, Cargo] = field(default_factory=dict)
    """By lease token."""

    @property
    def must_be_answered(self) -> bool:
        """Whether losing its answer would lose something (rule 3)."""
        return bool(self.cargo) or self.request.capacity > 0


class Session(Concurrency):
    """State of one worker process towards the gateway. Not thread-safe. `now` is a monotonic clock in seconds."""

    def __init__(self, session: str, concurrency: int) -> None:
        self._session = session
        super().__init__(concurrency)
        self._number = 0
        self._leases = Leases()
        self._flights: dict[Kind, Flight] = {}
        self._startup: Startup | None = None
        self._ready = False
        self._leaving = False
        self._told_to_drain = False
        self._said_goodbye = False
        self._reason = ""
        self._refused_at = math.inf
        self._said_phase: WorkerPhase | None = None
        self._lease_seconds = limits.LEASE_MS / 1000
        self._sent_at = -math.inf
        self._flushed_at = -math.inf
        self._full_since = math.inf
        self._quiet_until = -math.inf
        self._hold_from = -math.inf
        self._take_from = -math.inf
        self._empty_pause = 0.0

    # The worker's side:

    @property
    def phase(self) -> WorkerPhase:
        if self._reason:
            return WorkerPhase.UNHEALTHY
        if self._leaving or (self._ready and self._told_to_drain):
            return WorkerPhase.DRAINING
        return WorkerPhase.READY if self._ready else WorkerPhase.STARTING

    def ready(self) -> None:
        """From now on jobs may come."""
        self._ready = True

    def set_startup(self, startup: Startup) -> None:
        """What the start was made of; said until it was heard."""
        self._startup = startup

    def fail(self, reason: str) -> None:
        """The worker cannot serve; `reason` is for people."""
        self._reason = reason

    def begin(self, token: str) -> bool:
        """The handler is about to be called; False when the job is no longer wanted."""
        lease = self._leases.get(token)
        if lease is None or lease.final:
            return False
        lease.begun = True
        return True

    def add_chunk(self, token: str, chunk: bytes) -> tuple[Flow, bool]:
        """Stream a chunk. Gives how the generator goes on, and whether the next request may be due earlier now.

        Both are looked at once per `BATCH_BYTES` of a job, the second one also at what may be the first of a batch.
        """
        lease = self._leases.get(token)
        if lease is None or lease.stopped or lease.final:
            return Flow.END, False
        batches, first = lease.size // BATCH_BYTES, not lease.chunks
        lease.add_chunk(chunk)
        if lease.size // BATCH_BYTES == batches:
            return Flow.ON, first
        return Flow.WAIT if self.congested else Flow.ON, True

    def set_progress(self, job_id: str, value: bytes) -> None:
        for lease in self._leases.values():
            if lease.id == job_id and lease.begun and not lease.stopped and not lease.final:
                lease.progress = value

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        """The handler returned. The outcome of a job that is no longer wanted is dropped."""
        lease = self._leases.get(token)
        if lease is None or lease.released:
            return
        if lease.stopped:
            del self._leases[token]
        elif lease.outcome is None:
            lease.finish(outcome, execution_ms)

    def leave(self) -> list[Flight]:
        """Take no more jobs and give back what has not begun. Returns the requests to be sent again (rule 4)."""
        if self._leaving:
            return []
        self._leaving = True
        self._said_goodbye = self._said_phase is WorkerPhase.DRAINING
        for lease in self._leases.values():
            lease.released = not lease.begun
        take = self._flights.get(Kind.TAKE)
        if take is None:
            return []
        take.request = msgspec.structs.replace(take.request, capacity=0, wait_ms=0, phase=self.phase)
        return [take]

    def give_up(self) -> list[str]:
        """Give back what still runs; returns the tokens of those jobs."""
        running = [lease for lease in self._leases.values() if lease.begun and not lease.final and not lease.stopped]
        for lease in running:
            lease.released = True
        return [lease.token for lease in running]

    @property
    def settled(self) -> bool:
        """Whether a worker that leaves has nothing left to do or to say, or one that failed has said so."""
        if self._reason:
            return self._said_phase is WorkerPhase.UNHEALTHY
        if self._leases or not self._said_goodbye:
            return False
        return Kind.TAKE not in self._flights and not any(each.must_be_answered for each in self._flights.values())

    @property
    def congested(self) -> bool:
        """Whether generators should pause until the gateway has taken more."""
        return sum(lease.size for lease in self._leases.values() if not lease.final) > CONGESTED_BYTES

    # What to say next:

    def next_request(self, now: float) -> Flight | float:
        """The next request to send, or the instant at which to ask again if nothing changes before (may be inf)."""
        if now < self._quiet_until:
            return self._quiet_until
        free = self._free_slots()
        if free:
            self._full_since = math.inf
        else:
            self._full_since = min(self._full_since, now)
        taking = Kind.TAKE in self._flights
        if free and not taking and self._hold_from <= now and (self._take_from <= now or self._has_results()):
            return self._fly(Kind.TAKE, now, capacity=free)
        flush_at = self._flush_at(now)
        if flush_at <= now:
            return self._fly(Kind.FLUSH, now)
        hold_at = math.inf
        if free and not taking:
            hold_at = max(self._hold_from, self._take_from)
        elif not taking and self._ready and Kind.LISTEN not in self._flights and not self._reason:
            hold_at = max(self._hold_from, self._full_since + LISTEN_AFTER_SECONDS)
            if hold_at <= now:
                return self._fly(Kind.LISTEN, now)
        return min(flush_at, hold_at)

    def _has_results(self) -> bool:
        return any(lease.final and lease.loaded for lease in self._leases.values())

    def _free_slots(self) -> int:
        if self.phase is not WorkerPhase.READY:
            return 0
        busy = sum(1 for lease in self._leases.values() if not lease.final)
        return max(0, self.concurrency - busy)

    def _flush_at(self, now: float) -> float:
        if Kind.FLUSH in self._flights:
            return math.inf
        at = self._sent_at + self._lease_seconds / BEATS if self._leases or not self._ready else math.inf
        if self._phase_unsaid():
            return now
        waiting = 0
        for lease in self._leases.values():
            if lease.loaded:
                if lease.final:
                    return now
                waiting += lease.size
                at = min(at, self._flushed_at + BATCH_SECONDS)
        return now if waiting >= BATCH_BYTES else at

    def _phase_unsaid(self) -> bool:
        if self._leaving:
            return not self._said_goodbye
        phases = {self._said_phase, *(flight.request.phase for flight in self._flights.values())}
        return self.phase not in phases

    def _fly(self, kind: Kind, now: float, capacity: int = 0) -> Flight:
        self._number += 1
        hold_ms = min(limits.EXCHANGE_WAIT_MS_MAX, int(self._lease_seconds * 1000 / BEATS))
        request = ExchangeRequest(
            session=self._session,
            request=self._number,
            phase=self.phase,
            unanswered=[flight.request.request for flight in self._flights.values()],
            reason=self._reason,
            capacity=capacity,
            wait_ms=0 if kind is Kind.FLUSH else hold_ms,
            startup=self._startup if self._ready else None,
        )
        flight = Flight(kind, request, now)
        if kind is not Kind.LISTEN:
            self._load(flight)
        for lease in self._leases.values():
            cargo = flight.cargo.get(lease.token)
            if not lease.stopped and not (cargo is not None and cargo.final):
                request.running.append(Held(id=lease.id, token=lease.token))
        self._flights[kind] = flight
        self._sent_at = now
        if kind is Kind.FLUSH:
            self._flushed_at = now
        return flight

    def _load(self, flight: Flight) -> None:
        size = 0
        for lease in self._leases.values():
            if not lease.loaded or (flight.kind is Kind.TAKE and not lease.final):
                continue
            if flight.cargo and (lease.alone or size + lease.weight > REQUEST_BYTES):
                break
            size += lease.weight
            flight.cargo[lease.token] = lease.load(flight.request)
            if lease.alone:
                break

    # What the answers mean:

    def refused(self, now: float) -> None:
        """The gateway does not know this worker, or its endpoint."""
        self._refused_at = min(self._refused_at, now)

    def unheard(self) -> None:
        """The gateway is away: it did not answer, or with an error of its own."""
        self._refused_at = math.inf

    def forsaken(self, now: float) -> bool:
        """Whether a worker that leaves is to drop what the gateway will never take."""
        return self._leaving and now - self._refused_at >= FORSAKEN_SECONDS

    def dropped(self, flight: Flight) -> None:
        """A request failed and is not repeated: it need not be answered, or the worker is forsaken."""
        self._end(flight)
        for token, cargo in flight.cargo.items():
            if lease := self._leases.get(token):
                lease.carrier = 0
                if cargo.final:
                    del self._leases[token]

    def refused_together(self, flight: Flight) -> None:
        """A request was refused as a whole, and so had no effect; what it carried goes again, each job by itself."""
        self._end(flight)
        for token in flight.cargo:
            if lease := self._leases.get(token):
                lease.carrier, lease.alone = 0, True

    def answered(self, flight: Flight, answer: ExchangeAnswer, now: float) -> News:
        """Read the answer to a request under way."""
        self._end(flight)
        self._refused_at = math.inf
        self._said_phase = flight.request.phase
        if flight.request.startup is not None:
            self._startup = None
        if answer.lease_ms > 0:
            self._lease_seconds = answer.lease_ms / 1000
        self._told_to_drain = answer.drain
        if answer.jobs:
            self._take_from = now + TAKE_AFTER_SECONDS
        self._pace(flight, answer, now)
        stops = self._leases.read(answer, flight.request.running, flight.cargo)
        return News(self._leases.accept(answer.jobs, leaving=self._leaving), stops)

    def _end(self, flight: Flight) -> None:
        del self._flights[flight.kind]
        if flight.kind is not Kind.TAKE and self._leaving and flight.request.phase is WorkerPhase.DRAINING:
            self._said_goodbye = True  # or tried to: a gateway that is away must not keep the process

    def _pace(self, flight: Flight, answer: ExchangeAnswer, now: float) -> None:
        """Keep away from a gateway that is busy, or that does not hold what it should hold."""
        if answer.retry_after_ms > 0:
            self._quiet_until = now + min(answer.retry_after_ms / 1000, self._lease_seconds / BEATS)
        if flight.kind is Kind.FLUSH or flight.cargo:
            return
        held_for = now - flight.sent_at
        news = answer.jobs or answer.stop or answer.stop_tokens or answer.refused
        if news or held_for * 2000 >= flight.request.wait_ms:
            self._empty_pause = 0.0
            return
        self._empty_pause = longer_pause(self._empty_pause)
        self._hold_from = now + self._empty_pause
