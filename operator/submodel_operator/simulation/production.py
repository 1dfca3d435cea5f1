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
        self._working: dict[str, WorkerSignal] = {}
        """What is told of workers that take jobs, in the order of their starts. It is kept from look to look: to tell
        all of a hundred anew, of whom most are as busy as before, took a third of a simulation's time."""

        self._idle: dict[str, Worker] = {}
        self._starting: dict[str, Worker] = {}

    def decide(self, cluster: Cluster) -> Order:
        """See `Scaler`."""
        decision, self._state = decide(self.inputs(cluster), self._state, self._beginning + cluster.now)
        return Order(decision.replicas, decision.remove, decision.evaluate_after_seconds)

    def inputs(self, cluster: Cluster) -> ScalingInputs:
        """What the operator would gather now. To be asked at every look: it goes on from the one before."""
        self._hear(cluster)
        now, working = cluster.now, tuple(self._working.values())
        starting = tuple([StartingWorker(name, now - each.started_at) for name, each in self._starting.items()])
        replicas, demand = len(working) + len(starting), _demand(cluster, self._scaling)
        return ScalingInputs(self._scaling, replicas, working, starting, demand, "r1")

    def _hear(self, cluster: Cluster) -> None:
        """What changed since the last look; and for how long the idle workers have been idle by now."""
        came_up = False
        for name, worker in cluster.changed.items():
            if worker.leaving:
                self._forget(name)
            elif not worker.ready:
                self._starting[name] = worker
            else:
                came_up |= name not in self._working
                self._starting.pop(name, None)
                self._tell(worker)
        for name, worker in self._idle.items():
            self._working[name] = _working(worker, cluster.now - worker.idle_since)
        if came_up:
            self._working = {name: self._working[name] for name in cluster.workers if name in self._working}

    def _tell(self, worker: Worker) -> None:
        if worker.running:
            self._idle.pop(worker.name, None)
            self._working[worker.name] = _working(worker, None)
        else:
            self._idle[worker.name] = worker  # told at every look

    def _forget(self, name: str) -> None:
        for known in (self._working, self._idle, self._starting):
            known.pop(name, None)


def _working(worker: Worker, idle_seconds: float | None) -> WorkerSignal:
    return WorkerSignal(worker.name, worker.running, idle_seconds, False, worker.ready_at - worker.started_at)


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
