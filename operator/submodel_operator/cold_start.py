"""What the newest start of a worker was made of, from the pod's instants and the runtime's own report. Pure.

Called by `status`. A start is told once, when it is over, and never changes; it stays until a newer one is over. The
steps are durations within one clock each: the cluster's between its own instants, the worker's between its steps. What
is left until the gateway heard it ask for jobs compares two clocks, and the cluster knows whole seconds: it is good to
a second. Of a worker with another SDK, which reports no steps, it holds all that its process did.
"""

from collections.abc import Mapping
from datetime import datetime

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.figures import instant
from submodel_operator.ports import Key, Manifest, Observed, ObservedWorker, PodStart, Signals

_UP = (WorkerPhase.READY, WorkerPhase.DRAINING)


def asked_at(signals: Signals | None, now: float) -> dict[str, float]:
    """When each worker asked for jobs for the first time, in seconds since the epoch."""
    views = signals.snapshot.workers if signals else ()
    return {view.worker: signals.instant(view.asked_ms, now) for view in views if signals and view.asked_ms is not None}


def newest_start(
    observed: Observed,
    revision: str | None,
    views: Mapping[str, WorkerView],
    asked_at: Mapping[str, float],
    previous: Manifest | None,
) -> Manifest | None:
    """The newest start of a worker of `revision` that is over; `previous` when there is no newer one."""
    over = [
        (start.created_at, worker.name, told)
        for worker in observed.workers
        if worker.revision == revision and (start := worker.start)
        if (told := _told(worker, start, views.get(worker.name), asked_at.get(worker.name)))
    ]
    if not over:
        return previous
    created_at, name, told = max(over, key=lambda each: each[:2])
    if previous and (previous["worker"] == name or _seconds(previous["at"]) > created_at):
        return previous
    return told


class StartWatch:
    """Tells of each start once, when it is over: of those that were seen before that, so a restart tells none again."""

    def __init__(self) -> None:
        self._starting: dict[Key, frozenset[str]] = {}

    def over(
        self,
        observed: Observed,
        revision: str,
        views: Mapping[str, WorkerView],
        asked_at: Mapping[str, float],
    ) -> list[dict[str, float]]:
        """Seconds by phase (`scheduling`, `pull`, `start`, `load`, `check`, `firstPoll`, `total`) of each start that is
        over now.

        `views` must be fresh: who is not in them is starting.
        """
        were, coming, over = self._starting.get(observed.key, frozenset()), set[str](), list[dict[str, float]]()
        for worker in observed.workers:
            if worker.revision != revision or worker.terminating:
                continue
            view = views.get(worker.name)
            at = asked_at.get(worker.name)
            told = _told(worker, worker.start, view, at) if worker.start and worker.name in were else None
            if told:
                over.append(_phases(told))
            elif not _up(view) or worker.name in were:  # the pod's instants may come later than its worker's word
                coming.add(worker.name)
        self._starting[observed.key] = frozenset(coming)
        return over

    def forget(self, key: Key) -> None:
        """The endpoint is gone."""
        self._starting.pop(key, None)


def _phases(told: Manifest) -> dict[str, float]:
    return {name.removesuffix("Seconds"): each for name, each in told.items() if name.endswith("Seconds")}


def _up(view: WorkerView | None) -> bool:
    return view is not None and view.phase in _UP


def _told(worker: ObservedWorker, start: PodStart, view: WorkerView | None, asked_at: float | None) -> Manifest | None:
    """None while it starts, and for one whose container was started again: its first start is not told any more."""
    if view is None or not _up(view) or worker.ended or start.scheduled_at is None or start.ran_at is None:
        return None
    steps = {
        "schedulingSeconds": start.scheduled_at - start.created_at,
        "pullSeconds": start.ran_at - start.scheduled_at,
    }
    if report := view.startup:
        steps |= {} if report.import_ms is None else {"startSeconds": report.import_ms / 1000}
        steps |= {"loadSeconds": report.load_ms / 1000, "checkSeconds": report.check_ms / 1000}
    if asked_at is not None:
        steps["firstPollSeconds"] = asked_at - start.created_at - sum(steps.values())
    known = {name: round(max(0.0, seconds), 1) for name, seconds in steps.items()}
    total = round(sum(known.values()), 1)
    return {"worker": worker.name, "at": instant(start.created_at), "totalSeconds": total, **known}


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()
