"""Group commit: many operations, one transaction, one fsync; the asyncio front of a store.

Operations wait in a queue while a group is being committed; the next group takes what has come together, in order.
Futures are resolved after the commit, so an answer never promises what a crash could take back. One writer thread
serves a blocking store; a store in memory is applied on the event loop.
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

log = logging.getLogger(__name__)

Watch = Callable[[Iterable[tuple[Sequence[base.Operation], Sequence[base.Outcome]]], float], None]

OnCommit = Callable[[Iterable[tuple[base.Operation, base.Outcome]]], None]

_Waiting = tuple[Sequence[base.Operation], "asyncio.Future[list[base.Outcome]]"]


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
        self._queue: deque[_Waiting] = deque()
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

        They are queued before this returns. Raises `Unavailable` after `close`.
        """
        if self._closed:
            raise Unavailable("the gateway is going down; try again")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[list[base.Outcome]] = loop.create_future()
        self._queue.append((operations, done))
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

    def _next_group(self) -> list[_Waiting]:
        group: list[_Waiting] = []
        count = size = 0
        while self._queue:
            operations = self._queue[0][0]
            count += len(operations)
            size += sum(map(base.payload_bytes, operations))
            if group and (count > GROUP_MAX or size > GROUP_BYTES_MAX):
                break
            group.append(self._queue.popleft())
        return group

    def _finish(self, group: list[_Waiting], outcomes: list[list[base.Outcome]], began: float) -> None:
        try:
            if self._watch is not None:
                batches = zip((operations for operations, _ in group), outcomes, strict=True)
                self._watch(batches, time.perf_counter() - began)
            pairs = zip(group, outcomes, strict=True)
            self._on_commit(done for (operations, _), batch in pairs for done in zip(operations, batch, strict=True))
        finally:
            for (_, done), batch in zip(group, outcomes, strict=True):
                if not done.done():
                    done.set_result(batch)
            self._next()

    def _next(self) -> None:
        if self._queue:
            asyncio.get_running_loop().call_soon(self._drain)
        else:
            self._busy = False
            if self._idle is not None:
                self._idle.set_result(None)


def _apply(store: base.Store, group: list[_Waiting], now: int) -> list[list[base.Outcome]]:
    """One transaction for all; when it fails, one for each operation, so that only the culprit goes without."""
    operations = [operation for batch, _ in group for operation in batch]
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
    return [[next(rest) for _ in batch] for batch, _ in group]


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
