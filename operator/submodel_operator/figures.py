"""Figures of the status that never stand still, told so that they rarely change: each change is a write. Pure.

Called by `status`. A figure that nobody reports any more stays as it was told last.
"""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.ports import Manifest, Observed, Signals

SAME_INSTANT_SECONDS: Final = 2.0
"""Two clocks and a poll lie between an instant and its reader: nearer ones are the same."""

SAME_SHARE: Final = 0.2
"""A measured duration is told anew when it differs by more than this share."""

REVISIONS_SHOWN: Final = 16


def jobs(signals: Signals | None, previous: Manifest, now: float) -> Manifest | None:
    """Jobs by state, since when the oldest waits, and how long they run; `previous` while nothing is known."""
    if signals is None:
        return previous or None
    snapshot = signals.snapshot
    told = {
        "queued": snapshot.queued,
        "queuedLowPriority": snapshot.queued_low_priority or None,
        "inProgress": snapshot.in_progress,
        "oldestQueuedAt": _oldest_at(signals, previous.get("oldestQueuedAt"), now),
        "executionSecondsP95": _duration(snapshot.execution_ms_p95, previous.get("executionSecondsP95")),
    }
    return {name: value for name, value in told.items() if value is not None}


def revisions(
    observed: Observed, present: str | None, views: Mapping[str, WorkerView], never_ready: Collection[str] = ()
) -> list[Manifest]:
    """The revisions that have workers or a Deployment, the present one first."""
    found = {pool.revision for pool in observed.pools} | {worker.revision for worker in observed.workers}
    ordered = sorted(found | ({present} if present else set()), key=lambda each: (each != present, each))
    return [
        _revision(each, observed, views) | ({"neverReady": True} if each in never_ready else {})
        for each in ordered[:REVISIONS_SHOWN]
    ]


def instant(seconds: float) -> str:
    """Seconds since the epoch, as the Kubernetes API writes instants."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _revision(revision: str, observed: Observed, views: Mapping[str, WorkerView]) -> dict[str, Any]:
    workers = [worker for worker in observed.workers if worker.revision == revision]
    known = [view for worker in workers if (view := views.get(worker.name))]
    return {
        "revision": revision,
        "workers": len(workers),
        "ready": sum(view.phase is WorkerPhase.READY and not view.draining for view in known),
        "running": sum(view.running for view in known),
    }


def _oldest_at(signals: Signals, previous: str | None, now: float) -> str | None:
    oldest_ms = signals.snapshot.oldest_queued_ms
    if oldest_ms is None:
        return None
    at = signals.instant(oldest_ms, now)
    near = previous is not None and abs(datetime.fromisoformat(previous).timestamp() - at) <= SAME_INSTANT_SECONDS
    return previous if near else instant(at)


def _duration(measured_ms: int | None, previous: float | None) -> float | None:
    if measured_ms is None:
        return previous
    seconds = measured_ms / 1000
    if previous is not None and abs(seconds - previous) <= SAME_SHARE * previous:
        return previous
    return float(f"{seconds:.2g}")
