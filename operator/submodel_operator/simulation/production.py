"""The production decision as a scaler under test: a simulated cluster becomes what the operator gathers."""

from itertools import takewhile
from typing import Final

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling import Demand, ScalerState, ScalingInputs, StartingWorker, WorkerSignal, decide
from submodel_operator.simulation.cluster import Cluster, Order, Worker

NEWS_SECONDS: Final = 0.2
"""What changes within so long, the gateway tells together."""

HELD_SECONDS: Final = 1.0
"""So long it holds an answer while jobs wait and nothing changes."""

BEGINNING: Final = 1_767_225_600.0
"""The simulated clock begins on a Thursday, the first of January 2026, at midnight UTC."""


class Production:
    """`scaling.decide`, with the settings of an endpoint.

    It hears as the operator does: of a job that meets no worker at once, of everything else put together, and of a
    queue in which nothing changes at the end of a held poll.
    The observation begins at `beginning`, in seconds since the epoch: schedules depend on it.
    The cluster's workers that leave hold nothing, so what takes a drain and an answer in production takes no time here.
    """

    period_seconds = NEWS_SECONDS
    waits_seconds = HELD_SECONDS
    sleeps = True
    wakes = True
    grace_seconds = float("inf")

    def __init__(self, name: str, scaling: ResolvedScaling, beginning: float = BEGINNING) -> None:
        self.name = name
        self._beginning = beginning
        self._scaling = scaling
        self._state = ScalerState()
        self._busy: dict[str, WorkerSignal] = {}
        """What is told of workers that hold jobs, which time does not change: kept, because it is told so often."""

    def decide(self, cluster: Cluster) -> Order:
        """See `Scaler`."""
        working: list[WorkerSignal] = []
        starting: list[StartingWorker] = []
        for worker in cluster.workers.values():
            if worker.leaving:
                continue
            if not worker.ready:
                starting.append(StartingWorker(worker.name, cluster.now - worker.started_at))
                continue
            known = self._busy.get(worker.name)
            if known is None or known.running != worker.running:
                known = self._told(worker, cluster.now)
            working.append(known)
        replicas, demand = len(working) + len(starting), _demand(cluster, self._scaling)
        inputs = ScalingInputs(self._scaling, replicas, tuple(working), tuple(starting), demand, "r1")
        decision, self._state = decide(inputs, self._state, self._beginning + cluster.now)
        return Order(decision.replicas, decision.remove, decision.evaluate_after_seconds)

    def _told(self, worker: Worker, now: float) -> WorkerSignal:
        took_seconds = worker.ready_at - worker.started_at
        if not worker.running:
            return WorkerSignal(worker.name, 0, now - worker.idle_since, False, took_seconds)
        told = self._busy[worker.name] = WorkerSignal(worker.name, worker.running, None, False, took_seconds)
        return told


def _demand(cluster: Cluster, scaling: ResolvedScaling) -> Demand:
    return Demand(
        queued=len(cluster.queue),
        late=_late(cluster, scaling.scaler_value) if scaling.scaler_type is ScalerType.QUEUE_DELAY else 0,
        oldest_seconds=cluster.now - cluster.queue[0].arrives_at if cluster.queue else None,
        in_progress=cluster.in_progress,
        arrived_total=cluster.arrived_total,
        finished_total=cluster.finished_total,
    )


def _late(cluster: Cluster, after_seconds: float) -> int:
    waiting = takewhile(lambda job: job.arrives_at < cluster.now - after_seconds, cluster.queue)
    return sum(1 for _ in waiting)  # they wait in the order of arrival
