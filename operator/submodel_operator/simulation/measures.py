"""What a run came to: delays, cost, harm and restlessness."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import ceil, sqrt
from statistics import fmean, stdev

from submodel_operator.simulation.cluster import Cluster, Conditions, Record, Scaler
from submodel_operator.simulation.workloads import Workload


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of one run, or means of several."""

    jobs: float
    delay_p50_seconds: float
    delay_p95_seconds: float
    delay_p99_seconds: float
    late_percent: float
    """Share of jobs that waited longer than the limit."""

    unavoidable_percent: float
    """Share that came to zero workers where a start takes longer than the limit."""

    busy_hours: float
    idle_hours: float
    starting_hours: float
    cold_starts: float
    interrupted: float
    changes_per_hour: float
    turns_per_hour: float
    unfinished: float
    """Jobs that never ran."""

    @property
    def worker_hours(self) -> float:
        """All that is paid for."""
        return self.busy_hours + self.idle_hours + self.starting_hours


def measure(workload: Workload, scaler: Scaler, conditions: Conditions) -> Result:
    """Run `workload` under `scaler`."""
    cluster = Cluster(workload, scaler, conditions)
    return _result(cluster.run(), workload, conditions)


def mean(results: Sequence[Result]) -> Result:
    """The mean of several runs."""
    return Result(*(fmean(getattr(each, field.name) for each in results) for field in fields(Result)))


def interval(values: Sequence[float]) -> float:
    """Half the width of the 95 % confidence interval of a mean; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    return _STUDENT.get(len(values) - 1, 2.0) * stdev(values) / sqrt(len(values))


_STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 14: 2.14, 19: 2.09}
"""97.5 % points of Student's t by degrees of freedom."""


def _result(record: Record, workload: Workload, conditions: Conditions) -> Result:
    delays, jobs = sorted(record.delays), max(1, len(workload.jobs))
    starting = busy = idle = 0.0
    for worker in record.workers:
        ended_at = record.ended_at if worker.ended_at is None else worker.ended_at
        starting += min(worker.ready_at, ended_at) - worker.started_at
        ready = max(0.0, ended_at - worker.ready_at)
        busy += min(worker.busy_seconds, ready)
        idle += max(0.0, ready - worker.busy_seconds)
    hours = record.ended_at / 3600
    return Result(
        jobs=len(workload.jobs),
        delay_p50_seconds=percentile(delays, 0.50),
        delay_p95_seconds=percentile(delays, 0.95),
        delay_p99_seconds=percentile(delays, 0.99),
        late_percent=100 * (1 - sum(delay <= conditions.late_after_seconds for delay in delays) / jobs),
        unavoidable_percent=100 * record.unavoidable / jobs,
        busy_hours=busy / 3600,
        idle_hours=idle / 3600,
        starting_hours=starting / 3600,
        cold_starts=record.starts,
        interrupted=record.interrupted,
        changes_per_hour=record.changes / hours,
        turns_per_hour=record.turns / hours,
        unfinished=len(workload.jobs) - len(delays),
    )


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which `share` of `ordered` lies; 0 of nothing."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0
