"""Revisions none of whose workers ever came to take jobs. Pure; called by a reconcile, before it plans.

A worker that does not work now may have worked before, so what was seen is kept in the status. Only a revision that was
made under our eyes, and whose workers have not been seen at work since, counts: of any other it is not known.
"""

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.ports import Observed, Signals


def never_ready(observed: Observed, present: str, signals: Signals | None) -> frozenset[str]:
    """The revisions that certainly never had a ready worker; `present` is one of them until it has."""
    status = observed.manifest.get("status") or {}
    told = {each["revision"]: each.get("neverReady", False) for each in status.get("revisions") or ()}
    found = {pool.revision for pool in observed.pools} | {present}
    proven = _proven(observed, signals)
    return frozenset(each for each in found - proven if told.get(each, bool(told) or each == present))


def _proven(observed: Observed, signals: Signals | None) -> set[str]:
    """Also by an old word of the gateway: a worker that worked has worked."""
    views = signals.snapshot.workers if signals else []
    worked = {view.worker for view in views if _worked(view)}
    return {worker.revision for worker in observed.workers if worker.name in worked}


def _worked(view: WorkerView) -> bool:
    at_work = view.phase in (WorkerPhase.READY, WorkerPhase.DRAINING) or view.running > 0
    return at_work or view.asked_ms is not None
