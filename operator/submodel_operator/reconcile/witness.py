"""Compares what was asked of pools with what is found: the cluster chooses who goes, and others may write the count or
the deletion costs.

All of it is told, as events and for a while as a condition, and nothing is mended by force: a wrong worker that goes
finishes its job within its grace, and the next decision starts from the number that is there. What was asked is this
process's own memory; who wrote the count and which costs are not ours stands in the objects, also after a restart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from submodel_operator.api.conditions import EventReason, Reason
from submodel_operator.api.constants import DELETION_COST_ANNOTATION
from submodel_operator.diagnosis import Problem, problem
from submodel_operator.plan import Scale
from submodel_operator.ports import Event, Key, Observed, ObservedPool

LASTING_SECONDS: Final = 600.0
"""How long the condition tells of something that is over: those who meddle do it again."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """The newest count that this process asked of a pool."""

    replicas: int
    leaving: frozenset[str] = frozenset()
    """Who was to go with it, and has not been seen going yet."""

    staying: frozenset[str] = frozenset()
    """Who was there and was to stay."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """Something that somebody else did, and when it was last seen, by a clock that never jumps."""

    problem: Problem
    at: float


class Witness:
    """Remembers what was asked; one for all endpoints. `now` is in seconds that never jump."""

    def __init__(self) -> None:
        self._asked: dict[Key, dict[str, _Asked]] = {}
        """By endpoint and pool."""
        self._seen: dict[Key, _Seen] = {}

    def asked(self, observed: Observed, scale: Scale) -> None:
        """The count was written, with these victims."""
        leaving = frozenset(scale.victims)
        alive = _alive(observed, _revision(observed, scale.pool)) if leaving else frozenset()
        self._asked.setdefault(observed.key, {})[scale.pool] = _Asked(scale.replicas, leaving, alive - leaving)

    def found(self, observed: Observed, now: float) -> list[Event]:
        """What is not as it was asked for; each is told once, and kept for `disturbance`."""
        events = self._unasked(observed)
        costly = [worker.name for worker in observed.workers if worker.foreign_cost]
        if costly and not _is_the_users_wish(observed):
            if not self._sees(observed.key, Reason.DELETION_COST_BY_OTHERS, now):
                events.append(Event(EventReason.DELETION_COST_REWRITTEN, _rewritten(costly)))
            self._seen[observed.key] = _Seen(problem(Reason.DELETION_COST_BY_OTHERS, _rewritten(costly)), now)
        if writers := sorted({pool.counted_by for pool in observed.pools if pool.counted_by}):
            words = f"the count of a Deployment of this endpoint was written by {', '.join(writers)}"
            self._seen[observed.key] = _Seen(problem(Reason.SCALED_BY_OTHERS, words), now)
        for event in events:
            if event.reason in _REASONS:
                self._seen[observed.key] = _Seen(Problem(_REASONS[event.reason], event.message), now)
        return events

    def disturbance(self, key: Key, now: float) -> Problem | None:
        """What somebody else did lately; None when nobody did."""
        seen = self._seen.get(key)
        return seen.problem if seen and now - seen.at < LASTING_SECONDS else None

    def seconds_until_quiet(self, key: Key, now: float) -> float | None:
        """When the disturbance will be over, if nothing comes; None while there is none."""
        seen = self._seen.get(key)
        return seen.at + LASTING_SECONDS - now if seen and now - seen.at < LASTING_SECONDS else None

    def forget(self, key: Key) -> None:
        """The endpoint is gone."""
        self._seen.pop(key, None)
        self._asked.pop(key, None)

    def _sees(self, key: Key, reason: Reason, now: float) -> bool:
        present = self.disturbance(key, now)
        return present is not None and present.reason == reason

    def _unasked(self, observed: Observed) -> list[Event]:
        asked = self._asked.get(observed.key)
        if not asked:
            return []
        for gone in asked.keys() - {pool.name for pool in observed.pools}:
            del asked[gone]
        return [event for pool in observed.pools if pool.name in asked for event in _of_pool(observed, pool, asked)]


def _of_pool(observed: Observed, pool: ObservedPool, asked: dict[str, _Asked]) -> Iterator[Event]:
    before = asked[pool.name]
    if pool.replicas != before.replicas:
        asked[pool.name] = _Asked(pool.replicas)
        yield Event(EventReason.SCALED_BY_OTHERS, _foreign(pool, before.replicas))
    elif before.leaving:
        yield from _departures(observed, pool, asked)


def _departures(observed: Observed, pool: ObservedPool, asked: dict[str, _Asked]) -> Iterator[Event]:
    """Once as many are left as were asked for, those that are left are the verdict."""
    before, alive = asked[pool.name], _alive(observed, pool.revision)
    kept, wrong = sorted(before.leaving & alive), sorted(before.staying - alive)
    if kept and len(alive) > before.replicas:
        return
    asked[pool.name] = _Asked(before.replicas)
    if kept and wrong:
        yield Event(EventReason.WRONG_WORKER_LEFT, _wrong(kept, wrong), wrong[0])


_REASONS: Final = {
    EventReason.SCALED_BY_OTHERS: Reason.SCALED_BY_OTHERS,
    EventReason.WRONG_WORKER_LEFT: Reason.WRONG_WORKER_LEFT,
}


def _is_the_users_wish(observed: Observed) -> bool:
    """Whether the endpoint's own pod template sets the cost."""
    worker = (observed.manifest.get("spec") or {}).get("worker") or {}
    metadata = (worker.get("podTemplate") or {}).get("metadata") or {}
    return DELETION_COST_ANNOTATION in (metadata.get("annotations") or {})


def _revision(observed: Observed, pool: str) -> str:
    return next((each.revision for each in observed.pools if each.name == pool), "")


def _alive(observed: Observed, revision: str) -> frozenset[str]:
    return frozenset(each.name for each in observed.workers if each.revision == revision and not each.terminating)


def _foreign(pool: ObservedPool, asked: int) -> str:
    who = f"by {pool.counted_by}, and not by this operator" if pool.counted_by else "by somebody else"
    return (
        f"Deployment {pool.name} was scaled from {asked} to {pool.replicas} {who}; the endpoint's scaler "
        "decides the number: set spec.scaling instead, and remove other autoscalers of the Deployment"
    )


def _rewritten(workers: Sequence[str]) -> str:
    """Without a number that changes with every pod: each change of it is a write."""
    return (
        f"somebody else sets the deletion cost of pods of this endpoint, such as {min(workers)}; workers that are "
        "chosen to go have the lowest cost there is, so jobs are safe unless it is set anew between mark and shrink"
    )


def _wrong(kept: Sequence[str], wrong: Sequence[str]) -> str:
    return (
        f"{', '.join(wrong)} left and {', '.join(kept)} stayed, although the latter held nothing and was to go; a job "
        "that ran there has its grace to end. Does something else set the pods' deletion cost, or delete pods?"
    )
