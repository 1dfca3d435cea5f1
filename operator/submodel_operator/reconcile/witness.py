"""Compares what was asked of pools with what is found: the cluster chooses who goes, and others may write the count.

Both are told as events and never mended by force: a wrong worker that goes finishes its job within its grace, and the
next decision starts from the number that is there. The memory is this process's own, and a restart claims nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from submodel_operator.api.conditions import EventReason
from submodel_operator.plan import Scale
from submodel_operator.ports import Event, Key, Observed, ObservedPool


@dataclass(frozen=True, slots=True)
class _Asked:
    """The newest count that this process asked of a pool."""

    replicas: int
    leaving: frozenset[str] = frozenset()
    """Who was to go with it, and has not been seen going yet."""

    staying: frozenset[str] = frozenset()
    """Who was there and was to stay."""


class Witness:
    """Remembers what was asked; one for all endpoints."""

    def __init__(self) -> None:
        self._asked: dict[tuple[Key, str], _Asked] = {}

    def asked(self, observed: Observed, scale: Scale) -> None:
        """The count was written, with these victims."""
        leaving = frozenset(scale.victims)
        alive = _alive(observed, _revision(observed, scale.pool)) if leaving else frozenset()
        self._asked[observed.key, scale.pool] = _Asked(scale.replicas, leaving, alive - leaving)

    def found(self, observed: Observed) -> list[Event]:
        """What is not as it was asked for; each is told once."""
        return [event for pool in observed.pools for event in self._of_pool(observed, pool)]

    def forget(self, key: Key) -> None:
        """The endpoint is gone."""
        for known in [each for each in self._asked if each[0] == key]:
            del self._asked[known]

    def _of_pool(self, observed: Observed, pool: ObservedPool) -> Iterator[Event]:
        asked = self._asked.get((observed.key, pool.name))
        if asked is None:
            return
        if pool.replicas != asked.replicas:
            self._asked[observed.key, pool.name] = _Asked(pool.replicas)
            yield Event(EventReason.SCALED_BY_OTHERS, _foreign(pool, asked.replicas))
        elif asked.leaving:
            yield from self._departures(observed, pool, asked)

    def _departures(self, observed: Observed, pool: ObservedPool, asked: _Asked) -> Iterator[Event]:
        """Once as many are left as were asked for, those that are left are the verdict."""
        alive = _alive(observed, pool.revision)
        kept, wrong = sorted(asked.leaving & alive), sorted(asked.staying - alive)
        if kept and len(alive) > asked.replicas:
            return
        self._asked[observed.key, pool.name] = _Asked(asked.replicas)
        if kept and wrong:
            yield Event(EventReason.WRONG_WORKER_LEFT, _wrong(kept, wrong), wrong[0])


def _revision(observed: Observed, pool: str) -> str:
    return next((each.revision for each in observed.pools if each.name == pool), "")


def _alive(observed: Observed, revision: str) -> frozenset[str]:
    return frozenset(each.name for each in observed.workers if each.revision == revision and not each.terminating)


def _foreign(pool: ObservedPool, asked: int) -> str:
    return (
        f"Deployment {pool.name} was scaled from {asked} to {pool.replicas} by somebody else; the endpoint's scaler "
        "decides the number: set spec.scaling instead, and remove other autoscalers of the Deployment"
    )


def _wrong(kept: Sequence[str], wrong: Sequence[str]) -> str:
    return (
        f"{', '.join(wrong)} left and {', '.join(kept)} stayed, although the latter held nothing and was to go; a job "
        "that ran there has its grace to end. Does something else set the pods' deletion cost, or delete pods?"
    )
