"""The traffic that an endpoint had, under its present scaling and another one. Pure; the command reads and prints."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from submodel.contract.internal import TrafficRecord
from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling.decision import counted
from submodel_operator.simulation.cluster import Conditions
from submodel_operator.simulation.measures import Result, mean, measure, percentile
from submodel_operator.simulation.production import Production
from submodel_operator.simulation.workloads import Job, Workload

SEEDS: Final = 3
"""Runs whose mean is told: starts differ by chance."""

HEADER: Final = ("", "p50 s", "p95 s", "p99 s", "late %", "worker-h", "cold starts")
_UNKNOWN: Final = "-"


@dataclass(frozen=True, slots=True)
class Traffic:
    """Jobs that an endpoint had, and how long each of them really waited."""

    workload: Workload
    waited_seconds: tuple[float, ...]
    beginning: float
    """Seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Starts:
    """How long starts take."""

    usual_seconds: float
    """What half of them do not exceed."""

    measured_seconds: tuple[float, ...] = ()
    """What some of them took; without any, they spread about the usual."""


def traffic(records: Sequence[TrafficRecord], hours: float) -> Traffic | None:
    """What the records of all gateways tell of the last hours for which all of them do; None when that is nothing.

    The observation begins with its first job, so that nothing is said of a time without a record.
    """
    newest_ms = max((each.now_ms for each in records), default=0)
    since_ms = max((each.since_ms for each in records if each.accepted_at_ms), default=0)
    since_ms = max(since_ms, newest_ms - round(hours * 3_600_000))
    runs = sorted(
        run
        for each in records
        for run in zip(each.accepted_at_ms, each.waited_ms, each.ran_ms, strict=True)
        if run[0] >= since_ms
    )
    if not runs:
        return None
    first_ms, last_ms = runs[0][0], runs[-1][0]
    jobs = tuple(Job((accepted - first_ms) / 1000, ran / 1000) for accepted, _, ran in runs)
    workload = Workload("record", jobs, (last_ms - first_ms) / 1000 + 1.0)
    return Traffic(workload, tuple(sorted(waited / 1000 for _, waited, _ in runs)), first_ms / 1000)


def tried(seen: Traffic, scaling: ResolvedScaling, starts: Starts, late_after_seconds: float) -> Result:
    """The mean of a few runs of the traffic under `scaling`, which must allow a worker."""
    results = []
    for seed in range(1, SEEDS + 1):
        conditions = Conditions(
            starts.usual_seconds,
            late_after_seconds,
            scaling.workers_max,
            scaling.concurrency,
            seed,
            starts.measured_seconds,
        )
        results.append(measure(seen.workload, Production("what-if", scaling, seen.beginning), conditions))
    return mean(results)


def measured_row(name: str, waited_seconds: Sequence[float], late_after_seconds: float) -> tuple[str, ...]:
    """The waits as they were; `waited_seconds` in ascending order."""
    late = sum(each > late_after_seconds for each in waited_seconds) / max(1, len(waited_seconds))
    delays = (f"{percentile(waited_seconds, share):.1f}" for share in (0.5, 0.95, 0.99))
    return (name, *delays, f"{100 * late:.1f}", _UNKNOWN, _UNKNOWN)


def row(name: str, result: Result) -> tuple[str, ...]:
    """A simulated outcome, in the order of `HEADER`."""
    delays = (result.delay_p50_seconds, result.delay_p95_seconds, result.delay_p99_seconds)
    return (
        name,
        *(f"{seconds:.1f}" for seconds in delays),
        f"{result.late_percent:.1f}",
        _hours(result.worker_hours),
        f"{result.cold_starts:.0f}",
    )


def sentence(name: str, now: Result, other: Result) -> str:
    """What the other setting would change."""
    delay = _against(now.delay_p95_seconds, other.delay_p95_seconds)
    words = f"With {name}, 95 % of the jobs would start within {delay}; it would cost {_cost(now, other)}"
    if other.unfinished:
        words += f"; {counted(round(other.unfinished), 'job')} would never have run"
    return f"{words}."


def _against(now: float, other: float) -> str:
    if f"{now:.1f}" == f"{other:.1f}":
        return f"{other:.1f} s as they do now"
    return f"{other:.1f} s instead of {now:.1f} s"


def _cost(now: Result, other: Result) -> str:
    hours = f"{_hours(other.worker_hours)} worker-hours"
    if not now.worker_hours or _hours(now.worker_hours) == _hours(other.worker_hours):
        return f"{hours}, as now" if now.worker_hours else hours
    change = 100 * (other.worker_hours / now.worker_hours - 1)
    return f"{hours}, {abs(change):.0f} % {'more' if change > 0 else 'fewer'} than now ({_hours(now.worker_hours)})"


def _hours(hours: float) -> str:
    """To the hundredth; what is less than a tenth by its first two digits, for a trial takes seconds."""
    return f"{hours:.2f}" if hours >= 0.1 or not hours else f"{hours:.2g}"
