"""The store as a gateway sees it: shared with the gateways before and after it, sometimes slow, sometimes away.

What is committed survives the death of a gateway, as on a disk; an answer that a gateway was waiting for does not. All
commits are noted in the history at the instant at which they are durable.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import Future
from contextvars import copy_context
from random import Random
from typing import Any, cast

from msgspec.structs import replace

from submodel_gateway.errors import StoreAway
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.sim.board import Room, SimulatedBoard
from tests.sim.faults import Mix
from tests.sim.history import Committed, Defect, History
from tests.sim.loop import SimulatedLoop, pause


class Disk:
    """What outlives gateways. `away` while the store answers nobody; `shared` when it serves several of them."""

    def __init__(
        self,
        loop: SimulatedLoop,
        store: MemoryStore,
        mix: Mix,
        chance: Random,
        history: History,
        wall_ms: Callable[[], int],
        *,
        shared: bool = False,
    ) -> None:
        self.loop = loop
        self.store = store
        self.history = history
        self.mix = mix
        self.chance = chance
        self.away = False
        self.healed = False
        self.shared = shared
        self.room = Room(loop, store, chance)
        self.wall_ms = wall_ms
        self._marked_at: int | None = None
        self._views: list[StoreView] = []

    def enter(self, view: "StoreView") -> None:
        """A gateway begins to use it."""
        self._views.append(view)

    def changed(self, by: "StoreView", endpoints: set[str]) -> None:
        """The other gateways hear of what one has committed."""
        for view in self._views:
            if view is not by:
                self.room.later(view.hear, endpoints, context=view.context)

    async def time(self) -> base.StoreTime:
        """With the mark of the last commit, which gateways that share the store go by."""
        reading = await self.store.time()
        return replace(reading, mark_wall_ms=self._marked_at) if self.shared else reading

    def delay(self, probability: float, longest_seconds: float) -> float:
        """Seconds that this access takes: mostly none."""
        if self.healed or self.chance.random() >= probability:
            return 0.0
        return self.chance.uniform(0, longest_seconds)

    def apply(
        self, operations: Sequence[base.Operation], now: int, timed_at: int, marked_at: int
    ) -> list[base.Outcome]:
        """`timed_at` and `marked_at` are true and wall time when `now` was read."""
        if self.away:
            raise StoreAway("the store is away")
        try:
            outcomes = self.store.apply(operations, now)
        except Exception as error:
            self.history.add(Defect(at=self.loop.now_ms, text=f"the store failed: {type(error).__name__}: {error}"))
            raise
        self._marked_at = marked_at
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
        timed_at, marked_at = disk.loop.now_ms, disk.wall_ms()

        def commit() -> None:
            store.timed_at, store.marked_at = timed_at, marked_at
            outcomes = apply(store, group, now)
            disk.loop.call_later(disk.delay(disk.mix.slow_commit, 2) + 0.0005, done.set_result, outcomes)

        disk.loop.call_later(disk.delay(disk.mix.slow_commit, 7) + 0.0005, commit)
        return done

    def shutdown(self) -> None:
        """There is no thread to end."""


class StoreView:
    """The store of one gateway; see `base.Store`. Whatever is read may suspend before and after."""

    blocking = True

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self.timed_at = self.marked_at = 0
        self.shared = disk.shared
        self.board = SimulatedBoard(disk.room, self._suspend) if disk.shared else None
        self.context = copy_context()
        """Its gateway's."""

        self._news: Callable[[Iterable[str]], None] | None = None

    async def start(self, news: Callable[[Iterable[str]], None]) -> None:
        await self._suspend()
        if self._news is None:
            self.context, self._news = copy_context(), news
            self._disk.enter(self)

    def hear(self, endpoints: set[str]) -> None:
        """Another gateway has changed jobs of these endpoints."""
        if self._news is not None:
            self._news(sorted(endpoints))

    async def time(self) -> base.StoreTime:
        await self._suspend()
        reading = await self._disk.time()
        await self._suspend()
        return reading

    async def close(self) -> None:
        """The disk stays."""

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        outcomes = self._disk.apply(operations, now, self.timed_at, self.marked_at)
        changes = (base.changes(outcome) for outcome in outcomes)
        jobs = [change.after or change.before for each in changes for change in each]
        if self.shared and (endpoints := {job.endpoint for job in jobs if job is not None}):
            self._disk.changed(self, endpoints)
        return outcomes

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
