"""From what is and what should be to the actions in between. Pure.

A pool of the present revision is created, scaled up at once, and scaled down only by workers that the gateway
confirms to hold nothing. A pool of an older revision is drained and goes when it is empty; but as long as the present
revision needs workers and none of them works, or most jobs fail at them, the older ones stay and take jobs. So a
revision that does not work stops the rollout, and applying the one before goes back to workers that are still there.
Workers of an older revision that does not work either, and never did, are no help, and leave at once. Only workers that
find no room get it from the older ones, idle ones first. A worker that asks for a fresh one in its place gets it when
it holds nothing, and one that is overdue at once.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.desired import DesiredPool
from submodel_operator.diagnosis import failing_jobs
from submodel_operator.ports import LONG_START_SECONDS, Manifest, Observed, ObservedPool, ObservedWorker
from submodel_operator.scaling import ScalingDecision


@dataclass(frozen=True, slots=True)
class Apply:
    """Create or repair a child."""

    child: Manifest


@dataclass(frozen=True, slots=True)
class Ensure:
    """Create a child that a worker needs to start, if somebody deleted it."""

    child: Manifest


@dataclass(frozen=True, slots=True)
class Unmark:
    """Take back that these workers go first, whoever makes their pool smaller: they stay, and will hold jobs."""

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Undrain:
    """Let these workers take jobs again."""

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Drain:
    """Hand these workers no more jobs."""

    workers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Scale:
    """Ask for `replicas` workers of a pool that has `present`; on a shrink, exactly `victims` leave."""

    pool: str
    present: int
    replicas: int
    victims: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Replace:
    """End a worker that holds nothing, so that a fresh one takes its place."""

    worker: str
    uid: str


@dataclass(frozen=True, slots=True)
class DeletePool:
    """Remove an empty pool of an older revision."""

    pool: str


Action = Apply | Ensure | Unmark | Undrain | Drain | Scale | Replace | DeletePool
Views = Mapping[str, WorkerView]


def plan(
    observed: Observed,
    desired: DesiredPool,
    decision: ScalingDecision,
    views: Views,
    overdue: Collection[str] = (),
    broken: Collection[str] = (),
) -> tuple[Action, ...]:
    """The actions that bring `observed` one step closer, in the order in which they must be done.

    `views` must be fresh or empty: what they say of a worker decides whether it may go. `overdue` workers never worked,
    and those of revisions that are `broken` never will.
    """
    present = next((pool for pool in observed.pools if pool.revision == desired.revision), None)
    actions: list[Action] = []
    if present is None or present.desired_hash != desired.hash:
        actions += [Apply(child) for child in desired.children]
    elif any(_lacks_something(worker) for worker in _alive(observed, desired.revision)):
        actions += [Ensure(child) for child in desired.children if child["kind"] != "Deployment"]
    replicas = present.replicas if present else 0
    actions += _scaling_actions(observed, desired, decision, views, replicas)
    coming = _alive(observed, desired.revision)
    actions += _replacements(coming, decision, views, overdue)
    older = [pool for pool in observed.pools if pool.revision != desired.revision]
    room = _room_needed(present, coming)
    needed = bool(older) and decision.replicas > 0 and not _is_fit(observed, desired.revision, views)
    for pool in sorted(older, key=lambda pool: pool.revision not in broken):
        alive = _alive(observed, pool.revision)
        stay = needed and pool.revision not in broken
        leaving = sorted(alive, key=lambda worker: _reluctance(worker, views))[:room] if stay else alive
        room = max(0, room - len(leaving))
        actions += _retire(pool, alive, leaving, views)
    return tuple(actions)


def _is_fit(observed: Observed, revision: str, views: Views) -> bool:
    """Whether workers of the revision work, and most of their jobs do not fail."""
    works = any(_works(views.get(worker.name)) for worker in _alive(observed, revision))
    return works and not failing_jobs(observed, revision, views)


def _room_needed(present: ObservedPool | None, coming: list[ObservedWorker]) -> int:
    """Workers of the present revision that the cluster has no room for."""
    unplaced = sum(worker.phase == "Unschedulable" for worker in coming)
    refused = present.replicas - len(coming) if present and present.refusal else 0
    return unplaced + max(0, refused)


def _lacks_something(worker: ObservedWorker) -> bool:
    """Whether it may wait for a ConfigMap or Secret of ours: a pod says so of a variable, but not of a volume."""
    waits = worker.phase == "Pending" and worker.age_seconds >= LONG_START_SECONDS
    return waits or worker.phase == "CreateContainerConfigError"


def seconds_until_long_start(observed: Observed, revision: str) -> float | None:
    """When the next worker will have been starting for so long that something may be missing."""
    pending = (worker for worker in _alive(observed, revision) if worker.phase == "Pending")
    left = (LONG_START_SECONDS - worker.age_seconds for worker in pending)
    return min((seconds for seconds in left if seconds > 0), default=None)


def _works(view: WorkerView | None) -> bool:
    return view is not None and view.phase in (WorkerPhase.READY, WorkerPhase.DRAINING)


def _reluctance(worker: ObservedWorker, views: Views) -> tuple[bool, int, str]:
    """Who gives its place up first: those that were chosen already, then those that hold the least."""
    view = views.get(worker.name)
    return not _draining(view), view.running if view else 0, worker.name


def _scaling_actions(
    observed: Observed, desired: DesiredPool, decision: ScalingDecision, views: Views, replicas: int
) -> Iterator[Action]:
    alive = _alive(observed, desired.revision)
    if len(alive) <= replicas:
        yield from _taken_back([worker for worker in alive if worker.name not in decision.remove], views)
    if to_drain := [name for name in decision.remove if not _draining(views.get(name))]:
        yield Drain(tuple(to_drain))
    confirmed = tuple(name for name in decision.remove if _confirmed_empty(views.get(name)))
    if decision.replicas > replicas:
        yield Scale(desired.name, replicas, decision.replicas)
    elif confirmed and _are_taken(confirmed, alive):
        yield Scale(desired.name, replicas, replicas - len(confirmed), confirmed)


def _taken_back(staying: list[ObservedWorker], views: Views) -> Iterator[Action]:
    """An earlier scale-in that was not finished, undone. The mark goes first: a worker that bears it takes no job.

    Only where no more workers are there than were asked for: until then it is not known which of them the cluster
    takes, and one of them is to hold nothing when it goes.
    """
    if marked := [worker.name for worker in staying if worker.marked and worker.name in views]:
        yield Unmark(tuple(sorted(marked)))
    if drained := [worker.name for worker in staying if _may_come_back(views.get(worker.name))]:
        yield Undrain(tuple(sorted(drained)))


def _replacements(
    alive: list[ObservedWorker], decision: ScalingDecision, views: Views, overdue: Collection[str]
) -> Iterator[Action]:
    for worker in alive:
        view = views.get(worker.name)
        asks = view is not None and view.replace and _confirmed_empty(view)
        if (asks or worker.name in overdue) and worker.name not in decision.remove:
            yield Replace(worker.name, worker.uid)


def _retire(
    pool: ObservedPool, alive: list[ObservedWorker], leaving: list[ObservedWorker], views: Views
) -> Iterator[Action]:
    if not pool.replicas and not alive:
        yield DeletePool(pool.name)
        return
    if len(alive) <= pool.replicas:
        yield from _taken_back([worker for worker in alive if worker not in leaving], views)
    if to_drain := [worker.name for worker in leaving if not _draining(views.get(worker.name))]:
        yield Drain(tuple(to_drain))
    if pool.replicas == len(alive):
        confirmed = tuple(worker.name for worker in leaving if _confirmed_empty(views.get(worker.name)))
        if confirmed and _are_taken(confirmed, alive):
            yield Scale(pool.name, pool.replicas, pool.replicas - len(confirmed), confirmed)
    elif pool.refusal and not alive:  # its pods can never come, so none is there to be chosen
        yield Scale(pool.name, pool.replicas, 0)


def _are_taken(confirmed: Collection[str], alive: list[ObservedWorker]) -> bool:
    """Whether the cluster takes these and no others: before any marked one it takes those that do not run yet, and
    those that it calls not ready."""
    others = [worker for worker in alive if worker.name not in confirmed]
    return not any(worker.unready or worker.coming for worker in others)


def _alive(observed: Observed, revision: str) -> list[ObservedWorker]:
    return [worker for worker in observed.workers if worker.revision == revision and not worker.terminating]


def _may_come_back(view: WorkerView | None) -> bool:
    """Whether it is drained because we asked for it. One that was told so says that it drains, as one does that leaves
    by itself; to take the drain of the latter back changes nothing, for it asks for no jobs."""
    return view is not None and view.draining and not view.replace


def _draining(view: WorkerView | None) -> bool:
    return view is not None and view.draining


def _confirmed_empty(view: WorkerView | None) -> bool:
    return view is not None and view.draining and view.running == 0
