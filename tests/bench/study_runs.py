"""The runs of the study: every policy on every workload with every cold start, in a table, and their means."""

import csv
import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from submodel_operator.simulation import policies, workloads
from submodel_operator.simulation.cluster import Conditions
from submodel_operator.simulation.measures import interval, measure

FOLDER = Path(__file__).parents[2] / "docs" / "concepts"
TABLE = FOLDER / "autoscaler-study.csv"

LATE_AFTER_SECONDS = 10.0
COLD_STARTS_SECONDS = (2.0, 10.0, 60.0, 300.0)
HOURS: Mapping[str, float] = {
    "steady": 0.5, "gamma": 0.5, "on-off": 0.7, "diurnal": 0.5, "batch": 0.7, "sparse": 4.0, "long": 4.0,
}  # fmt: skip
OURS = "ADAPTIVE"
FAMILY = tuple(f"REQUEST_COUNT:value={value},idle={idle}" for value in (1, 2, 4) for idle in (5, 60))
DEFAULTS = ("KEDA", "KPA", "RAY", "KUBEAI")
OTHERS = (
    "QUEUE_DELAY", "QUEUE_DELAY:idle=60", "HPA", "KEDA:poll=5,cooldown=60", "BETA9", "FIXED-PEAK",
    "FIXED-MEAN", "ORACLE",
)  # fmt: skip
POLICIES = (OURS, *OTHERS[:2], *FAMILY, *DEFAULTS, *OTHERS[2:])
FIELDS = (
    "workload", "cold_start", "policy", "seed", "late_percent", "unavoidable_percent", "p95_seconds", "worker_hours",
    "busy_hours", "idle_hours", "starting_hours", "cold_starts", "interrupted", "turns_per_hour",
)  # fmt: skip
MARGIN = 0.05
"""A difference below this share is none."""

Key = tuple[str, float, str]
Figures = tuple[float, float, float]
"""Share of late jobs in per cent, worker-hours, interrupted jobs."""


@dataclass(frozen=True)
class Point:
    """Means of one policy on one workload with one cold start, with half the width of their confidence intervals."""

    late: float
    late_interval: float
    hours: float
    hours_interval: float
    interrupted: float
    seeds: int

    def cell(self) -> str:
        killed = f", {self.interrupted:.0f} killed" if self.interrupted >= 0.5 else ""
        if self.seeds == 1:
            return f"{self.late:.1f} / {self.hours:.2f}{killed}"
        return f"{self.late:.1f} ± {self.late_interval:.1f} / {self.hours:.2f} ± {self.hours_interval:.2f}{killed}"

    def cheaper(self, other: "Point") -> bool:
        return self.hours < other.hours * (1 - MARGIN)

    def less_late(self, other: "Point") -> bool:
        """By more than the margin, and by more than a tenth of a per cent of all jobs."""
        return self.late < other.late * (1 - MARGIN) and self.late < other.late - 0.1

    def beats(self, other: "Point") -> bool:
        return self.cheaper(other) and self.less_late(other)


def run(seeds: int, cold_starts: Sequence[float], fresh: bool) -> None:
    """Add the runs that are missing to the table."""
    known = (
        set() if fresh else {(row["workload"], float(row["cold_start"]), row["policy"], row["seed"]) for row in _rows()}
    )
    with TABLE.open("w" if fresh or not known else "a", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, FIELDS, lineterminator="\n")
        if not known:
            table.writeheader()
        for seed, cold_start, name in itertools.product(range(1, seeds + 1), cold_starts, workloads.SHAPES):
            for policy in POLICIES:
                if (name, cold_start, policy, str(seed)) not in known:
                    table.writerow(_run(name, cold_start, policy, seed))
                    file.flush()


def _run(name: str, cold_start: float, policy: str, seed: int) -> dict[str, object]:
    traffic = workloads.make(name, seed, HOURS[name] * 3600)
    conditions = Conditions(cold_start, LATE_AFTER_SECONDS, seed=seed)
    result = measure(traffic, policies.build(policy, traffic, conditions), conditions)
    figures = (
        result.late_percent, result.unavoidable_percent, result.delay_p95_seconds, result.worker_hours,
        result.busy_hours, result.idle_hours, result.starting_hours, result.cold_starts, result.interrupted,
        result.turns_per_hour,
    )  # fmt: skip
    return dict(zip(FIELDS, (name, cold_start, policy, seed, *(round(each, 3) for each in figures)), strict=True))


def _rows() -> list[dict[str, str]]:
    if not TABLE.exists():
        return []
    with TABLE.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def points() -> dict[Key, Point]:
    """The means of the table, over the seeds of a case that every policy was run with."""
    return {
        (name, cold, policy): _point([_figures(row) for row in by_seed.values()])
        for (name, cold, policy), by_seed in _complete().items()
    }


def workload_points() -> dict[tuple[str, str], Point]:
    """Workload and policy over all cold starts: the mean of the shares that were late, the sum of the costs."""
    runs, found = _complete(), dict[tuple[str, str], Point]()
    for name, policy in itertools.product(workloads.SHAPES, POLICIES):
        parts = [runs.get((name, cold, policy), {}) for cold in COLD_STARTS_SECONDS]
        seeds = set.intersection(*(set(part) for part in parts))
        if seeds:
            found[name, policy] = _point([_together([_figures(part[seed]) for part in parts]) for seed in seeds])
    return found


def _complete() -> dict[Key, dict[str, Mapping[str, str]]]:
    """The rows of each case and policy by seed, where every policy has one."""
    runs: defaultdict[tuple[str, float, str], dict[str, dict[str, str]]] = defaultdict(dict)
    for row in _rows():
        runs[row["workload"], float(row["cold_start"]), row["seed"]][row["policy"]] = row
    complete: defaultdict[Key, dict[str, Mapping[str, str]]] = defaultdict(dict)
    for (name, cold, seed), by_policy in runs.items():
        if by_policy.keys() >= set(POLICIES):
            for policy in POLICIES:
                complete[name, cold, policy][seed] = by_policy[policy]
    return dict(complete)


def _figures(row: Mapping[str, str]) -> Figures:
    return float(row["late_percent"]), float(row["worker_hours"]), float(row["interrupted"])


def _together(parts: Sequence[Figures]) -> Figures:
    late, hours, interrupted = zip(*parts, strict=True)
    return fmean(late), sum(hours), sum(interrupted)


def _point(runs: Sequence[Figures]) -> Point:
    late, hours, interrupted = zip(*runs, strict=True)
    return Point(fmean(late), interval(late), fmean(hours), interval(hours), fmean(interrupted), len(runs))


def cases(found: Mapping[Key, Point]) -> list[tuple[str, float]]:
    """Workloads with cold starts of which every policy was run."""
    pairs = itertools.product(workloads.SHAPES, COLD_STARTS_SECONDS)
    return [(name, cold) for name, cold in pairs if all((name, cold, policy) in found for policy in POLICIES)]
