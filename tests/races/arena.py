"""A real store and its doors: the operations of one race use different ones where the engine has several."""

import asyncio
import itertools
import random
from collections.abc import Iterable, Mapping, Sequence

from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit
from tests.races.catalogue import NOW
from tests.races.observe import answer, canonical, end


class Arena:
    """Races on one store, opened once or, as several gateways do, more than once."""

    def __init__(self, stores: Sequence[base.Store]) -> None:
        self.store = stores[0]
        self.shared = len(stores) > 1
        """Whether several gateways use the store: each hears of what the others counted a moment later."""

        self._random = random.Random(1)
        self._doors = [GroupCommit(store, lambda: NOW, _ignore) for store in stores]
        self._numbers = itertools.count()

    def numbers(self, count: int) -> list[int]:
        """Numbers of new races."""
        return list(itertools.islice(self._numbers, count))

    async def prepare(self, operations: Sequence[base.Operation]) -> list[base.Outcome]:
        """Apply operations in this order, through one door."""
        return await self._doors[0].all_of(operations)

    async def race(self, rivals: Sequence[Sequence[base.Operation]]) -> list[list[base.Outcome]]:
        """Apply everything at once, in no order; the operations of one inner sequence through different doors."""
        entries = [
            (race, place, operation, door)
            for race, operations in enumerate(rivals)
            for place, (operation, door) in enumerate(zip(operations, self._shuffled_doors(), strict=False))
        ]
        self._random.shuffle(entries)
        outcomes = await asyncio.gather(*(door.one(operation) for _, _, operation, door in entries))
        answers: list[list[base.Outcome]] = [[base.Stored()] * len(operations) for operations in rivals]
        for (race, place, _, _), outcome in zip(entries, outcomes, strict=True):
            answers[race][place] = outcome
        return answers

    async def seen(self, told: Mapping[int, Sequence[base.Outcome]]) -> dict[int, bytes]:
        """What is to be seen of races after their operations were answered like this."""
        ends = await asyncio.gather(*(end(self.store, number, shared=self.shared) for number in told))
        return {
            number: canonical(number, [[answer(number, outcome) for outcome in outcomes], shown])
            for (number, outcomes), shown in zip(told.items(), ends, strict=True)
        }

    async def close(self) -> None:
        for door in self._doors:
            await door.close()

    def _shuffled_doors(self) -> Iterable[GroupCommit]:
        return itertools.cycle(self._random.sample(self._doors, len(self._doors)))


def _ignore(done: Iterable[tuple[base.Operation, base.Outcome]]) -> None:
    for _ in done:
        pass
