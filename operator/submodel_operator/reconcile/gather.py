"""From raw facts to what the gateway is told and to the inputs of the decision. Pure."""

import hashlib
from collections.abc import Mapping, Sequence

from submodel.contract.internal import (
    TERMINATING,
    EndpointKey,
    EndpointRegistration,
    GoneWorker,
    WorkerPool,
    WorkerPresence,
    WorkerToken,
    WorkerView,
)
from submodel.contract.states import WorkerPhase
from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.desired import names
from submodel_operator.diagnosis import CRASHING, UNPLACED, end_in_words, failures
from submodel_operator.ports import Observed, ObservedWorker, Signals, WorkerEnd
from submodel_operator.resolve import ResolvedEndpoint, ResolvedScaling, worker_token
from submodel_operator.scaling import Demand, ScalingInputs, StartingWorker, Trouble, WorkerSignal

_WORKING = (WorkerPhase.READY, WorkerPhase.DRAINING)


def registration(
    endpoint: ResolvedEndpoint, revisions: Sequence[str], keys: Sequence[EndpointKey] = ()
) -> EndpointRegistration:
    """What the gateway must know. Workers of every revision that still has pods keep their credential."""
    scaling, jobs = endpoint.scaling, endpoint.jobs
    # Pods of another revision may be from before the audience was set, or after: either token is as good.
    pools = revisions if endpoint.settings.token_audience else ()
    return EndpointRegistration(
        endpoint_id=endpoint.endpoint_id,
        owner=endpoint.key.endpoint_id,
        epoch=endpoint.uid,
        generation=endpoint.generation,
        execution_timeout_ms=jobs.execution_timeout_ms,
        ttl_ms=jobs.ttl_ms,
        max_attempts=jobs.max_attempts,
        retry_errors=jobs.retry_errors,
        result_ttl_seconds=jobs.result_ttl_seconds,
        sync_result_ttl_seconds=jobs.sync_result_ttl_seconds,
        queued_max=jobs.max_queued,
        late_after_ms=_late_after_ms(scaling),
        workers_max=endpoint.queue_workers,
        open=endpoint.open,
        api_keys=list(keys),
        worker_tokens=[WorkerToken(revision=each, sha256=_sha256(worker_token(endpoint, each))) for each in revisions],
        worker_pools=[
            WorkerPool(revision=each, namespace=endpoint.key.namespace, deployment=names.pool_name(endpoint, each))
            for each in pools
        ],
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


def gone(observed: Observed, views: Mapping[str, WorkerView]) -> list[GoneWorker]:
    """Workers that their nodes gave up, which is no fault of their jobs, and processes that died in pods that stay.

    A pod that is not there any more is told by its absence alone.
    """
    given_up = [
        GoneWorker(worker=worker.name, reason=": ".join(filter(None, (worker.phase, worker.message))), charged=False)
        for worker in sorted(observed.finished, key=lambda worker: worker.name)
        if worker.phase in INFRASTRUCTURE_PHASES
    ]
    died = [
        GoneWorker(worker=worker.name, reason=end_in_words(worker.ended), session=view.session)
        for worker in sorted(observed.workers, key=lambda worker: worker.name)
        if worker.ended and (view := views.get(worker.name)) and _is_of(view, worker.ended, worker.phase)
    ]
    return given_up + died


def _is_of(view: WorkerView, end: WorkerEnd, phase: str) -> bool:
    """Whether the session that the gateway knows is of the run that ended, and holds something.

    Both instants are of the clock of the worker's node. That of the end has lost its fraction, so a process that was
    started before it is certainly not the one that came after. Where the next run has to wait, it is at least a second
    after the end, so one that was started within the second of the end is of the run that ended, too.
    """
    started_at_ms = view.startup.process_at_ms if view.startup else None
    if end.at is None or started_at_ms is None or not view.session or not view.running:
        return False
    lost_fraction_ms = 1000 if phase == CRASHING else 0
    return started_at_ms < end.at * 1000 + lost_fraction_ms


def views(signals: Signals | None) -> dict[str, WorkerView]:
    """The gateway's view of each worker, by name; of none when its word is too old to act on."""
    return {view.worker: view for view in signals.snapshot.workers} if signals and signals.fresh else {}


def scaling_inputs(
    endpoint: ResolvedEndpoint, observed: Observed, revision: str, signals: Signals | None, hold: str = ""
) -> ScalingInputs:
    """Inputs of the decision for the pool of `revision`."""
    known = {view.worker: view for view in signals.snapshot.workers} if signals else {}
    failing = {failure.worker for failure in failures(observed, revision, known) if failure.lasting}
    working: list[WorkerSignal] = []
    starting: list[StartingWorker] = []
    for worker in observed.workers:
        if worker.revision != revision or worker.terminating:
            continue
        view = known.get(worker.name)
        if view and view.phase in _WORKING and signals:
            working.append(_working(worker, view, signals))
        else:
            starting.append(_starting(worker, view, worker.name in failing))
    pool = next((pool for pool in observed.pools if pool.revision == revision), None)
    return ScalingInputs(
        scaling=endpoint.scaling,
        replicas=pool.replicas if pool else 0,
        workers=tuple(working),
        starting=tuple(starting),
        demand=_demand(signals, working) if signals else None,
        revision=revision,
        refusal=pool.refusal if pool else "",
        hold=hold,
    )


def _late_after_ms(scaling: ResolvedScaling) -> int | None:
    """The gateway counts late jobs for the scaler that asks for them, or for its shadow."""
    if scaling.scaler_type is ScalerType.QUEUE_DELAY:
        return round(scaling.scaler_value * 1000)
    return round(scaling.shadow_value * 1000) if scaling.shadow is ScalerType.QUEUE_DELAY else None


def _working(worker: ObservedWorker, view: WorkerView, signals: Signals) -> WorkerSignal:
    idle_seconds = None
    if view.idle_since_ms is not None and not view.running:
        idle_seconds = _age_seconds(signals, view.idle_since_ms)
    start_seconds = worker.age_seconds
    if view.asked_ms is not None:  # its word came later
        start_seconds = max(0.0, worker.age_seconds - _age_seconds(signals, view.asked_ms))
    return WorkerSignal(
        view.worker, view.running, idle_seconds, view.draining, start_seconds, worker.unready, worker.coming
    )


def _starting(worker: ObservedWorker, view: WorkerView | None, failing: bool) -> StartingWorker:
    unplaced = Trouble.UNSCHEDULABLE if worker.phase in UNPLACED else None
    draining = view is not None and view.draining
    trouble = Trouble.FAILING if failing else unplaced
    runs = worker.phase == "Running" and not worker.unready
    return StartingWorker(worker.name, worker.age_seconds, draining, trouble, runs, worker.coming)


def _demand(signals: Signals, working: list[WorkerSignal]) -> Demand:
    snapshot = signals.snapshot
    oldest = snapshot.oldest_queued_ms
    return Demand(
        queued=max(0, snapshot.queued - snapshot.queued_low_priority),
        late=snapshot.late,
        oldest_seconds=None if oldest is None else _age_seconds(signals, oldest),
        in_progress=sum(worker.running for worker in working),
        arrived_total=max(0, snapshot.arrived_total - snapshot.arrived_low_priority_total),
        finished_total=snapshot.completed_total + snapshot.failed_total,
        age_seconds=signals.age_seconds,
        fresh=signals.fresh,
        running_everywhere=snapshot.in_progress,
        queued_low=snapshot.queued_low_priority,
        running_low=snapshot.in_progress_low_priority,
    )


def _age_seconds(signals: Signals, instant_ms: int) -> float:
    return max(0.0, (signals.now_ms - instant_ms) / 1000 + signals.age_seconds)


def _phase(worker: ObservedWorker) -> str:
    return TERMINATING if worker.terminating else worker.phase


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
