"""The store as a gateway sees it: shared with the gateways before and after it, sometimes slow, sometimes away.

What is committed survives the death of a gateway, as on a disk; an answer that a gateway was waiting for does not. All
commits are noted in the history at the instant at which they are durable.
"""

from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from random import Random
from typing import Any, cast

from submodel_gateway.errors import StoreAway
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.sim.faults import Mix
from tests.sim.history import Committed, Defect, History
from tests.sim.loop import SimulatedLoop, pause


class Disk:
    """What outlives gateways. `away` while the store answers nobody."""

    def __init__(self, loop: SimulatedLoop, store: MemoryStore, mix: Mix, chance: Random, history: History) -> None:
        self.loop = loop
        self.store = store
        self.history = history
        self.mix = mix
        self.chance = chance
        self.away = False
        self.healed = False

    def delay(self, probability: float, longest_seconds: float) -> float:
        """Seconds that this access takes: mostly none."""
        if self.healed or self.chance.random() >= probability:
            return 0.0
        return self.chance.uniform(0, longest_seconds)

    def apply(self, operations: Sequence[base.Operation], now: int, timed_at: int) -> list[base.Outcome]:
        if self.away:
            raise StoreAway("the store is away")
        try:
            outcomes = self.store.apply(operations, now)
        except Exception as error:
            self.history.add(Defect(at=self.loop.now_ms, text=f"the store failed: {type(error).__name__}: {error}"))
            raise
        at = self.loop.now_ms
        for operation, outcome in zip(operations, outcomes, strict=True):
            self.history.add(Committed(at=at, timed_at=timed_at, operation=operation, outcome=outcome))
        return outcomes


class Writer:
    """In place of the group commit's thread: what is submitted takes effect after a while, and is known later still.

    Between the two the process may die: committed, and nobody was told.
    """

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def submit(
        self, apply: Callable[..., Any], store: "StoreView", group: object, now: int
    ) -> "Future[list[list[base.Outcome]]]":
        done: Future[list[list[base.Outcome]]] = Future()
        disk = self._disk
        timed_at = disk.loop.now_ms

        def commit() -> None:
            store.timed_at = timed_at
            outcomes = apply(store, group, now)
            disk.loop.call_later(disk.delay(disk.mix.slow_commit, 2) + 0.0005, done.set_result, outcomes)

        disk.loop.call_later(disk.delay(disk.mix.slow_commit, 7) + 0.0005, commit)
        return done

    def shutdown(self) -> None:
        """There is no thread to end."""


class StoreView:
    """The store of one gateway; see `base.Store`. Whatever is read may suspend before and after."""

    blocking = True
    shared = False
    board = None

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.timed_at = 0

    async def close(self) -> None:
        """The disk stays."""

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        return self._disk.apply(operations, now, self.timed_at)

    def tally(self, endpoint: str) -> Tally:
        return self._disk.store.tally(endpoint)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        """Everything else that a store has is a coroutine."""
        read = getattr(self._disk.store, name)

        async def reach(*arguments: Any, **named: Any) -> Any:
            await self._suspend()
            value = await read(*arguments, **named)
            await self._suspend()
            return value

        return reach

    async def _suspend(self) -> None:
        disk = self._disk
        if (seconds := disk.delay(disk.mix.slow_read, 2)) > 0:
            await pause(seconds)
        if disk.away:
            raise StoreAway("the store is away")


def view(disk: Disk) -> base.Store:
    """The store for a new gateway."""
    return cast(base.Store, StoreView(disk))
