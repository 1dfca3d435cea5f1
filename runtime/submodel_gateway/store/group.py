"""Group commit: many operations, one transaction, one fsync; the asyncio front of a store.

Operations wait in line while a group is being committed; the next group takes what has come together: each endpoint's
in their order, and the endpoints by turns, so that none waits for all that another one has to say. Futures are resolved
after the commit, so an answer never promises what a crash could take back. One writer thread serves a blocking store; a
store in memory is applied on the event loop.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from submodel_gateway.errors import OperationFailed, StoreAway, StoreError, StoreFull, Unavailable
from submodel_gateway.store import base

GROUP_MAX = 256
GROUP_BYTES_MAX = 8 * 1024 * 1024
"""Payload bytes of a group, unless a single batch has more: what a commit writes bounds how long others wait."""

TURN = 64
"""Operations of an endpoint until it is another one's turn."""

log = logging.getLogger(__name__)

Watch = Callable[[Iterable[tuple[Sequence[base.Operation], Sequence[base.Outcome]]], float], None]

OnCommit = Callable[[Iterable[tuple[base.Operation, base.Outcome]]], None]


class _Batch:
    """Operations that wait, or are done in part: a long batch is done piece by piece."""

    __slots__ = ("done", "operations", "outcomes", "taken")

    def __init__(self, operations: Sequence[base.Operation], done: "asyncio.Future[list[base.Outcome]]") -> None:
        self.operations = operations
        self.done = done
        self.outcomes: list[base.Outcome] = []
        self.taken = 0
        """How many of them are in a group."""

    def piece(self) -> Sequence[base.Operation]:
        """What comes next."""
        return self.operations if len(self.operations) <= TURN else self.operations[self.taken : self.taken + TURN]

    def settle(self, outcomes: list[base.Outcome]) -> None:
        """Those of the earliest piece without."""
        if len(outcomes) < len(self.operations):
            self.outcomes += outcomes
            outcomes = self.outcomes
        if len(outcomes) == len(self.operations) and not self.done.done():
            self.done.set_result(outcomes)


_Piece = tuple[_Batch, Sequence[base.Operation]]


class GroupCommit:
    """Queue of operations in front of a store. All methods are called on the event loop's thread.

    Args:
        store: the engine.
        now: the clock, in milliseconds; read once per group.
        on_commit: told each operation of a group with its outcome, after the commit and before the callers go on.
        watch: told the operations and outcomes of each group, batch by batch, and the seconds that it took.
    """

    def __init__(
        self,
        store: base.Store,
        now: Callable[[], int],
        on_commit: OnCommit,
        watch: Watch | None = None,
    ) -> None:
        self.store = store
        self._now = now
        self._on_commit = on_commit
        self._watch = watch
        self._lanes: dict[str, deque[_Batch]] = {}
        """What waits, by endpoint; first the one whose turn it is."""

        self._busy = False
        self._closed = False
        self._idle: asyncio.Future[None] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer") if store.blocking else None

    async def one(self, operation: base.Operation) -> base.Outcome:
        """Apply one operation. Raises `OperationFailed`, `StoreAway` or `StoreFull` when the store could not."""
        (outcome,) = await self.many((operation,))
        if isinstance(outcome, base.Failed):
            raise outcome.error
        return outcome

    async def all_of(self, operations: Sequence[base.Operation]) -> list[base.Outcome]:
        """Apply operations in this order. Raises as `one` when one failed; the rest had its effect."""
        outcomes = await self.many(operations)
        for outcome in outcomes:
            if isinstance(outcome, base.Failed):
                raise outcome.error
        return outcomes

    def many(self, operations: Sequence[base.Operation]) -> "asyncio.Future[list[base.Outcome]]":
        """Queue operations that shall be applied in this order; done with one outcome each, `Failed` included.

        They are queued before this returns, in the lane of the first one's endpoint. What is done between pieces of
        `TURN` of them may be anybody's. Raises `Unavailable` after `close`.
        """
        if self._closed:
            raise Unavailable("the gateway is going down; try again")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[base.Outcome]] = loop.create_future()
        endpoint = getattr(operations[0], "endpoint", "") if operations else ""
        batch, lane = _Batch(operations, done), self._lanes.get(endpoint)
        if lane is None:
            self._lanes[endpoint] = deque((batch,))
        else:
            lane.append(batch)
        if not self._busy:
            self._busy = True
            loop.call_soon(self._drain)
        return done

    async def close(self) -> None:
        """Refuse new operations, finish the queued ones, and let the store go."""
        self._closed = True
        if self._busy:
            self._idle = asyncio.get_running_loop().create_future()
            await self._idle
        if self._thread is not None:
            self._thread.shutdown()
        await self.store.close()

    def _drain(self) -> None:
        group = self._next_group()
        now, began = self._now(), time.perf_counter()
        if self._thread is None:
            self._finish(group, _apply(self.store, group, now), began)
            return
        loop = asyncio.get_running_loop()

        def applied(done: Future[list[list[base.Outcome]]]) -> None:
            loop.call_soon_threadsafe(self._finish, group, done.result(), began)

        self._thread.submit(_apply, self.store, group, now).add_done_callback(applied)

    def _next_group(self) -> list[_Piece]:
        group: list[_Piece] = []
        count = size = 0
        while self._lanes:
            endpoint, lane = next(iter(self._lanes.items()))
            end = count + TURN
            while lane and count < end:
                batch = lane[0]
                piece = batch.piece()
                count += len(piece)
                size += sum(map(base.payload_bytes, piece))
                if group and (count > GROUP_MAX or size > GROUP_BYTES_MAX):
                    return group
                group.append((batch, piece))
                batch.taken += len(piece)
                if batch.taken == len(batch.operations):
                    lane.popleft()
            del self._lanes[endpoint]
            if lane:
                self._lanes[endpoint] = lane
        return group

    def _finish(self, group: list[_Piece], outcomes: list[list[base.Outcome]], began: float) -> None:
        try:
            # They go on when this is done, but before those that only hear of it: a worker before all who read it.
            for (batch, _), each in zip(group, outcomes, strict=True):
                batch.settle(each)
            if self._watch is not None:
                batches = zip((piece for _, piece in group), outcomes, strict=True)
                self._watch(batches, time.perf_counter() - began)
            pairs = zip(group, outcomes, strict=True)
            self._on_commit(done for (_, piece), each in pairs for done in zip(piece, each, strict=True))
        finally:
            self._next()

    def _next(self) -> None:
        if self._lanes:
            asyncio.get_running_loop().call_soon(self._drain)
        else:
            self._busy = False
            if self._idle is not None:
                self._idle.set_result(None)


def _apply(store: base.Store, group: list[_Piece], now: int) -> list[list[base.Outcome]]:
    """One transaction for all; when it fails, one for each operation, so that only the culprit goes without."""
    operations = [operation for _, piece in group for operation in piece]
    outcomes: list[base.Outcome]
    try:
        outcomes = store.apply(operations, now)
    except StoreAway as error:
        log.error("a group of %d operations failed: %s", len(operations), error)
        outcomes = [base.Failed(error)] * len(operations)
    except Exception:
        log.exception("a group of %d operations failed; each is tried alone", len(operations))
        outcomes = [_alone(store, operation, now) for operation in operations]
    rest = iter(outcomes)
    return [[next(rest) for _ in piece] for _, piece in group]


def _alone(store: base.Store, operation: base.Operation, now: int) -> base.Outcome:
    try:
        return store.apply([operation], now)[0]
    except StoreError as error:
        log.error("%s failed: %s", type(operation).__name__, error)
        known = isinstance(error, StoreAway | StoreFull)
        return base.Failed(error if known else OperationFailed(str(error)))
    except Exception as error:
        log.exception("%s failed by a defect", type(operation).__name__)
        return base.Failed(OperationFailed(f"{type(error).__name__}: {error}"))
