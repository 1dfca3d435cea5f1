"""The status document: what people and scripts read of an endpoint. Pure; written once per reconcile.

Nothing volatile is in it (no "last checked at"), so an endpoint at rest is never written.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator import figures
from submodel_operator.api import constants
from submodel_operator.api.conditions import REMEDIES, ConditionType, Reason
from submodel_operator.cold_start import asked_at, newest_start
from submodel_operator.diagnosis import (
    Failure,
    Problem,
    broken,
    capacity_problem,
    failing_jobs,
    failures,
    problem,
    workers_problem,
)
from submodel_operator.handler_syntax import syntax_problem
from submodel_operator.ports import Manifest, Observed, Signals
from submodel_operator.resolve import ResolvedEndpoint
from submodel_operator.scaling import ScalingDecision, ScalingInputs
from submodel_operator.scaling.explained import describe

FAILURES_KEPT = 5
MESSAGE_MAX = 1_000


@dataclass(frozen=True, slots=True)
class Account:
    """All that a reconcile found out; what is None was not reached."""

    observed: Observed
    endpoint: ResolvedEndpoint | None = None
    revision: str | None = None
    """The present revision; the last one known, when a step failed before it was computed."""

    decision: ScalingDecision | None = None
    replicas_before: int = 0
    last_decision: Manifest | None = None
    """The newest decision that changed the number, as the status shows it; None when none is known."""

    shadow: Manifest | None = None
    """What the other scaler would ask for; None when there is none."""

    memory: str | None = None
    """What the scaler remembers; None when this step did not get that far."""

    signals: Signals | None = None
    overdue: Mapping[str, str] = field(default_factory=dict)
    """Workers that are replaced because they did not come to work in time, with the words for it."""

    never_ready: Collection[str] | None = None
    """Revisions that never had a ready worker; None when this step did not get that far."""

    disturbance: Problem | None = None
    """What somebody else did to the workers lately, or to the clock."""

    key_problem: str = ""
    """What is wrong with the Secrets of `spec.auth`; empty when nothing is."""

    problem: Problem | None = None


def build_status(account: Account, now: float) -> dict[str, Any]:
    """The complete status. `now` (seconds since the epoch) stamps only what changed."""
    previous = account.observed.manifest.get("status") or {}
    if account.revision is None:
        account = replace(account, revision=previous.get("revision"))
    workers = _workers(account)
    trouble = _trouble(account, previous)
    problem = account.problem or (None if workers["ready"] else _first_of(trouble))
    status: dict[str, Any] = {
        "observedGeneration": account.observed.generation,
        "phase": _phase(account, problem, workers),
        "revision": account.revision,
        **_given(account.endpoint, previous),
        "workers": workers,
        "revisions": _revisions(account, previous),
        "jobs": figures.jobs(account.signals, previous.get("jobs") or {}, now),
        "coldStart": newest_start(
            account.observed,
            account.revision,
            _views(account),
            asked_at(account.signals, now),
            previous.get("coldStart"),
        ),
        "autoscaling": _autoscaling(account, previous),
        "failures": _failures(trouble.failures, previous.get("failures") or (), now) or None,
        "conditions": _conditions(account, problem, trouble, workers, previous, now),
    }
    return {name: value for name, value in status.items() if value is not None}


def _revisions(account: Account, previous: Mapping[str, Any]) -> list[Manifest] | None:
    unproven = account.never_ready
    if unproven is None:
        told = previous.get("revisions") or ()
        unproven = [each["revision"] for each in told if each.get("neverReady")]
    return figures.revisions(account.observed, account.revision, _views(account), unproven) or None


def _given(endpoint: ResolvedEndpoint | None, previous: Mapping[str, Any]) -> dict[str, Any]:
    """What follows from the spec alone; as it was, while the spec cannot be read."""
    if endpoint is None:
        return {name: previous.get(name) for name in ("url", "selector", "gpu", "warnings")}
    return {
        "url": endpoint.url,
        "selector": f"{constants.ENDPOINT_LABEL}={endpoint.key.name}",
        "gpu": {"summary": _gpu_summary(endpoint)} if endpoint.gpu.count else None,
        "warnings": list(endpoint.placement.warnings) or None,
    }


def _gpu_summary(endpoint: ResolvedEndpoint) -> str:
    gpu = endpoint.gpu
    first, *others = gpu.types or [gpu.resource_name]
    return f"{gpu.count} × {first}" + (f" +{len(others)}" if others else "")


@dataclass(frozen=True, slots=True)
class _Trouble:
    """What is wrong with the workers, whether or not others of them work."""

    failures: list[Failure]
    workers: Problem | None
    capacity: Problem | None
    handler: Problem | None


def _trouble(account: Account, previous: Mapping[str, Any]) -> _Trouble:
    found = failures(account.observed, account.revision, _views(account), account.overdue)
    capacity = capacity_problem(account.observed, account.revision)
    workers = workers_problem(found) or _overdue_before(account, previous)
    return _Trouble(found, workers, capacity, _handler_problem(account.endpoint))


def _first_of(trouble: _Trouble) -> Problem | None:
    """A worker knows best what is wrong."""
    return trouble.workers or trouble.handler or trouble.capacity


def _handler_problem(endpoint: ResolvedEndpoint | None) -> Problem | None:
    words = syntax_problem(endpoint.handler_source) if endpoint and endpoint.handler_source else ""
    return problem(Reason.HANDLER_INVALID, f"spec.worker.handler {words}") if words else None


def _overdue_before(account: Account, previous: Mapping[str, Any]) -> Problem | None:
    """A worker that was replaced because it came too late is gone; what it tells holds until one of its kind works."""
    condition = _condition(previous, ConditionType.WORKERS_HEALTHY)
    still = condition.get("reason") == Reason.STARTUP_DEADLINE and previous.get("revision") == account.revision
    working = any(view.phase is WorkerPhase.READY for view in _views(account).values())
    coming = any(worker.revision == account.revision for worker in account.observed.workers)
    return Problem(Reason.STARTUP_DEADLINE, condition["message"]) if still and coming and not working else None


def _condition(status: Mapping[str, Any], kind: ConditionType) -> Mapping[str, Any]:
    return next((each for each in status.get("conditions") or () if each["type"] == kind), {})


def _failures(found: Sequence[Failure], previous: Sequence[Manifest], now: float) -> list[Manifest]:
    """Those of before, and the new ones; one for each worker and reason, as it was told last."""
    kept = {(each["worker"], each["reason"]): each for each in previous}
    # Of more than are kept, always the same ones: else they would displace each other at every look.
    chosen = sorted(found, key=lambda failure: (failure.worker, failure.reason) not in kept)[:FAILURES_KEPT]
    for failure in chosen:
        known = kept.pop((failure.worker, failure.reason), None)
        entry = {
            "at": figures.instant(now),
            "worker": failure.worker,
            "reason": failure.reason,
            "message": failure.lines,
        }
        same = known and known["message"] == failure.lines
        kept[failure.worker, failure.reason] = known if known and same else entry
    return sorted(kept.values(), key=lambda each: (each["at"], each["worker"], each["reason"]))[-FAILURES_KEPT:]


def _views(account: Account) -> dict[str, WorkerView]:
    return {view.worker: view for view in account.signals.snapshot.workers} if account.signals else {}


def _workers(account: Account) -> dict[str, int]:
    known = _views(account)
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


def _autoscaling(account: Account, previous: Mapping[str, Any]) -> Manifest | None:
    kept: Mapping[str, Any] = previous.get("autoscaling") or {}
    if account.decision is None:
        return kept or None
    shown = {
        "lastDecision": account.last_decision or kept.get("lastDecision"),
        "shadow": _shadow(account.shadow, kept.get("shadow")),
        "memory": account.memory,
    }
    return {name: value for name, value in shown.items() if value} or None


def _shadow(shadow: Manifest | None, before: Manifest | None) -> Manifest | None:
    """The one before stays while its number is the same: its words change with every second."""
    same = shadow and before and all(shadow[name] == before.get(name) for name in ("scalerType", "desired"))
    return before if same else shadow


def describe_decision(decision: ScalingDecision, inputs: ScalingInputs, now: float) -> dict[str, Any]:
    """A decision that changed the number of workers, as `status.autoscaling.lastDecision` shows it."""
    return describe(decision, inputs, figures.instant(now))


def _phase(account: Account, problem: Problem | None, workers: Mapping[str, int]) -> str:
    if problem:
        return "Degraded"
    if account.endpoint and account.endpoint.suspended:
        return "Suspended"
    if account.endpoint and account.endpoint.scaling.workers_max == 0:
        return "Parked"
    if not workers["desired"] and not workers["total"]:
        return "Idle"
    return "Ready" if workers["ready"] == workers["desired"] == workers["total"] else "Scaling"


def _conditions(
    account: Account,
    problem: Problem | None,
    trouble: _Trouble,
    workers: Mapping[str, int],
    previous: Mapping[str, Any],
    now: float,
) -> list[Manifest]:
    served = "jobs are accepted; workers start on demand"
    wanted = {
        ConditionType.READY: _good_unless(problem, Reason.REGISTERED, served),
        ConditionType.AVAILABLE: _availability(workers),
        ConditionType.WORKERS_HEALTHY: _good_unless(trouble.workers, Reason.NO_FAILURE, "no worker fails"),
        ConditionType.CAPACITY_AVAILABLE: _good_unless(
            trouble.capacity, Reason.SUFFICIENT, "no worker waits for a node"
        ),
        ConditionType.ROLLOUT_COMPLETE: _rollout(account, workers, trouble),
        ConditionType.AUTOSCALING: _autoscaler(account.endpoint, previous),
        ConditionType.SCALER_HEALTHY: _scaler_health(account),
        **_keys(account, previous),
        **_undisturbed(account, previous),
    }
    before = {condition["type"]: condition for condition in previous.get("conditions") or ()}
    return [
        {
            "type": str(kind),
            "status": holds,
            "reason": str(reason),
            "message": message,
            "observedGeneration": account.observed.generation,
            "lastTransitionTime": _transition(before.get(kind), holds, now),
        }
        for kind, (holds, reason, message) in wanted.items()
    ]


def _good_unless(problem: Problem | None, reason: str, message: str) -> tuple[str, str, str]:
    return ("False", problem.reason, problem.message) if problem else ("True", reason, message)


def _availability(workers: Mapping[str, int]) -> tuple[str, str, str]:
    if workers["ready"]:
        return "True", Reason.WORKERS_READY, "workers take jobs"
    if workers["starting"] or workers["desired"]:
        return "False", Reason.WORKERS_STARTING, "workers start, and none takes jobs yet"
    return "False", Reason.NO_WORKERS, "no worker runs; the first job starts one"


def _rollout(account: Account, workers: Mapping[str, int], trouble: _Trouble) -> tuple[str, str, str]:
    others = {pool.revision for pool in account.observed.pools if pool.revision != account.revision}
    if not workers["outdated"] and not (others and account.revision):
        return "True", Reason.COMPLETE, "all workers are of the present revision"
    remedy = REMEDIES[Reason.ROLLOUT_FAILED]
    some_stay = bool(others - broken(account.observed, account.never_ready or (), _views(account)))
    if some_stay and trouble.workers and not workers["ready"]:
        words = f"revision {account.revision} does not work, so the workers of the one before stay"
        return "False", Reason.ROLLOUT_FAILED, f"{words}: {trouble.workers.message}; {remedy}"
    wanted = account.revision if workers["desired"] else None  # else nobody stays
    if wanted and (failing := failing_jobs(account.observed, wanted, _views(account))):
        words = f"{failing}, so the workers of the one before that are left stay"
        return "False", Reason.ROLLOUT_FAILED, f"{words}; {remedy}"
    return "False", Reason.IN_PROGRESS, "workers of an earlier revision finish what they hold"


def _keys(account: Account, previous: Mapping[str, Any]) -> dict[ConditionType, tuple[str, str, str]]:
    """Only for an endpoint that names Secrets with keys."""
    kind = ConditionType.KEYS_USABLE
    if account.endpoint is None:
        kept = _condition(previous, kind)
        return {kind: (kept["status"], kept["reason"], kept["message"])} if kept else {}
    if not account.endpoint.key_secrets:
        return {}
    wrong = problem(Reason.KEY_SECRET_UNUSABLE, account.key_problem[:MESSAGE_MAX]) if account.key_problem else None
    return {kind: _good_unless(wrong, Reason.KEYS_KNOWN, "the gateway knows the keys of all Secrets")}


def _undisturbed(account: Account, previous: Mapping[str, Any]) -> dict[ConditionType, tuple[str, str, str]]:
    """Only once there was something to tell."""
    kind = ConditionType.UNDISTURBED
    if account.disturbance is None and not _condition(previous, kind):
        return {}
    return {kind: _good_unless(account.disturbance, Reason.LEFT_ALONE, "nobody else has meddled lately")}


def _autoscaler(endpoint: ResolvedEndpoint | None, previous: Mapping[str, Any]) -> tuple[str, str, str]:
    if endpoint is None:
        kept = _condition(previous, ConditionType.AUTOSCALING)
        return kept.get("status", "Unknown"), kept.get("reason", Reason.UNKNOWN), kept.get("message", "")
    if endpoint.suspended:
        return "False", Reason.SUSPENDED, "spec.suspend is true: no worker runs, and jobs wait"
    if endpoint.replicas_are_set:
        words = f"spec.scaling.replicas asks for {endpoint.scaling.workers_max}"
        return "False", Reason.MANUAL_REPLICAS, f"{words}; {REMEDIES[Reason.MANUAL_REPLICAS]}"
    return "True", Reason.ACTIVE, "the number of workers follows spec.scaling"


def _scaler_health(account: Account) -> tuple[str, str, str]:
    if account.signals is None:
        return "Unknown", Reason.SIGNALS_UNKNOWN, "the gateway has not reported on this endpoint yet"
    if not account.signals.fresh:
        return "False", Reason.SIGNALS_STALE, "the gateway is silent; the number of workers is held"
    return "True", Reason.SIGNALS_FRESH, "the gateway reports queue and workers"


def _transition(before: Mapping[str, Any] | None, holds: str, now: float) -> str:
    if before and before.get("status") == holds and before.get("lastTransitionTime"):
        return str(before["lastTransitionTime"])
    return figures.instant(now)
