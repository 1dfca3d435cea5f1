"""The production decision as a scaler under test: a simulated cluster becomes what the operator gathers."""

from typing import Final

from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling import Demand, ScalerState, ScalingInputs, StartingWorker, WorkerSignal, decide
from submodel_operator.simulation.cluster import Cluster, Order, Worker

BEGINNING: Final = 1_767_225_600.0
"""The simulated clock begins on a Thursday, the first of January 2026, at midnight UTC."""


class Production:
    """`scaling.decide`, with the settings of an endpoint.

    It looks at most once a second, when something changed or when it asked to; a job at zero workers wakes it at once.
    The observation begins at `beginning`, in seconds since the epoch: schedules depend on it.
    The cluster's workers that leave hold nothing, so what takes a drain and an answer in production takes no time here.
    """

    period_seconds = 1.0
    sleeps = True
    wakes = True
    grace_seconds = float("inf")

    def __init__(self, name: str, scaling: ResolvedScaling, beginning: float = BEGINNING) -> None:
        self.name = name
        self._beginning = beginning
        self._scaling = scaling
        self._state = ScalerState()

    def decide(self, cluster: Cluster) -> Order:
        """See `Scaler`."""
        alive = [worker for worker in cluster.workers.values() if not worker.leaving]
        inputs = ScalingInputs(
            scaling=self._scaling,
            replicas=len(alive),
            workers=tuple(_working(worker, cluster.now) for worker in alive if worker.ready),
            starting=tuple(StartingWorker(w.name, cluster.now - w.started_at) for w in alive if not w.ready),
            demand=_demand(cluster, self._scaling.scaler_value),
            revision="r1",
        )
        decision, self._state = decide(inputs, self._state, self._beginning + cluster.now)
        return Order(decision.replicas, decision.remove, decision.evaluate_after_seconds)


def _working(worker: Worker, now: float) -> WorkerSignal:
    idle_seconds = None if worker.running else now - worker.idle_since
    return WorkerSignal(worker.name, worker.running, idle_seconds, False, worker.ready_at - worker.started_at)


def _demand(cluster: Cluster, late_after_seconds: float) -> Demand:
    late_at = cluster.now - late_after_seconds
    late = 0
    for job in cluster.queue:  # in the order of arrival
        if job.arrives_at >= late_at:
            break
        late += 1
    return Demand(
        queued=len(cluster.queue),
        late=late,
        oldest_seconds=cluster.now - cluster.queue[0].arrives_at if cluster.queue else None,
        in_progress=cluster.in_progress,
        arrived_total=cluster.arrived_total,
        finished_total=cluster.finished_total,
    )
