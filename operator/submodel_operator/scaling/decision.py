"""The outcome of a scaling decision. It carries its reason, and it may be to hold."""

from enum import StrEnum

import msgspec

from submodel_operator.scaling.estimates import Estimates


class Term(StrEnum):
    """The rule that decided the number; stable words that scripts may compare."""

    FIRST_JOB = "FirstJob"
    LATE_JOBS = "LateJobs"
    REQUEST_COUNT = "RequestCount"
    BACKLOG = "Backlog"
    ARRIVAL_RATE = "ArrivalRate"
    BUSY = "BusyWorkers"
    STANDBY = "Standby"
    SCHEDULE = "Schedule"
    MINIMUM = "WorkersMin"
    MAXIMUM = "WorkersMax"
    SURGE = "MaxSurge"
    CAPACITY = "NoCapacity"
    FAILING_STARTS = "FailingStarts"
    STABILIZATION = "Stabilization"
    STEADY = "Steady"
    IDLE = "IdleTimeout"
    UNNEEDED_STARTS = "UnneededStarts"
    UNSETTLED = "Unsettled"
    UNREADY = "UnreadyWorker"
    SIGNALS_UNKNOWN = "SignalsUnknown"


def counted(count: int, noun: str) -> str:
    """`1 worker`, `3 workers`: the decision's message is read by people."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class Proposal(msgspec.Struct, frozen=True):
    """What a policy asks for, before limits: at least `workers`, because of `term`."""

    workers: int
    term: Term
    message: str
    change: str = ""
    """What would have to happen for another number, as a sentence without its full stop."""

    terms: tuple[tuple[Term, int], ...] = ()
    """What each rule that had a say came to, in their order. The last one of them need not be the largest."""

    def by(self, term: Term, workers: int, message: str, change: str = "") -> "Proposal":
        """What another rule makes of it."""
        return Proposal(workers, term, message, change, (*self.said, (term, workers)))

    @property
    def said(self) -> tuple[tuple[Term, int], ...]:
        """`terms`; of a policy that knows one alone, this one."""
        return self.terms or ((self.term, self.workers),)


class ScalingDecision(msgspec.Struct, frozen=True):
    """How many workers there should be.

    `replicas` above the present number means: start that many more now. Workers named in `remove` may leave; each is
    drained first and goes once it is confirmed empty, so `replicas` counts them as gone already.
    """

    replicas: int
    term: Term
    message: str
    remove: tuple[str, ...] = ()
    evaluate_after_seconds: float | None = None
    """When time alone may change the decision; None when only an event can."""

    proposal: Proposal | None = None
    """What the policy asked for before limits; None when it was not asked."""

    estimates: Estimates | None = None
    """What it believed of jobs and starts."""

    terms: tuple[tuple[Term, int], ...] = ()
    """What each rule that had a say came to, the policy's own first."""

    shadow: Proposal | None = None
    """What the policy of `scaling.shadow` would have asked for. Nothing is done with it."""
