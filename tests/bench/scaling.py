"""What a decision costs, and how fast the simulator is: `make bench-scaling`. In processor time, not by the clock."""

import sys
from collections.abc import Callable
from random import Random
from time import process_time

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling import Demand, ScalerState, ScalingInputs, StartingWorker, WorkerSignal, decide
from submodel_operator.simulation import policies
from submodel_operator.simulation.cluster import Conditions
from submodel_operator.simulation.measures import measure
from submodel_operator.simulation.workloads import Job, Workload
from tests.bench.table import Bounds, Row, render
from tests.support.endpoints import scaling

ENDPOINTS = 1000
NOW = 1_800_000_000.0
DECISIONS = Bounds(goal=50.0, most=True)
SPEED = Bounds(goal=1000.0)

Load = Callable[[int], Demand]


def _at_rest(tick: int) -> Demand:
    return Demand(0, 0, None, 0, 100, 100)


def _under_load(tick: int) -> Demand:
    return Demand(5, 1, 5.0, 4, 100 + 3 * tick, 90 + 3 * tick)


def _burst(tick: int) -> Demand:
    return Demand(50, 10, 9.0, 4, 100 + 9 * tick, 90 + 8 * tick)


def decisions_ms(settings: ResolvedScaling, workers: int, load: Load, starts: int = 0) -> float:
    """Milliseconds for one decision of each of a thousand endpoints, the best of five rounds."""
    signals = tuple(
        WorkerSignal(f"tokens-{i}", i % 2, None if i % 2 else 3.0, start_seconds=20.0) for i in range(workers)
    )
    starting, present = tuple(StartingWorker(f"new-{i}", 3.0 + i) for i in range(starts)), workers + starts
    state = ScalerState("r1", cold_starts=tuple(15.0 + i for i in range(20)))
    for tick in range(200):  # a memory as full as it gets
        _, state = decide(ScalingInputs(settings, present, signals, starting, load(tick), "r1"), state, NOW + tick)
    rounds = []
    for tick in range(200, 205):
        inputs = [ScalingInputs(settings, present, signals, starting, load(tick), "r1") for _ in range(ENDPOINTS)]
        began = process_time()
        for each in inputs:
            decide(each, state, NOW + tick)
        rounds.append(1000 * (process_time() - began))
    return min(rounds)


def simulated_speed(policy: str) -> float:
    """How many seconds of a cluster with about a hundred workers pass in one of the processor's, the best of three."""
    chance, seconds = Random(1), 300.0
    jobs = sorted(Job(seconds * chance.random(), chance.uniform(4.0, 12.0)) for _ in range(int(11 * seconds)))
    workload, conditions = Workload("hundred", tuple(jobs), seconds), Conditions(10.0, 10.0, workers_max=100)
    runs = []
    for _ in range(3):
        began = process_time()
        measure(workload, policies.build(policy, workload, conditions), conditions)
        runs.append(process_time() - began)
    return seconds / min(runs)


def rows() -> list[Row]:
    """All figures."""
    counts = {"scaler_type": ScalerType.REQUEST_COUNT, "scaler_value": 1.0, "workers_max": 40}
    adaptive = {"scaler_type": ScalerType.ADAPTIVE, "stabilization_seconds": None, "workers_max": 40}
    cases: tuple[tuple[str, ResolvedScaling, int, Load, int], ...] = (
        ("QUEUE_DELAY, at rest", scaling(), 0, _at_rest, 0),
        ("QUEUE_DELAY, 8 workers under load", scaling(workers_max=40), 8, _under_load, 0),
        ("REQUEST_COUNT, at rest", scaling(**counts), 0, _at_rest, 0),
        ("REQUEST_COUNT, 8 workers under load", scaling(**counts), 8, _under_load, 0),
        ("ADAPTIVE, at rest", scaling(**adaptive), 0, _at_rest, 0),
        ("ADAPTIVE, 8 workers under load", scaling(**adaptive), 8, _under_load, 0),
        ("ADAPTIVE, a burst, 4 more start", scaling(**adaptive), 8, _burst, 4),
        ("the same with a shadow", scaling(**adaptive, shadow=ScalerType.QUEUE_DELAY), 8, _burst, 4),
    )
    decisions = [
        Row(f"1,000 decisions: {what}", decisions_ms(settings, workers, load, starts), "ms", DECISIONS)
        for what, settings, workers, load, starts in cases
    ]
    names = ("ADAPTIVE", "QUEUE_DELAY", "REQUEST_COUNT:value=1", "KEDA")
    return decisions + [Row(f"simulator, 100 workers: {name}", simulated_speed(name), "x", SPEED) for name in names]


if __name__ == "__main__":
    sys.stdout.write(render("Scaling", rows()) + "\n")
