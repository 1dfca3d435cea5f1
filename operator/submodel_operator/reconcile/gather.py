"""From raw facts to what the gateway is told and to the inputs of the decision. Pure."""

import hashlib
from collections.abc import Sequence

from submodel.contract.internal import (
    TERMINATING,
    EndpointRegistration,
    GoneWorker,
    WorkerPresence,
    WorkerToken,
    WorkerView,
)
from submodel.contract.states import WorkerPhase
from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.ports import Observed, ObservedWorker, Signals
from submodel_operator.resolve import ResolvedEndpoint, worker_token
from submodel_operator.scaling import Demand, ScalingInputs, StartingWorker, WorkerSignal

_WORKING = (WorkerPhase.READY, WorkerPhase.DRAINING)


def registration(endpoint: ResolvedEndpoint, revisions: Sequence[str]) -> EndpointRegistration:
    """What the gateway must know. Workers of every revision that still has pods keep their credential."""
    by_delay = endpoint.scaling.scaler_type is ScalerType.QUEUE_DELAY
    return EndpointRegistration(
        endpoint_id=endpoint.key.endpoint_id,
        epoch=endpoint.uid,
        generation=endpoint.generation,
        execution_timeout_ms=endpoint.execution_timeout_ms,
        ttl_ms=endpoint.ttl_ms,
        late_after_ms=round(endpoint.scaling.scaler_value * 1000) if by_delay else None,
        workers_max=endpoint.scaling.workers_max,
        worker_tokens=[WorkerToken(revision=each, sha256=_sha256(worker_token(endpoint, each))) for each in revisions],
        models=list(endpoint.models),
    )


def live_revisions(observed: Observed, present: str) -> list[str]:
    """Revisions that have, or are about to have, workers; sorted, so that equal sets are equal pushes."""
    pools = {pool.revision for pool in observed.pools}
    return sorted({present} | pools | {worker.revision for worker in observed.workers})


def presence(observed: Observed) -> list[WorkerPresence]:
    """The workers that exist, as the gateway is told; one that is on its way out is told to get no more jobs."""
    return [
        WorkerPresence(worker=worker.name, uid=worker.uid, revision=worker.revision, phase=_phase(worker))
        for worker in sorted(observed.workers, key=lambda worker: worker.name)
    ]


INFRASTRUCTURE_PHASES = frozenset({"Evicted", "NodeAffinity", "NodeLost", "NodeShutdown", "Preempting", "Terminated"})
"""Reasons of a failed pod that lie with its node: the job it ran is not charged for them."""


def gone(observed: Observed) -> list[GoneWorker]:
    """Workers that ended through no fault of their jobs. The others' end is told by their absence alone."""
    return [
        GoneWorker(worker=worker.name, reason=": ".join(filter(None, (worker.phase, worker.message))), charged=False)
        for worker in sorted(observed.finished, key=lambda worker: worker.name)
        if worker.phase in INFRASTRUCTURE_PHASES
    ]


def views(signals: Signals | None) -> dict[str, WorkerView]:
    """The gateway's view of each worker, by name; of none when its word is too old to act on."""
    return {view.worker: view for view in signals.snapshot.workers} if signals and signals.fresh else {}


def scaling_inputs(
    endpoint: ResolvedEndpoint, observed: Observed, revision: str, signals: Signals | None
) -> ScalingInputs:
    """Inputs of the decision for the pool of `revision`."""
    fresh = signals if signals and signals.fresh else None
    known = views(signals)
    working: list[WorkerSignal] = []
    starting: list[StartingWorker] = []
    for worker in observed.workers:
        if worker.revision != revision or worker.terminating:
            continue
        view = known.get(worker.name)
        if view and view.phase in _WORKING and signals:
            working.append(_working(view, signals))
        else:
            starting.append(_starting(worker, view))
    return ScalingInputs(
        scaling=endpoint.scaling,
        replicas=next((pool.replicas for pool in observed.pools if pool.revision == revision), 0),
        workers=tuple(working),
        starting=tuple(starting),
        demand=_demand(fresh, working) if fresh else None,
    )


def _working(view: WorkerView, signals: Signals) -> WorkerSignal:
    idle_seconds = None
    if view.idle_since_ms is not None and not view.running:
        idle_seconds = _age_seconds(signals, view.idle_since_ms)
    return WorkerSignal(view.worker, view.running, idle_seconds, view.draining)


def _starting(worker: ObservedWorker, view: WorkerView | None) -> StartingWorker:
    return StartingWorker(worker.name, worker.age_seconds, draining=view is not None and view.draining)


def _demand(signals: Signals, working: list[WorkerSignal]) -> Demand:
    snapshot = signals.snapshot
    oldest = snapshot.oldest_queued_ms
    return Demand(
        queued=snapshot.queued,
        late=snapshot.late,
        oldest_seconds=None if oldest is None else _age_seconds(signals, oldest),
        in_progress=sum(worker.running for worker in working),
    )


def _age_seconds(signals: Signals, instant_ms: int) -> float:
    return max(0.0, (signals.now_ms - instant_ms) / 1000 + signals.age_seconds)


def _phase(worker: ObservedWorker) -> str:
    return TERMINATING if worker.terminating else worker.phase


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
