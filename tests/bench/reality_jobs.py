"""The same jobs in the product and in the simulator, and what is compared of both. See `reality`."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean

from submodel_operator.api.constants import API_VERSION, KIND
from submodel_operator.api.manifest import parse_endpoint
from submodel_operator.resolve import ResolvedScaling, resolve_scaling
from submodel_operator.simulation.cluster import Cluster, Conditions, Order
from submodel_operator.simulation.measures import percentile
from submodel_operator.simulation.production import Production
from submodel_operator.simulation.workloads import Job, Workload

WORKERS_MAX = 6
SCALING = {"workersMax": WORKERS_MAX, "scalerType": "REQUEST_COUNT", "scalerValue": 2, "idleTimeout": 5}
LATE_AFTER_SECONDS = 10.0

Steps = list[tuple[float, int]]
"""How many workers were wanted from an instant on, in seconds from the beginning of the traffic."""


@dataclass(frozen=True)
class Round:
    """What one run came to, here or there."""

    worker_seconds: float
    delays: list[float]
    """Seconds from the acceptance of each job to its start, in ascending order."""

    wanted: Steps
    starts: tuple[float, ...] = ()
    """Seconds from the creation of each worker to its first free slot."""

    @property
    def p95_seconds(self) -> float:
        return percentile(self.delays, 0.95)


def as_they_come(workload: Workload) -> Iterator[Job]:
    """The jobs, each when it is due by the clock that begins now."""
    began = time.monotonic()
    for job in workload.jobs:
        time.sleep(max(0.0, began + job.arrives_at - time.monotonic()))  # noqa: TID251  # jobs come when they come
        yield job


def means(rounds: Sequence[Round]) -> tuple[float, float, float]:
    """Worker-seconds, the 95th percentile and the median of delays."""
    return (
        fmean(each.worker_seconds for each in rounds),
        fmean(each.p95_seconds for each in rounds),
        fmean(percentile(each.delays, 0.5) for each in rounds),
    )


def traffic(seconds: int) -> Workload:
    """Bursts and pauses, so that workers come and go; the same jobs every time."""
    chance = Random("reality")
    jobs = []
    for begin in range(0, seconds, 40):
        jobs += [Job(begin + chance.uniform(0, 15), chance.uniform(1, 3)) for _ in range(18)]
    return Workload("bursts", tuple(sorted(jobs)), float(seconds))


class Noted(Production):
    """The production decision that notes what it wanted."""

    def __init__(self, name: str, scaling: ResolvedScaling) -> None:
        super().__init__(name, scaling)
        self.wanted: Steps = []

    def decide(self, cluster: Cluster) -> Order:
        order = super().decide(cluster)
        if not self.wanted or self.wanted[-1][1] != order.workers:
            self.wanted.append((cluster.now, order.workers))
        return order


def simulated(workload: Workload, starts: tuple[float, ...], seed: int) -> Round:
    """The same jobs, with starts as they were measured: nothing is fitted."""
    kind = {"apiVersion": API_VERSION, "kind": KIND}
    manifest = {**kind, "metadata": {"name": "it"}, "spec": {"worker": {"image": "any"}, "scaling": SCALING}}
    scaler = Noted("production", resolve_scaling(parse_endpoint(manifest).spec))
    conditions = Conditions(
        percentile(starts, 0.5), LATE_AFTER_SECONDS, WORKERS_MAX, seed=seed, measured_starts_seconds=starts
    )
    record = Cluster(workload, scaler, conditions).run()
    ends = [record.ended_at if each.ended_at is None else each.ended_at for each in record.workers]
    lived = sum(end - each.started_at for end, each in zip(ends, record.workers, strict=True))
    return Round(lived, sorted(record.delays), scaler.wanted)
