"""What the newest start of a worker was made of, from the pod's instants and the runtime's own report. Pure.

Called by `status`. A start is told once, when it is over, and never changes; it stays until a newer one is over. Both
sources are durations within one clock each: the cluster's between its own instants, the worker's between its steps.
"""

from collections.abc import Mapping
from datetime import datetime

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.figures import instant
from submodel_operator.ports import Manifest, Observed, ObservedWorker, PodStart

_UP = (WorkerPhase.READY, WorkerPhase.DRAINING)


def newest_start(
    observed: Observed, revision: str | None, views: Mapping[str, WorkerView], previous: Manifest | None
) -> Manifest | None:
    """The newest start of a worker of `revision` that is over; `previous` when there is no newer one."""
    over = [
        (start.created_at, worker.name, told)
        for worker in observed.workers
        if worker.revision == revision and (start := worker.start)
        if (told := _told(worker, start, views.get(worker.name)))
    ]
    if not over:
        return previous
    created_at, name, told = max(over, key=lambda each: each[:2])
    if previous and (previous["worker"] == name or _seconds(previous["at"]) > created_at):
        return previous
    return told


def _told(worker: ObservedWorker, start: PodStart, view: WorkerView | None) -> Manifest | None:
    """None while it starts, and for one whose container was started again: its first start is not told any more."""
    if view is None or view.phase not in _UP or worker.ended or start.scheduled_at is None or start.ran_at is None:
        return None
    steps = {
        "schedulingSeconds": start.scheduled_at - start.created_at,
        "pullSeconds": start.ran_at - start.scheduled_at,
    }
    if report := view.startup:
        steps |= {} if report.import_ms is None else {"startSeconds": report.import_ms / 1000}
        steps |= {"loadSeconds": report.load_ms / 1000, "checkSeconds": report.check_ms / 1000}
    known = {name: round(max(0.0, seconds), 1) for name, seconds in steps.items()}
    total = round(sum(known.values()), 1)
    return {"worker": worker.name, "at": instant(start.created_at), "totalSeconds": total, **known}


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
