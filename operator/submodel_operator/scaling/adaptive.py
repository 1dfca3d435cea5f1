"""ADAPTIVE: as many workers as keep the wait below the target, by what is known of jobs and of starts.

Two terms, and the larger wins. *Rate*: workers for the load that arrives, with a margin of one standard deviation
(square-root staffing). *Backlog*: workers for those queued jobs that the present ones, and those on their way, would
not begin in time; a worker that would be ready only after the queue has drained is not started. Workers on their way
count with all that they will do until then, so that the same queue never starts a worker twice.
"""

from math import ceil, sqrt
from typing import Final

import msgspec

from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling.decision import Proposal, Term, counted
from submodel_operator.scaling.estimates import Estimates
from submodel_operator.scaling.history import window_seconds
from submodel_operator.scaling.signals import Demand, ScalingInputs

MARGIN: Final = 1.0
"""Standard deviations of the offered load that are kept in reserve where no job may wait for a start."""

STABILIZATION_SECONDS: Final = 30.0
"""The stabilisation window at full urgency."""

LEAST_LOAD: Final = 0.5
"""Below half a worker's load nobody is kept for what may come."""

LEAST_ARRIVALS: Final = 5
"""Fewer arrivals make no rate."""

CHANCE_JOBS: Final = 2
"""By so many jobs a window may differ from the next one although nothing has changed."""

PUNCTUALITY: Final = 0.6
"""Share of the allowed wait that is aimed at: durations spread, and means are all that is known of them."""

PATIENCE_ALONE: Final = (1.5, 0.5)
PATIENCE_FOLLOWED: Final = (10.0, 0.05)
"""From so many allowed waits on, a start takes too long for punctuality to be worth its price; and in which share of a
start after it the queue is worked off then. For a batch that nobody follows, and for jobs that others follow, which the
queue makes late too."""

SHARED_UTILISATION: Final = 0.8
"""Load per slot that is aimed at where workers run several jobs at once."""


def propose(inputs: ScalingInputs, demand: Demand, estimates: Estimates) -> Proposal:
    """Workers wanted; without a queue, what the rate of arrivals deserves."""
    rate = _rate(inputs, estimates)
    if not demand.queued:
        return _by_rate(rate, estimates)
    backlog = _backlog(inputs, demand, estimates)
    said = (rate.term, rate.workers), (backlog.term, inputs.replicas + backlog.more)
    # Only the winner is put into words: writing numbers takes as long as reckoning them.
    if inputs.replicas + backlog.more >= rate.workers:
        return _by_backlog(backlog, inputs, demand, estimates, said)
    return _by_rate(rate, estimates, said)


def stabilization_seconds(scaling: ResolvedScaling, cold_start_seconds: float) -> float:
    """How long fewer workers must have been wanted before some may go, where nothing else was said.

    With `idleTimeout: auto` each worker waits for as long as another start takes, and that is enough.
    """
    if scaling.idle_timeout_seconds is None:
        return 0.0
    return STABILIZATION_SECONDS * urgency(scaling, cold_start_seconds)


def urgency(scaling: ResolvedScaling, cold_start_seconds: float) -> float:
    """1 where a start takes as long as a job may wait, or longer: what comes unforeseen is late.

    Towards 0 a worker that is missing can be started in time, and reserves only cost.
    """
    return min(1.0, cold_start_seconds / scaling.scaler_value)


class _Rate(msgspec.Struct, frozen=True):
    """What the rate of arrivals deserves."""

    jobs_per_second: float
    load: float
    kept: int
    """Workers for this load."""

    workers: int
    """Also those that hardly more would keep."""

    @property
    def term(self) -> Term:
        return Term.ARRIVAL_RATE if self.workers else Term.STEADY


def _rate(inputs: ScalingInputs, estimates: Estimates) -> _Rate:
    rate, service = max(estimates.slow_rate, estimates.sure_fast_rate), estimates.service_seconds
    slots = inputs.scaling.concurrency * (SHARED_UTILISATION if inputs.scaling.concurrency > 1 else 1.0)
    share, load = urgency(inputs.scaling, estimates.cold_start_seconds), rate * service / slots
    workers = kept = _kept(load, estimates.arrivals, share)
    if kept < inputs.replicas:
        # Jobs enter the window a moment before or after others leave it, and end so: that alone sends nobody away.
        more = CHANCE_JOBS / window_seconds(service)
        nearly = _kept((rate + more) * service / slots, estimates.arrivals + CHANCE_JOBS, share)
        workers = max(kept, min(nearly, inputs.replicas))
    return _Rate(rate, load, kept, workers)


def _by_rate(rate: _Rate, estimates: Estimates, said: tuple[tuple[Term, int], ...] = ()) -> Proposal:
    kept, workers = rate.kept, rate.workers
    words = f"{rate.jobs_per_second:.3g} jobs/s of {estimates.service_seconds:.3g} s"
    if not workers:
        message = f"no job queued, and {words} keep no worker"
        return Proposal(0, Term.STEADY, message, "a queued job starts workers", said)
    change = f"another worker comes when the load of {rate.load:.2f} workers grows"
    needs = f"which needs {workers}" if workers == kept else f"which needs {kept}, and hardly more would need {workers}"
    return Proposal(workers, Term.ARRIVAL_RATE, f"{words} are a load of {rate.load:.2f}, {needs}", change, said)


def _kept(load: float, arrivals: float, share: float) -> int:
    """Workers that are kept for such a load, of so many arrivals; `share` is the `urgency`."""
    if load <= LEAST_LOAD or arrivals < LEAST_ARRIVALS:
        return 0
    return ceil(share * (load + MARGIN * sqrt(load)))


class _Backlog(msgspec.Struct, frozen=True):
    """What the queue deserves."""

    horizon_seconds: float
    """Within how many seconds the queued jobs, and those that come until then, should have begun."""

    expected: float
    """How many those are."""

    left: float
    """Those for which no worker would be there."""

    of_each: float
    """So many of them begins a worker that starts now."""

    more: int

    @property
    def term(self) -> Term:
        return Term.BACKLOG if self.more else Term.STEADY


def _backlog(inputs: ScalingInputs, demand: Demand, estimates: Estimates) -> _Backlog:
    horizon = _horizon_seconds(inputs, estimates)
    expected = demand.queued + estimates.sustained_rate * horizon
    left = max(0.0, expected - _capacity(inputs, demand, estimates, horizon))
    usual, slots = estimates.usual_start_seconds, inputs.scaling.concurrency
    of_each = slots * (1 + max(0.0, horizon - usual) / estimates.service_seconds)
    return _Backlog(horizon, expected, left, of_each, ceil(left / of_each))


def _by_backlog(
    backlog: _Backlog, inputs: ScalingInputs, demand: Demand, estimates: Estimates, said: tuple[tuple[Term, int], ...]
) -> Proposal:
    horizon, more, queued = f"{backlog.horizon_seconds:.3g} s", backlog.more, counted(demand.queued, "job")
    if not more:
        workers = counted(inputs.replicas, "worker")
        message = f"{queued} queued, which {workers} will have started within {horizon}"
        change = f"more workers come for jobs that these would not start within {horizon}"
        return Proposal(inputs.replicas, Term.STEADY, message, change, said)
    message = (
        f"{queued} queued; within {horizon}, {backlog.left:.3g} of {backlog.expected:.3g} jobs of "
        f"{estimates.service_seconds:.3g} s would find no worker, and one that starts now begins {backlog.of_each:.3g} "
        f"of them: {more} more"
    )
    change = "fewer are needed when jobs run shorter, workers start sooner, or scalerValue allows a longer wait"
    return Proposal(inputs.replicas + more, Term.BACKLOG, message, change, said)


def _horizon_seconds(inputs: ScalingInputs, estimates: Estimates) -> float:
    allowed, start_seconds = inputs.scaling.scaler_value, estimates.usual_start_seconds
    load = estimates.sustained_rate * estimates.service_seconds / inputs.scaling.concurrency
    waits, share = PATIENCE_FOLLOWED if load > LEAST_LOAD else PATIENCE_ALONE
    if start_seconds < waits * allowed:
        return PUNCTUALITY * allowed
    return start_seconds * (1 + share)


def _capacity(inputs: ScalingInputs, demand: Demand, estimates: Estimates, horizon: float) -> float:
    """Jobs that present and coming workers will have started within `horizon` seconds."""
    slots, service = inputs.scaling.concurrency, estimates.service_seconds
    ready = len(inputs.workers)
    free = max(0, ready * slots - demand.in_progress)
    working = free + ready * slots * horizon / service
    pending = inputs.pending
    if not pending:
        return working
    ages = [worker.age_seconds for worker in inputs.starting]
    ages += [0.0] * (pending - len(ages))  # asked for, and not there yet
    usual = estimates.usual_start_seconds
    # Conditions instead of `max`, which takes five times as long: a burst starts dozens of workers.
    useful = [horizon - (usual - age if age < usual else 0.0) for age in ages[:pending]]
    return working + sum([slots * (1 + (seconds if seconds > 0 else 0.0) / service) for seconds in useful])
