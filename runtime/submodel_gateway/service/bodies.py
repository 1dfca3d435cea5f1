"""How many bytes of request bodies may be in memory at once, all callers together, and what becomes of the rest.

Each body is bounded by itself; many of them, sent slowly, would fill the memory all the same. So a body above
`FREE_BYTES` is let in as a whole, by its length, before it is read. Nobody may hold more than half: what one key or the
workers of one endpoint send slowly must not shut out everybody else. Clients that find no room are told to come back.
Workers wait: what they deliver would be lost.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass

from submodel_gateway.errors import Overloaded, Unavailable
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures

FREE_BYTES = 16_384
"""Bodies up to this are not counted: there are no more of them than connections."""

TOTAL_BYTES = 268_435_456
WAIT_SECONDS = 60.0
"""How long a worker waits. Unmodified SDKs try three times, and wait ten minutes for an answer."""

STEP_BYTES = 1_048_576
"""By how much a body without a length is let in at a time."""

RETRY_SECONDS = 1
NOBODY: Hashable = ""
"""Callers that cannot be told apart; their share is the whole."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    owner: Hashable
    size: int
    let_in: "asyncio.Future[None]"


class Bodies:
    """The room for bodies. All methods are called on the event loop's thread."""

    def __init__(self, total_bytes: int, measures: Measures) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0
        """What is in memory, or on its way there."""

        self._share_bytes = total_bytes // 2
        self._held: Counter[Hashable] = Counter()
        self._waiting: deque[_Waiting] = deque()
        self._measures = measures

    def enter(self, owner: Hashable, size: int) -> None:
        """Let a client's body in. Raises `Overloaded` when there is no room for it."""
        if not self._admits(owner, size):
            self._measures.count(table.BODIES_REFUSED, ("client",))
            raise Overloaded(
                "the gateway holds as many bytes of requests as it may; send the same request again after a moment",
                RETRY_SECONDS,
            )
        self._take(owner, size)

    async def wait(self, owner: Hashable, size: int) -> None:
        """Let a worker's body in as soon as there is room. Raises `Unavailable` when that takes too long."""
        if self._admits(owner, size):
            self._take(owner, size)
            return
        waiting = _Waiting(owner, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await waiting.let_in
        except BaseException as error:
            self._give_up(waiting)
            if not isinstance(error, TimeoutError):
                raise
            self._measures.count(table.BODIES_REFUSED, ("worker",))
            raise Unavailable("the gateway has no room for what the worker sends; send it again") from error

    def leave(self, owner: Hashable, size: int) -> None:
        """The body is not needed any more."""
        self.held_bytes -= size
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]
        self._let_in()

    def _admits(self, owner: Hashable, size: int) -> bool:
        """Whether a newcomer gets in: not ahead of those who wait for the room that it would take."""
        if not (self._is_room(size) and self._may_hold(owner, size)):
            return False
        return not any(self._may_hold(waiting.owner, waiting.size) for waiting in self._waiting)

    def _is_room(self, size: int) -> bool:
        """One that is larger than everything gets in when nobody holds anything: whatever the setting, none waits for
        ever."""
        return not self.held_bytes or self.held_bytes + size <= self.total_bytes

    def _may_hold(self, owner: Hashable, size: int) -> bool:
        """As with the room, one that is larger than its share gets in when its owner holds nothing else."""
        return owner == NOBODY or not self._held[owner] or self._held[owner] + size <= self._share_bytes

    def _take(self, owner: Hashable, size: int) -> None:
        self.held_bytes += size
        self._held[owner] += size

    def _let_in(self) -> None:
        """In the order in which they came; one that waits for its own kind holds nobody else up."""
        for waiting in list(self._waiting):
            if waiting.let_in.done():  # it gives up, and has not come to say so
                continue
            if not self._may_hold(waiting.owner, waiting.size):
                continue
            if not self._is_room(waiting.size):
                return
            self._waiting.remove(waiting)
            self._take(waiting.owner, waiting.size)
            waiting.let_in.set_result(None)

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting.let_in.done() and not waiting.let_in.cancelled():
            self.leave(waiting.owner, waiting.size)
        else:
            self._waiting.remove(waiting)
            self._let_in()


class Stay:
    """The room that one request takes up; `end` may be called at any time, and again.

    Args:
        patient: whether it waits for room, as workers do, instead of being refused.
    """

    __slots__ = ("_bodies", "_owner", "_patient", "_size")

    def __init__(self, bodies: Bodies, owner: Hashable, *, patient: bool) -> None:
        self._bodies = bodies
        self._owner = owner
        self._patient = patient
        self._size = 0

    async def begin(self, length: int) -> None:
        """Let a body of this length in. Raises `Overloaded`, or `Unavailable` where it is patient."""
        if length > FREE_BYTES:
            await self._enter(length)

    async def grow(self, size: int) -> None:
        """A body without a length has grown to `size`. Raises as `begin`."""
        while size > max(FREE_BYTES, self._size):
            await self._enter(STEP_BYTES)

    async def _enter(self, size: int) -> None:
        if self._patient:
            await self._bodies.wait(self._owner, size)
        else:
            self._bodies.enter(self._owner, size)
        self._size += size

    def end(self) -> None:
        size, self._size = self._size, 0
        if size:
            self._bodies.leave(self._owner, size)
