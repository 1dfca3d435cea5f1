"""Judges a history: what every caller was told, against what the store committed. Pure."""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from submodel.contract.states import JobState
from submodel_gateway.store import base
from tests.sim import history
from tests.sim.history import Event
from tests.sim.ledger import Entry, Execution, Ledger, Violation
from tests.sim.worker import item

FREEZE_MS_MIN = 15_000
"""A shorter freeze explains no lost execution: the worker is back before its lease ends."""

LATE_MS = 15_000
"""How late the network delivers what it delivers at all."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a run."""

    violations: list[Violation]
    jobs: int
    """Generations that arrived."""

    executions: int
    """Handlers called."""


def check(events: Iterable[Event]) -> Verdict:
    """Judge the events of one run."""
    checker = _Checker(list(events))
    checker.run()
    violations = sorted([*checker.ledger.violations, *checker.violations])
    return Verdict(violations, checker.ledger.totals["arrived"], checker.executions)


@dataclass(slots=True)
class _Session:
    """A worker's process."""

    down: history.WorkerDown | None = None
    freezes: list[tuple[int, int]] = field(default_factory=list)


class _Checker:
    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self.violations: list[Violation] = []
        self.executions = 0
        self._sessions: defaultdict[str, _Session] = defaultdict(_Session)
        self._downs = [event.at for event in events if isinstance(event, history.GatewayDown)]
        self._several = _most_at_once(events) > 1
        """Whether gateways shared the store."""

        self._begun_tokens = {event.token for event in events if isinstance(event, history.Begun)}
        self._arrivals: defaultdict[str, list[int]] = defaultdict(list)
        """When a session spoke to a gateway for the first time."""

        self._ids: dict[int, str] = {}
        self._read: dict[tuple[str, int, str], int] = {}
        self.ledger = Ledger(_lag_ms(events), _awakenings(events))

    def run(self) -> None:
        # All commits first: an answer may tell of one that the history names only later, at the same instant.
        for event in self._events:
            if isinstance(event, history.Committed):
                self.ledger.replay(event)
                if isinstance(event.operation, base.WorkerGone) and event.operation.keep is not None:
                    self._arrivals[event.operation.keep].append(event.at)
            elif isinstance(event, history.Frozen):
                self._sessions[event.who].freezes.append((event.at, event.until))
            elif isinstance(event, history.WorkerDown):
                self._sessions[event.session].down = event
        for event in self._events:
            rule = _RULES.get(type(event))
            if rule is not None:
                rule(self, event)
        for execution in self.ledger.executions:
            if execution.lost_by is not None and not self._explained(execution):
                self._say(execution.ended_at or 0, f"{_named(execution)} was lost by {execution.lost_by} for no reason")

    def _say(self, at: int, text: str) -> None:
        self.violations.append(Violation(at, text))

    def _entry(self, event: history.Answer, job: str) -> Entry | None:
        entry = self.ledger.jobs.get(job)
        if entry is None or entry.submitted_at > event.at:
            self._say(event.at, f"{job} was acknowledged, but is not stored")
            return None
        return entry

    # What clients were told:

    def _submitted(self, event: history.Submitted) -> None:
        if event.job is None or self._entry(event, event.job) is None:
            return
        if event.keyed and self._ids.setdefault(event.number, event.job) != event.job:
            self._say(event.at, f"one key led to {self._ids[event.number]} and to {event.job}")

    def _was_read(self, event: history.Read) -> None:
        entry = self._entry(event, event.job)
        if entry is None:
            return
        if event.state is None:
            if entry.forgotten_at is None or entry.forgotten_at > event.at:
                self._say(event.at, f"{event.job} was acknowledged, but not found")
            return
        if not _was(entry, event.asked_at, event.at, event.state, event.gen):
            self._say(event.at, f"{event.job} was read as {event.state} of generation {event.gen}, which it was not")
            return
        final = entry.finals.get(event.gen)
        if event.state.terminal and final is not None:
            told, stored = (event.output, event.error), (final.output, final.error)
            if told != stored:
                self._say(event.at, f"{event.job} was read as {event.state} with {told}, stored is {stored}")

    def _streamed(self, event: history.Streamed) -> None:
        entry = self._entry(event, event.job)
        execution = entry.execution(event.attempt) if entry else None
        if entry is None or (execution is None and not event.items):
            return
        if execution is None:
            self._say(event.at, f"{event.job} streamed items of attempt {event.attempt}, which it never had")
            return
        if event.asked_offset is not None and event.offset != event.asked_offset and event.items:
            self._say(event.at, f"{event.job} was read from {event.asked_offset}, the answer is from {event.offset}")
        expected = [item(execution.token, event.offset + 1 + index) for index in range(len(event.items))]
        if list(event.items) != expected:
            self._say(event.at, f"{event.job} streamed {list(event.items)} after {event.offset} of {execution.token}")
        self._check_end(event, entry, execution)
        if event.asked_offset is None:
            self._check_cursor(event)

    def _check_end(self, event: history.Streamed, entry: Entry, execution: Execution) -> None:
        """The answer that tells of the end has all that is left."""
        if execution.void or execution.gen != event.gen:
            return  # the generation ended without this execution
        end = event.offset + len(event.items)
        if event.state.terminal and event.offset <= len(execution.items) and end < len(execution.items):
            self._say(event.at, f"{event.job} is {event.state} with {len(execution.items)} items; {end} were told")

    def _check_cursor(self, event: history.Streamed) -> None:
        """A reader without offset gets an item twice only from a gateway that came after the one it had."""
        place = (event.reader, event.attempt, "" if self._several else event.gateway)
        read_to = self._read.get(place, 0)
        if event.items and event.offset < read_to:
            self._say(event.at, f"{event.job} streamed items after {event.offset} again, {read_to} were read")
        self._read[place] = max(read_to, event.offset + len(event.items))

    def _cancelled(self, event: history.CancelAnswered) -> None:
        entry = self._entry(event, event.job)
        if entry is None:
            return
        if event.state is None:
            if entry.forgotten_at is None or entry.forgotten_at > event.at:
                self._say(event.at, f"{event.job} was acknowledged, but not found by a cancel")
        elif not event.state.terminal and entry.gen < 2:  # a final job may be retried while its cancel is answered
            self._say(event.at, f"{event.job} was still {event.state} after its cancel was answered")

    def _retried(self, event: history.RetryAnswered) -> None:
        entry = self._entry(event, event.job)
        if entry is not None and event.accepted and entry.gen < 2:
            self._say(event.at, f"the retry of {event.job} was accepted, but it has one generation")

    def _snapshot(self, event: history.SnapshotRead) -> None:
        if event.queued + event.in_progress:
            return
        times = [at for at, _ in self.ledger.alive]
        first = bisect_right(times, event.asked_at) - 1
        last = bisect_right(times, event.at)
        if all(alive for _, alive in self.ledger.alive[first:last]):
            self._say(event.at, "the scaler was told of no jobs while there were some")

    # Workers:

    def _begun(self, event: history.Begun) -> None:
        self.executions += 1
        entry = self.ledger.jobs.get(event.job)
        if entry is None or all(each.token != event.token for each in entry.executions):
            self._say(event.at, f"{event.session} began {event.job} under {event.token}, which nobody handed out")

    def _acknowledged(self, event: history.Acknowledged) -> None:
        entry = self.ledger.jobs.get(event.job)
        finals = entry.finals.values() if entry else ()
        if not any(final.token == event.token and final.at <= event.at for final in finals):
            self._say(event.at, f"the result of {event.job} under {event.token} was acknowledged, but is not stored")

    def _worker_down(self, event: history.WorkerDown) -> None:
        if not event.idle or self._restarted(event.told_at, event.at):
            return
        for execution in self.ledger.executions:
            ended_at = execution.ended_at
            held = execution.taken_at <= event.at and (ended_at is None or ended_at > event.at)
            if held and execution.session == event.session:
                self._say(event.at, f"{_named(execution)} was removed with its worker, which was said to be idle")

    def _explained(self, execution: Execution) -> bool:
        """Whether something was done to the worker, or to the gateway while it answered, that cost the execution."""
        lost_at = execution.ended_at or 0
        session = self._sessions[execution.session]
        if session.down is not None and session.down.at <= lost_at:
            return True
        freezes = (end for begin, end in session.freezes if begin <= lost_at and end - begin >= FREEZE_MS_MIN)
        if any(end >= execution.signed_at for end in freezes):
            return True
        # An answer that was on its way when the gateway died is lost with its memory, and so is the lease in it; the
        # next gateway cannot tell a request that comes late from one that was never answered.
        undelivered = execution.token not in self._begun_tokens
        if undelivered and self._restarted(execution.taken_at - LATE_MS, lost_at):
            return True
        # So is one in an answer that was lost on its way, of a worker that goes on with another gateway and so gives it
        # no time to see that the job is listed nowhere: its lease ends it. The request may have been the first there.
        arrivals = self._arrivals[execution.session]
        if undelivered and self._several and any(execution.taken_at - LATE_MS <= at <= lost_at for at in arrivals):
            return True
        # Leases go on while the only gateway stands still. Of two, the other one ends them, also those of workers whose
        # words lie with the one that does.
        stood = [(begin, end) for begin, end in self._sessions["gateway"].freezes if end - begin >= FREEZE_MS_MIN]
        if self._several and any(begin <= lost_at and end >= execution.signed_at for begin, end in stood):
            return True
        return execution.lost_by == "WorkerGone" and self._haunted(execution.worker, lost_at)

    def _haunted(self, worker: str, at: int) -> bool:
        """Whether a late word of a dead process may have passed for a new one, to a gateway that knew neither."""
        deaths = [each.down.at for each in self._sessions.values() if each.down and each.down.worker == worker]
        lately = [died_at for died_at in deaths if at - 2 * LATE_MS <= died_at <= at]
        return any(self._several or self._restarted(died_at - 45_000, at) for died_at in lately)

    def _restarted(self, since: int, until: int) -> bool:
        return any(since <= at <= until for at in self._downs)

    # The run:

    def _defect(self, event: history.Defect) -> None:
        self._say(event.at, event.text)

    def _recount(self, event: history.Recount) -> None:
        entries = {id: entry for id, entry in self.ledger.jobs.items() if entry.forgotten_at is None}
        for id, entry in entries.items():
            if not entry.state.terminal:
                self._say(event.at, f"{id} is {entry.state} at the end")
        states = Counter(entry.state for entry in entries.values())
        if states != Counter(event.states):
            self._say(event.at, f"the store holds {event.states}, it should hold {dict(states)}")
        totals = self.ledger.totals
        expected = {"arrived": totals["arrived"], "retried": totals["retried"], "queued": 0, "in_progress": 0}
        expected |= {state.value.lower(): totals[state.value] for state in JobState if state.terminal}
        counted = {name: getattr(event.tally, name) for name in expected}
        if counted != expected:
            self._say(event.at, f"the tally is {counted}, it should be {expected}")
        if event.holders or event.oldest_queued_at is not None:
            self._say(
                event.at, f"at the end {event.holders} hold jobs, the oldest waits since {event.oldest_queued_at}"
            )


def _most_at_once(events: list[Event]) -> int:
    """How many gateways were up at once."""
    most = up = 0
    for event in events:
        up += isinstance(event, history.GatewayUp) - isinstance(event, history.GatewayDown)
        most = max(most, up)
    return most


def _lag_ms(events: list[Event]) -> int:
    """How far the store's time may fall behind: it stands still from the last commit until a gateway is up again."""
    lag = committed = stood = up = 0
    for event in events:
        if isinstance(event, history.Committed):
            committed = event.timed_at
        elif isinstance(event, history.GatewayDown):
            up -= 1
            stood = committed
        elif isinstance(event, history.GatewayUp):
            lag += event.at - (committed if up else stood)
            up += 1
    return lag


def _awakenings(events: list[Event]) -> list[int]:
    """When the gateway, or its store, was there again."""
    ups = [event.at for event in events if isinstance(event, history.GatewayUp)]
    thaws = [event.until for event in events if isinstance(event, history.Frozen) and event.who == "gateway"]
    returns = [event.until for event in events if isinstance(event, history.StoreAwayUntil)]
    return sorted(ups + thaws + returns)


def _was(entry: Entry, since: int, until: int, state: JobState, gen: int) -> bool:
    """Whether the job was in this state at some instant between the two."""
    following = [at for at, _, _ in entry.timeline[1:]] + [until + 1]
    return any(
        (was, was_gen) == (state, gen) and begin <= until and end >= since
        for (begin, was, was_gen), end in zip(entry.timeline, following, strict=True)
    )


def _named(execution: Execution) -> str:
    return f"{execution.job} under {execution.token} at {execution.session}"


# Any: each rule takes its own kind of event, and the table pairs them by that kind.
_RULES: dict[type, Callable[[_Checker, Any], None]] = {
    history.Submitted: _Checker._submitted,
    history.Read: _Checker._was_read,
    history.Streamed: _Checker._streamed,
    history.CancelAnswered: _Checker._cancelled,
    history.RetryAnswered: _Checker._retried,
    history.SnapshotRead: _Checker._snapshot,
    history.Begun: _Checker._begun,
    history.Acknowledged: _Checker._acknowledged,
    history.WorkerDown: _Checker._worker_down,
    history.Defect: _Checker._defect,
    history.Recount: _Checker._recount,
}
