"""The study of the scalers: every policy on every workload with every cold start, into a table of runs and a page.

`make study` runs what is missing and writes `docs/concepts/autoscaler-study.csv` and the page beside it; a run that is
in the table is not repeated, so a study may be interrupted and gone on with. `--fresh` begins anew, `--page` only
writes the page.
"""

import argparse
import csv
import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from submodel_operator.simulation import policies, workloads
from submodel_operator.simulation.cluster import Conditions
from submodel_operator.simulation.measures import interval, measure

FOLDER = Path(__file__).parents[2] / "docs" / "concepts"
TABLE, PAGE = FOLDER / "autoscaler-study.csv", FOLDER / "autoscaler-study.md"

LATE_AFTER_SECONDS = 10.0
COLD_STARTS_SECONDS = (2.0, 10.0, 60.0, 300.0)
HOURS: Mapping[str, float] = {
    "steady": 0.5, "gamma": 0.5, "on-off": 0.7, "diurnal": 0.5, "batch": 0.7, "sparse": 4.0, "long": 4.0,
}  # fmt: skip
OURS = "ADAPTIVE"
FAMILY = tuple(f"REQUEST_COUNT:value={value},idle={idle}" for value in (1, 2, 4) for idle in (5, 60))
DEFAULTS = ("KEDA", "KPA", "RAY", "KUBEAI")
OTHERS = ("QUEUE_DELAY", "QUEUE_DELAY:idle=60", "HPA", "BETA9", "ORACLE")
POLICIES = (OURS, *OTHERS[:2], *FAMILY, *DEFAULTS, *OTHERS[2:])
FIELDS = (
    "workload", "cold_start", "policy", "seed", "late_percent", "unavoidable_percent", "p95_seconds", "worker_hours",
    "busy_hours", "idle_hours", "starting_hours", "cold_starts", "interrupted", "turns_per_hour",
)  # fmt: skip
MARGIN = 0.05
"""A difference below this share is none."""

Key = tuple[str, float, str]


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
    runs: defaultdict[tuple[str, float, str], dict[str, dict[str, str]]] = defaultdict(dict)
    for row in _rows():
        runs[row["workload"], float(row["cold_start"]), row["seed"]][row["policy"]] = row
    complete: defaultdict[Key, list[dict[str, str]]] = defaultdict(list)
    for (name, cold, _), by_policy in runs.items():
        if by_policy.keys() >= set(POLICIES):
            for policy in POLICIES:
                complete[name, cold, policy].append(by_policy[policy])
    return {key: _point(rows) for key, rows in complete.items()}


def _point(rows: Sequence[Mapping[str, str]]) -> Point:
    late = [float(row["late_percent"]) for row in rows]
    hours = [float(row["worker_hours"]) for row in rows]
    interrupted = fmean(float(row["interrupted"]) for row in rows)
    return Point(fmean(late), interval(late), fmean(hours), interval(hours), interrupted, len(rows))


def cases(found: Mapping[Key, Point]) -> list[tuple[str, float]]:
    """Workloads with cold starts of which every policy was run."""
    pairs = itertools.product(workloads.SHAPES, COLD_STARTS_SECONDS)
    return [(name, cold) for name, cold in pairs if all((name, cold, policy) in found for policy in POLICIES)]


def page() -> str:
    """The study as a page."""
    found = points()
    complete = cases(found)
    seeds = min((found[name, cold, OURS].seeds for name, cold in complete), default=0)
    return "\n".join(
        [
            *_introduction(seeds, complete),
            *_verdicts(found, complete),
            *_reading(found),
            *_tables(found, complete),
        ]
    )


def _introduction(seeds: int, complete: Sequence[tuple[str, float]]) -> Iterator[str]:
    colds = sorted({cold for _, cold in complete})
    hours = ", ".join(f"`{name}` {hours:g} h" for name, hours in HOURS.items())
    yield from (
        "<!-- generated by tests/bench/study.py; do not edit; run make study -->",
        "",
        "# A study of the scalers",
        "",
        "Every scaler of `submodel simulate` on every workload, with starts of "
        f"{', '.join(f'{cold:g}' for cold in colds)} seconds; a job is *late* after "
        f"{LATE_AFTER_SECONDS:g} seconds.",
        f"At most 100 workers; {len(complete)} cases with {seeds} or more seeds each; ± is half of a 95 % "
        "confidence interval, wide with few seeds and none with one.",
        f"Lengths: {hours}.",
        "",
        '`make study ARGS="--fresh --seeds 10"` does it all again; the runs are in '
        "[autoscaler-study.csv](autoscaler-study.csv).",
        "",
        "**What it is not.** The cluster is simulated: no nodes that must come first, no image caches, no network. "
        "The rules of others are rebuilt from their documentation, and have their default settings but where it says "
        "otherwise; a person who tunes them for one workload does better with it. "
        f"The constants of `{OURS}` were chosen with these workloads in view, and none of them for one alone. "
        "Jobs ended by a scale-in of others could be saved by a longer grace of their pods.",
        "",
    )


def _verdicts(found: Mapping[Key, Point], complete: Sequence[tuple[str, float]]) -> Iterator[str]:
    ours = {case: found[(*case, OURS)] for case in complete}
    killed = sum(found[(*case, policy)].interrupted for case in complete for policy in (OURS, *OTHERS[:2], *FAMILY))
    yield from ("## What came out", "", f"- Jobs interrupted by our scalers: {killed:.0f}.")
    beaten = [
        f"`{name}` with {cold:g} s by {', '.join(f'`{policy}`' for policy in better)}"
        for (name, cold), point in ours.items()
        if (better := [policy for policy in FAMILY if found[name, cold, policy].beats(point)])
    ]
    yield (
        f"- Against the {len(FAMILY)} settings of `REQUEST_COUNT`, each chosen after the fact: `{OURS}` is beaten on "
        f"cost and lateness at once, by more than 5 %, in {len(beaten)} of {len(ours)} cases"
        + (f" ({'; '.join(beaten)})." if beaten else ".")
    )
    for policy in DEFAULTS:
        both = sum(point.beats(found[(*case, policy)]) for case, point in ours.items())
        lost = [case for case, point in ours.items() if found[(*case, policy)].beats(point)]
        places = ", ".join(f"`{name}` with {cold:g} s" for name, cold in lost)
        cheaper = sum(point.cheaper(found[(*case, policy)]) for case, point in ours.items())
        less_late = sum(point.less_late(found[(*case, policy)]) for case, point in ours.items())
        yield (
            f"- Against `{policy}`: better on both in {both} of {len(ours)} cases, cheaper in {cheaper}, less late in "
            f"{less_late}; worse on both in {len(lost)}" + (f" ({places})." if lost else ".")
        )
    yield from (*_dearer(found, ours), "")


def _dearer(found: Mapping[Key, Point], ours: Mapping[tuple[str, float], Point]) -> Iterator[str]:
    """Where it wastes: a point of the family that is as punctual for less."""
    wasteful: list[str] = []
    for (name, cold), point in ours.items():
        equal = [p for policy in FAMILY if (p := found[name, cold, policy]).late <= point.late + 0.1]
        cheapest = min((each.hours for each in equal), default=point.hours)
        if cheapest < point.hours * (1 - MARGIN):
            wasteful.append(f"`{name}` with {cold:g} s ({point.hours / cheapest:.1f} ×)")
    words = "; ".join(wasteful) or "nowhere"
    yield f"- Where one of these settings, chosen after the fact, is as punctual for less: {words}."


def _reading(found: Mapping[Key, Point]) -> Iterator[str]:
    """What a person should take from it; the figures are those of the runs."""
    yield from (
        "## How to read it",
        "",
        "- `QUEUE_DELAY` stays the default: `ADAPTIVE` is one setting that is decent in most places, seldom the best. "
        "Who knows the traffic and tunes `REQUEST_COUNT` for it pays less, by the factors above; the same setting is "
        "then hopeless on other traffic (`value=4` on `long`).",
        "- A short idle timeout is right where starts are short and wrong where they are long: "
        f"{_idle_timeouts(found)}. `idleTimeout: auto` spares the choice.",
        "- No rule that reacts helps a batch that finds no workers when a start takes longer than a job may wait; it "
        "can only be dear or cheap. `standby` and `schedules` are for that.",
        "- Jobs are ended under way where a rule names a number and not whom to lose, and pods have 30 seconds: "
        "look at `long`.",
        "",
    )


def _idle_timeouts(found: Mapping[Key, Point]) -> str:
    parts = []
    for cold in (2.0, 60.0):
        short, long = (found.get(("gamma", cold, f"REQUEST_COUNT:value=1,idle={idle}")) for idle in (5, 60))
        if short and long:
            parts.append(
                f"on `gamma` with {cold:g} s, 5 s cost {short.hours:.1f} worker-hours at {short.late:.1f} % late, and "
                f"60 s cost {long.hours:.1f} at {long.late:.1f} %"
            )
    return "; ".join(parts) or "not measured here"


def _tables(found: Mapping[Key, Point], complete: Sequence[tuple[str, float]]) -> Iterator[str]:
    for cold in COLD_STARTS_SECONDS:
        names = [name for name, each in complete if each == cold]
        if not names:
            continue
        yield from (f"## A start of {cold:g} seconds", "", "Share of late jobs in % / worker-hours.", "")
        yield f"| | {' | '.join(names)} |"
        yield f"|---|{'---|' * len(names)}"
        for policy in POLICIES:
            yield f"| `{policy}` | {' | '.join(found[name, cold, policy].cell() for name in names)} |"
        yield ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="runs of each case")
    parser.add_argument("--cold-starts", type=float, nargs="+", help="seconds; all of them when not given")
    parser.add_argument("--fresh", action="store_true", help="forget the runs of before")
    parser.add_argument("--page", action="store_true", help="only write the page")
    arguments = parser.parse_args()
    if not arguments.page:
        run(arguments.seeds, arguments.cold_starts or COLD_STARTS_SECONDS, arguments.fresh)
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
