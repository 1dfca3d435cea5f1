"""The status document: what people and scripts read of an endpoint. Pure; written once per reconcile.

Nothing volatile is in it (no "last checked at"), so an endpoint at rest is never written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.api import constants
from submodel_operator.api.constants import Reason
from submodel_operator.ports import Manifest, Observed, Signals
from submodel_operator.scaling import ScalingDecision

FAILING_PHASES = frozenset(
    {
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "ErrImageNeverPull",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "RunContainerError",
    }
)
"""Reasons of a pod that does not come up by waiting."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an endpoint cannot serve."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Account:
    """All that a reconcile found out; what is None was not reached."""

    observed: Observed
    url: str | None = None
    revision: str | None = None
    """The present revision; the last one known, when a step failed before it was computed."""

    workers_max: int | None = None
    decision: ScalingDecision | None = None
    replicas_before: int = 0
    last_decision: Manifest | None = None
    """The newest decision that changed the number, as the status shows it; None when none is known."""

    signals: Signals | None = None
    problem: Problem | None = None


def build_status(account: Account, now: float) -> dict[str, Any]:
    """The complete status. `now` (seconds since the epoch) stamps only what changed."""
    previous = account.observed.manifest.get("status") or {}
    if account.revision is None:
        account = replace(account, revision=previous.get("revision"))
    problem = account.problem or _failing_workers(account)
    workers = _workers(account)
    status: dict[str, Any] = {
        "observedGeneration": account.observed.generation,
        "phase": _phase(account, problem, workers),
        "url": account.url or previous.get("url"),
        "revision": account.revision,
        "workers": workers,
        "jobs": _jobs(account, previous),
        "autoscaling": _autoscaling(account, previous),
        "conditions": _conditions(account, problem, previous.get("conditions") or (), now),
    }
    return {name: value for name, value in status.items() if value is not None}


def _workers(account: Account) -> dict[str, int]:
    known = {view.worker: view for view in account.signals.snapshot.workers} if account.signals else {}
    present = [worker for worker in account.observed.workers if worker.revision == account.revision]
    alive = [worker for worker in present if not worker.terminating]
    working = [view for worker in alive if (view := known.get(worker.name)) and view.phase is WorkerPhase.READY]
    serving = [view for view in working if not view.draining]
    busy = sum(view.running > 0 for view in serving)
    draining = sum(_leaving(worker.terminating, known.get(worker.name)) for worker in account.observed.workers)
    return {
        "total": len(account.observed.workers),
        "ready": len(serving),
        "busy": busy,
        "idle": len(serving) - busy,
        "starting": sum(not _leaving(False, known.get(worker.name)) for worker in alive) - len(serving),
        "draining": draining,
        "outdated": len(account.observed.workers) - len(present),
        "desired": account.decision.replicas if account.decision else account.replicas_before,
    }


def _leaving(terminating: bool, view: WorkerView | None) -> bool:
    return terminating or (view is not None and view.draining)


def _jobs(account: Account, previous: Mapping[str, Any]) -> dict[str, int] | None:
    if account.signals is None:
        jobs: dict[str, int] | None = previous.get("jobs")
        return jobs
    return {"queued": account.signals.snapshot.queued, "inProgress": account.signals.snapshot.in_progress}


def _autoscaling(account: Account, previous: Mapping[str, Any]) -> Manifest | None:
    if account.last_decision is None:
        kept: Manifest | None = previous.get("autoscaling")
        return kept
    return {"lastDecision": account.last_decision}


def describe_decision(decision: ScalingDecision, current: int, now: float) -> dict[str, Any]:
    """A decision that changed the number of workers, as `status.autoscaling.lastDecision` shows it."""
    return {
        "at": _instant(now),
        "current": current,
        "desired": decision.replicas,
        "reason": str(decision.term),
        "message": decision.message,
    }


def _phase(account: Account, problem: Problem | None, workers: Mapping[str, int]) -> str:
    if problem:
        return "Degraded"
    if account.workers_max == 0:
        return "Parked"
    if not workers["desired"] and not workers["total"]:
        return "Idle"
    return "Ready" if workers["ready"] == workers["desired"] == workers["total"] else "Scaling"


def _failing_workers(account: Account) -> Problem | None:
    """A problem when workers fail and none works; the cluster's or the worker's own words tell it."""
    known = {view.worker: view for view in account.signals.snapshot.workers} if account.signals else {}
    alive = [each for each in account.observed.workers if each.revision == account.revision and not each.terminating]
    if any((view := known.get(worker.name)) and view.phase is WorkerPhase.READY for worker in alive):
        return None
    for worker in alive:
        view = known.get(worker.name)
        said = view.reason if view and view.phase is WorkerPhase.UNHEALTHY else ""
        if said or worker.phase in FAILING_PHASES:
            words = _last_line(said) or _last_line(worker.message) or worker.phase
            return Problem(Reason.WORKERS_FAILING, f"worker {worker.name} fails: {words}")
    refusal = next((pool.refusal for pool in account.observed.pools if pool.revision == account.revision), "")
    return Problem(Reason.REFUSED, f"the cluster refuses to create workers: {refusal}") if refusal else None


def _last_line(text: str) -> str:
    """Of a traceback, the line that names the error; the rest is in the worker's log."""
    return text.strip().rpartition("\n")[2].strip()


def _conditions(
    account: Account, problem: Problem | None, previous: Sequence[Mapping[str, Any]], now: float
) -> list[Manifest]:
    ready = (
        ("False", problem.reason, problem.message)
        if problem
        else ("True", str(Reason.REGISTERED), "jobs are accepted; workers start on demand")
    )
    wanted = [(constants.READY, *ready), (constants.SCALER_HEALTHY, *_scaler_health(account))]
    before = {condition["type"]: condition for condition in previous}
    return [
        {
            "type": kind,
            "status": holds,
            "reason": reason,
            "message": message,
            "observedGeneration": account.observed.generation,
            "lastTransitionTime": _transition(before.get(kind), holds, now),
        }
        for kind, holds, reason, message in wanted
    ]


def _scaler_health(account: Account) -> tuple[str, str, str]:
    if account.signals is None:
        return "Unknown", Reason.SIGNALS_UNKNOWN, "the gateway has not reported on this endpoint yet"
    if not account.signals.fresh:
        return "False", Reason.SIGNALS_STALE, "the gateway is silent; the number of workers is held"
    return "True", Reason.SIGNALS_FRESH, "the gateway reports queue and workers"


def _transition(before: Mapping[str, Any] | None, holds: str, now: float) -> str:
    if before and before.get("status") == holds and before.get("lastTransitionTime"):
        return str(before["lastTransitionTime"])
    return _instant(now)


def _instant(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
