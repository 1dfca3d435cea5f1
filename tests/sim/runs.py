"""Many seeds: what each one came to, and the sum, in which what costs too much shows."""

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from tests.sim import checker, world

EXECUTIONS_PER_JOB_MAX = 1.06
"""In the standard mix. Each execution above one is time on somebody's GPU."""

CHUNK = 10


@dataclass(frozen=True, slots=True)
class Report:
    """One seed. `violations` are sentences."""

    seed: int
    violations: list[str]
    jobs: int
    executions: int
    seconds: float
    """Of virtual time."""

    cpu_seconds: float

    def __str__(self) -> str:
        count = len(self.violations)
        listed = "".join(f"\n    {violation}" for violation in self.violations[:3])
        return f"seed {self.seed}: {count} violations; replay it with `make sim SEED={self.seed}`{listed}"


@dataclass(frozen=True, slots=True)
class Total:
    """The sum of many seeds."""

    seeds: int
    failed: tuple[int, ...]
    jobs: int
    executions: int
    hours: float
    """Of virtual time."""

    cpu_seconds: float

    @property
    def executions_per_job(self) -> float:
        return self.executions / self.jobs if self.jobs else 0.0

    @property
    def good(self) -> bool:
        return not self.failed and self.executions_per_job <= EXECUTIONS_PER_JOB_MAX

    def __str__(self) -> str:
        return (
            f"{self.seeds} seeds, {self.hours:.0f} h of virtual time, {self.jobs} jobs; "
            f"{self.cpu_seconds:.0f} s of processor time; {self.executions_per_job:.3f} executions per job "
            f"(at most {EXECUTIONS_PER_JOB_MAX}); {len(self.failed)} seeds with violations"
        )


def run_one(seed: int) -> Report:
    """Simulate and judge one seed."""
    began = time.process_time()
    run = world.run(seed)
    verdict = checker.check(run.history.events)
    violations = [str(violation) for violation in verdict.violations]
    return Report(seed, violations, verdict.jobs, verdict.executions, run.seconds, time.process_time() - began)


def run_all(seeds: Sequence[int], processes: int, say: Callable[[str], object]) -> Iterable[Report]:
    """Simulate many seeds in as many processes; tells of the failing ones as they come."""
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for report in pool.map(run_one, seeds, chunksize=CHUNK):
            if report.violations:
                say(f"{report}\n")
            yield report


def total(reports: Iterable[Report]) -> Total:
    """Sum up."""
    kept = list(reports)
    return Total(
        seeds=len(kept),
        failed=tuple(report.seed for report in kept if report.violations),
        jobs=sum(report.jobs for report in kept),
        executions=sum(report.executions for report in kept),
        hours=sum(report.seconds for report in kept) / 3600,
        cpu_seconds=sum(report.cpu_seconds for report in kept),
    )
