"""The store's commits replayed on a model of one's own, which knows what may follow what and what took how long.

The model takes nothing from the engine but what was asked and what was answered. It keeps true time: a limit that a
stepped clock brought forward shows here.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from submodel.contract import limits
from submodel.contract.states import JobState
from submodel_gateway.jobs.record import AGING_MS, Job
from submodel_gateway.jobs.transition import Reason, Transition
from submodel_gateway.store import base
from tests.sim.history import Committed

QUEUED, RUNNING = JobState.IN_QUEUE, JobState.IN_PROGRESS

STEERING = 0.002
"""How much faster than true time a steered clock may run, with a margin."""

SLACK_MS = 100
AWAY_MS = 5_000
"""A gap between sweeps after which the engine counts an outage."""


class Violation(NamedTuple):
    """Something that must never happen; `at` in milliseconds of the run."""

    at: int
    text: str

    def __str__(self) -> str:
        return f"{self.at / 1000:9.3f}  {self.text}"


@dataclass(slots=True)
class Execution:
    """One lease, from its take to its end. Instants as in `history`; `*_timed` as the gateway's clock was read."""

    job: str
    gen: int
    attempt: int
    token: str
    worker: str
    session: str
    taken_at: int
    taken_timed: int
    signed_at: int
    signed_timed: int
    items: list[bytes] = field(default_factory=list)
    ended_at: int | None = None
    void: bool = False
    """Over without an outcome: what it streamed is gone."""

    lost_by: str | None = None
    """The operation that ended it without an outcome; a job that was given back is not lost."""


@dataclass(slots=True)
class Final:
    """How a generation ended."""

    state: JobState
    at: int
    timed_at: int
    token: str | None
    output: base.Payload | None
    error: str | None
    kept_until: float = math.inf
    """When it may be forgotten at the earliest because somebody asked for that; as the gateway's clock was read."""


@dataclass(slots=True)
class Entry:
    """What the model knows of one job."""

    submit: base.Submit
    seq: int
    submitted_at: int
    queued_timed: int
    place: int
    deadline: int
    state: JobState = QUEUED
    gen: int = 1
    charged: int = 0
    run_at: int = 0
    live: Execution | None = None
    executions: list[Execution] = field(default_factory=list)
    finals: dict[int, Final] = field(default_factory=dict)
    timeline: list[tuple[int, JobState, int]] = field(default_factory=list)
    """State and generation since an instant."""

    forgotten_at: int | None = None

    def execution(self, attempt: int) -> Execution | None:
        """The lease with that number."""
        return next((each for each in self.executions if each.attempt == attempt), None)


class Ledger:
    """Replays commits; `violations` are what no engine may do.

    Args:
        lag_ms: how far true time may be ahead of the store's, which may then catch up.
        awakenings: instants at which the gateway or its store was there again, in order.
    """

    def __init__(self, lag_ms: int, awakenings: list[int]) -> None:
        self.jobs: dict[str, Entry] = {}
        self.violations: list[Violation] = []
        self.executions: list[Execution] = []
        self.totals: Counter[str] = Counter()
        """`arrived`, `retried`, and final states by name, as the tallies count them."""

        self.alive: list[tuple[int, int]] = [(0, 0)]
        """How many jobs were alive since an instant."""

        self._lag_ms = lag_ms
        self._awakenings = awakenings
        self._keys: dict[tuple[str, str], str] = {}
        self._swept_timed = 0
        self._outage_over_at = 0

    def replay(self, event: Committed) -> None:
        """Follow one commit."""
        operation, outcome = event.operation, event.outcome
        rule = _RULES.get(type(operation))
        if rule is not None:
            rule(self, event, operation, outcome)
        elif type(operation) in _WRITES and isinstance(outcome, base.Applied | base.Refused):
            self._worker_write(event, operation, outcome)

    def _say(self, event: Committed, text: str) -> None:
        self.violations.append(Violation(event.at, text))

    def _set(self, event: Committed, entry: Entry, state: JobState) -> None:
        change = (not state.terminal) - (not entry.state.terminal) if entry.timeline else 1
        entry.state = state
        entry.timeline.append((event.at, state, entry.gen))
        if change:
            self.alive.append((event.at, self.alive[-1][1] + change))

    # Clients:

    def _submit(self, event: Committed, operation: base.Submit, outcome: base.Outcome) -> None:
        key = operation.idempotency
        place = None if key is None else (key.principal, key.key)
        if isinstance(outcome, base.Repeated):
            if place is None or self._keys.get(place) != outcome.id:
                self._say(event, f"the key of {operation.id} led to {outcome.id}, which it does not belong to")
        elif isinstance(outcome, base.Applied) and (job := outcome.change.after) is not None:
            if place is not None and place in self._keys:
                self._say(event, f"{job.id} is a second job of the key of {self._keys[place]}")
            if place is not None:
                self._keys[place] = job.id
            entry = self.jobs[job.id] = Entry(
                submit=operation,
                seq=job.seq,
                submitted_at=event.at,
                queued_timed=event.timed_at,
                place=job.queued_at - operation.pri * AGING_MS,
                deadline=job.queued_at + operation.ttl_ms,
            )
            self.totals["arrived"] += 1
            self._set(event, entry, QUEUED)
        else:
            self._say(event, f"submit of {operation.id} was answered {outcome}")

    def _cancel(self, event: Committed, operation: base.Cancel, outcome: base.Outcome) -> None:
        entry = self.jobs.get(operation.id)
        if isinstance(outcome, base.Applied):
            self._ended(event, operation.id, JobState.CANCELLED, outcome.change.error)
        elif entry is not None and not entry.state.terminal:
            self._say(event, f"a cancel of {operation.id}, which is {entry.state}, was refused")

    def _retry(self, event: Committed, operation: base.Retry, outcome: base.Outcome) -> None:
        entry = self.jobs.get(operation.id)
        if not isinstance(outcome, base.Applied) or (job := outcome.change.after) is None:
            return
        if entry is None or entry.state not in (JobState.FAILED, JobState.TIMED_OUT) or entry.forgotten_at is not None:
            self._say(event, f"{operation.id} was retried while {entry.state if entry else 'unknown'}")
            return
        if job.gen != entry.gen + 1:
            self._say(event, f"the retry of {operation.id} made generation {job.gen} of {entry.gen}")
        entry.gen += 1
        entry.charged, entry.run_at, entry.seq = 0, 0, job.seq
        entry.queued_timed = event.timed_at
        entry.place = job.queued_at - entry.submit.pri * AGING_MS
        entry.deadline = job.queued_at + entry.submit.ttl_ms
        self.totals["arrived"] += 1
        self._set(event, entry, QUEUED)

    def _purge(self, event: Committed, operation: base.Purge, outcome: base.Outcome) -> None:
        if operation.up_to > max((entry.seq for entry in self.jobs.values()), default=0):
            self._say(event, f"a purge up to {operation.up_to} reaches jobs that are not there yet")
        for change in base.changes(outcome):
            entry = self._of(change)
            if entry is None or entry.state is not QUEUED or entry.seq > operation.up_to:
                self._say(event, f"a purge ended {_id(change)}, which it had to spare")
            self._ended(event, _id(change), JobState.CANCELLED, change.error)

    def _shorten(self, event: Committed, operation: base.Shorten, outcome: base.Outcome) -> None:
        entry = self.jobs.get(operation.id)
        final = entry.finals.get(entry.gen) if entry else None
        if isinstance(outcome, base.Applied):
            if final is None or entry is None or not entry.state.terminal:
                self._say(event, f"{operation.id} is kept for {operation.keep_ms} ms although it is not final")
            else:
                final.kept_until = min(final.kept_until, event.timed_at + operation.keep_ms)
        elif entry is not None and entry.state.terminal and entry.forgotten_at is None and not self._due(event, entry):
            self._say(event, f"{operation.id} is {entry.state}, but how long it is kept was not shortened: {outcome}")

    def _due(self, event: Committed, entry: Entry) -> bool:
        """Whether it may be that the job is about to be forgotten."""
        final = entry.finals[entry.gen]
        passed = event.timed_at - final.timed_at
        return not (self._early(passed, entry.submit.retention_ms) and self._early(event.timed_at, final.kept_until))

    # Workers:

    def _take(self, event: Committed, operation: base.Take, outcome: base.Outcome) -> None:
        if not isinstance(outcome, base.Taken):
            return
        if len(outcome.leases) > operation.limit:
            self._say(event, f"{len(outcome.leases)} jobs for a take of {operation.limit}")
        for lease in outcome.leases:
            self._leased(event, operation, lease)

    def _leased(self, event: Committed, operation: base.Take, lease: base.Lease) -> None:
        job = lease.job
        entry = self.jobs.get(job.id)
        if entry is None or entry.forgotten_at is not None:
            self._say(event, f"{job.id} was handed out, which is unknown")
            return
        if entry.state is not QUEUED:
            self._say(event, f"{job.id} was handed out while {entry.state}")
        self._check_turn(event, entry, job)
        known = [each.token for each in entry.executions]
        if job.token in known or job.attempt != len(known) + 1:
            self._say(event, f"{job.id} was handed out under {job.token} after {known}")
        if lease.input != entry.submit.input:
            self._say(event, f"{job.id} was handed out with another input")
        entry.charged += 1
        if entry.charged > entry.submit.max_attempts:
            self._say(event, f"{job.id} was handed out {entry.charged} times in one generation")
        execution = Execution(
            job=job.id,
            gen=entry.gen,
            attempt=job.attempt,
            token=job.token,
            worker=operation.worker,
            session=operation.session,
            taken_at=event.at,
            taken_timed=event.timed_at,
            signed_at=event.at,
            signed_timed=event.timed_at,
        )
        entry.live = execution
        entry.executions.append(execution)
        self.executions.append(execution)
        self._set(event, entry, RUNNING)

    def _check_turn(self, event: Committed, entry: Entry, job: Job) -> None:
        now = job.taken_at or 0
        if not entry.run_at <= now < entry.deadline:
            self._say(event, f"{job.id} was handed out at {now}, not between {entry.run_at} and {entry.deadline}")
        mine = (entry.place, entry.seq)
        for id, other in self.jobs.items():
            if other.state is QUEUED and (other.place, other.seq) < mine and other.run_at <= now < other.deadline:
                self._say(event, f"{job.id} was handed out before {id}, which was ahead of it")

    def _worker_write(self, event: Committed, operation: Any, outcome: base.Applied | base.Refused) -> None:
        entry = self.jobs.get(operation.id)
        live = entry.live if entry else None
        name = type(operation).__name__
        if isinstance(outcome, base.Refused):
            refused_well = outcome.reason in (Reason.GAP, Reason.TOO_LARGE) or isinstance(operation, base.Lose)
            if live is not None and live.token == operation.token and not refused_well:
                self._say(event, f"{name} of {operation.id} was refused ({outcome.reason}) under the live token")
        elif entry is None:
            self._say(event, f"{name} was accepted for {operation.id}, which is unknown")
        elif isinstance(operation, base.Finish) and outcome.change.duplicate:
            final = entry.finals.get(entry.gen)
            if final is None or final.token != operation.token:
                self._say(
                    event, f"the result of {operation.id} under {operation.token} is not known, but was said to be"
                )
        elif live is None or live.token != operation.token:
            token = live.token if live else f"none, it is {entry.state}"
            self._say(
                event, f"{name} of {operation.id} was accepted under {operation.token}; the live token is {token}"
            )
        else:
            _WRITES[type(operation)](self, event, entry, live, operation, outcome.change)

    def _signed(
        self, event: Committed, entry: Entry, live: Execution, operation: base.Operation, change: Transition
    ) -> None:
        live.signed_at, live.signed_timed = event.at, event.timed_at

    def _progressed(
        self, event: Committed, entry: Entry, live: Execution, operation: base.Progress, change: Transition
    ) -> None:
        """The last value wins; nobody counts on any of them."""

    def _appended(
        self, event: Committed, entry: Entry, live: Execution, operation: base.AppendChunk, change: Transition
    ) -> None:
        known = len(live.items)
        if operation.seq > known + 1:
            self._say(event, f"items of {operation.id} from {operation.seq} were accepted after {known}")
        live.items.extend(operation.items[known + 1 - operation.seq :])

    def _finished(
        self, event: Committed, entry: Entry, live: Execution, operation: base.Finish, change: Transition
    ) -> None:
        state = JobState.COMPLETED if operation.error is None else JobState.FAILED
        self._ended(event, operation.id, state, operation.error, operation.output, operation.token)

    def _released(
        self, event: Committed, entry: Entry, live: Execution, operation: base.Release, change: Transition
    ) -> None:
        entry.charged -= 1
        self._requeued(event, entry, change)

    def _lost(self, event: Committed, entry: Entry, live: Execution, operation: base.Lose, change: Transition) -> None:
        self._charge(event, entry, change, type(operation).__name__, charged=operation.charged)

    # The operator and the sweeper:

    def _worker_gone(self, event: Committed, operation: base.WorkerGone, outcome: base.Outcome) -> None:
        for change in base.changes(outcome):
            entry = self._of(change)
            live = entry.live if entry else None
            theirs = live is not None and live.worker == operation.worker and operation.concerns(live.session)
            if entry is None or not theirs:
                self._say(event, f"the end of {operation.worker} took {_id(change)}, which it did not hold")
            else:
                self._charge(event, entry, change, "WorkerGone", charged=operation.charged)

    def _sweep(self, event: Committed, operation: base.Sweep, outcome: base.Outcome) -> None:
        # A gateway that has just come up may also see an outage in that the wall clock was set meanwhile.
        if event.timed_at - self._swept_timed > AWAY_MS - SLACK_MS or not operation.seen_at:
            self._outage_over_at = event.at
        self._swept_timed = event.timed_at
        for change in base.changes(outcome):
            entry = self._of(change)
            if entry is None:
                self._say(event, f"the sweep changed {_id(change)}, which is unknown")
            elif change.after is None:
                self._forgotten(event, entry, change)
            elif change.after.state is JobState.TIMED_OUT:
                self._timed_out(event, entry, change)
            elif change.after.state is RUNNING:
                self._held(event, entry, change.after)
            else:
                self._expired(event, entry, change)

    def _held(self, event: Committed, entry: Entry, after: Job) -> None:
        """Nobody could renew: what would have ended it meanwhile waits too."""
        entry.deadline = max(entry.deadline, after.deadline)
        live = entry.live
        if live is None or live.taken_at > self._back_at(event) + SLACK_MS:
            self._say(event, f"{entry.submit.id} is held, although it was taken after the last outage")

    def _forgotten(self, event: Committed, entry: Entry, change: Transition) -> None:
        final = entry.finals.get(entry.gen)
        if final is None or not entry.state.terminal:
            self._say(event, f"{_id(change)} was forgotten while {entry.state}")
        elif self._early(event.timed_at - final.timed_at, entry.submit.retention_ms) and self._early(
            event.timed_at, final.kept_until
        ):
            self._say(event, f"{_id(change)} was forgotten {event.timed_at - final.timed_at} ms after its end")
        entry.forgotten_at = event.at

    def _timed_out(self, event: Committed, entry: Entry, change: Transition) -> None:
        execution_ms = entry.submit.execution_timeout_ms
        waited = event.timed_at - entry.queued_timed
        ran = event.timed_at - entry.live.taken_timed if entry.live else 0
        too_old = not self._early(waited, entry.submit.ttl_ms)
        too_long = entry.live is not None and execution_ms > 0 and not self._early(ran, execution_ms)
        if not too_old and not too_long:
            self._say(event, f"{_id(change)} timed out after {waited} ms, of which it ran {ran}")
        self._ended(event, _id(change), JobState.TIMED_OUT, change.error)

    def _expired(self, event: Committed, entry: Entry, change: Transition) -> None:
        live = entry.live
        if live is None:
            self._say(event, f"the lease of {_id(change)} expired, which had none")
            return
        silent = event.timed_at - live.signed_timed
        caught_up = AWAY_MS if any(live.signed_at <= at <= event.at for at in self._awakenings) else 0
        if silent < limits.LEASE_MS * (1 - STEERING) - SLACK_MS - caught_up:
            self._say(event, f"the lease of {_id(change)} expired {silent} ms after a sign of life")
        self._charge(event, entry, change, "Sweep", charged=True)

    # What all of them do:

    def _early(self, passed_ms: int, limit_ms: float) -> bool:
        return passed_ms < limit_ms * (1 - STEERING) - SLACK_MS - self._lag_ms

    def _of(self, change: Transition) -> Entry | None:
        return self.jobs.get(_id(change))

    def _charge(self, event: Committed, entry: Entry, change: Transition, by: str, *, charged: bool) -> None:
        """An execution was lost: the job waits again, or has failed."""
        live = entry.live
        if live is not None:
            live.lost_by = by
        if not charged:
            entry.charged -= 1
        after = change.after
        if after is not None and after.state is JobState.FAILED:
            if entry.charged < entry.submit.max_attempts:
                self._say(event, f"{_id(change)} failed after {entry.charged} lost executions")
            self._ended(event, _id(change), JobState.FAILED, change.error)
        else:
            self._requeued(event, entry, change)

    def _requeued(self, event: Committed, entry: Entry, change: Transition) -> None:
        if entry.live is not None:
            entry.live.void = True
        self._close(event, entry)
        entry.run_at = change.after.run_at if change.after else 0
        self.totals["retried"] += 1
        self._set(event, entry, QUEUED)

    def _ended(
        self,
        event: Committed,
        id: str,
        state: JobState,
        error: str | None,
        output: base.Payload | None = None,
        token: str | None = None,
    ) -> None:
        entry = self.jobs.get(id)
        if entry is None or entry.state.terminal or entry.forgotten_at is not None:
            self._say(event, f"{id} became {state} while {entry.state if entry else 'unknown'}")
            return
        if entry.gen in entry.finals:
            self._say(event, f"{id} ended twice in generation {entry.gen}")
        self._close(event, entry)
        entry.finals[entry.gen] = Final(state, event.at, event.timed_at, token, output, error)
        self.totals[state.value] += 1
        self._set(event, entry, state)

    def _close(self, event: Committed, entry: Entry) -> None:
        if entry.live is not None:
            entry.live.ended_at = event.at
            self._check_silence(event, entry.live)
            entry.live = None

    def _check_silence(self, event: Committed, execution: Execution) -> None:
        silent = event.at - max(execution.signed_at, self._back_at(event))
        if silent > limits.LEASE_MS + SWEEP_LATE_MS:
            self._say(event, f"{execution.job} was left with {execution.session}, silent for {silent} ms")

    def _back_at(self, event: Committed) -> int:
        """When the last time was over in which workers may not have been heard."""
        return max([self._outage_over_at, *(at for at in self._awakenings if at <= event.at)])


SWEEP_LATE_MS = 25_000
"""How much later than due a sweep may take effect: its period, and the slowest reads and commits of a run."""


def _id(change: Transition) -> str:
    job = change.after or change.before
    return job.id if job else ""


# Any: each rule takes its own kind of operation, and the tables pair them by that kind.
_RULES: dict[type, Callable[[Ledger, Committed, Any, base.Outcome], None]] = {
    base.Submit: Ledger._submit,
    base.Cancel: Ledger._cancel,
    base.Retry: Ledger._retry,
    base.Purge: Ledger._purge,
    base.Shorten: Ledger._shorten,
    base.Take: Ledger._take,
    base.WorkerGone: Ledger._worker_gone,
    base.Sweep: Ledger._sweep,
}
_WRITES: dict[type, Callable[[Ledger, Committed, Entry, Execution, Any, Transition], None]] = {
    base.Heartbeat: Ledger._signed,
    base.Progress: Ledger._progressed,
    base.AppendChunk: Ledger._appended,
    base.Finish: Ledger._finished,
    base.Release: Ledger._released,
    base.Lose: Ledger._lost,
}
