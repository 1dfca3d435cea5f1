"""How many bytes of request bodies may be in memory at once, all callers together, and what becomes of the rest.

Each body is bounded by itself; many of them, sent slowly, would fill the memory all the same. So a body above
`FREE_BYTES` is let in as a whole, by its length, before it is read. Clients that find no room are told to come back.
Workers wait: what they deliver would be lost.
"""

from collections.abc import Hashable

from submodel_gateway.errors import Overloaded, Unavailable
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service.room import Room

FREE_BYTES = 16_384
"""Bodies up to this are not counted: there are no more of them than connections."""

TOTAL_BYTES = 268_435_456
WAIT_SECONDS = 60.0
"""How long a worker waits. Unmodified SDKs try three times, and wait ten minutes for an answer."""

STEP_BYTES = 1_048_576
"""By how much a body without a length is let in at a time."""

RETRY_SECONDS = 1


class Bodies(Room):
    """The room for bodies."""

    def __init__(self, total_bytes: int, measures: Measures) -> None:
        super().__init__(total_bytes)
        self._measures = measures

    def enter(self, owner: Hashable, size: int) -> None:
        """Let a client's body in. Raises `Overloaded` when there is no room for it."""
        if not self.take(owner, size):
            self._measures.count(table.BODIES_REFUSED, ("client",))
            raise Overloaded(
                "the gateway holds as many bytes of requests as it may; send the same request again after a moment",
                RETRY_SECONDS,
            )

    async def wait(self, owner: Hashable, size: int) -> None:
        """Let a worker's body in as soon as there is room. Raises `Unavailable` when that takes too long."""
        if not await self.wait_for(owner, size, WAIT_SECONDS):
            self._measures.count(table.BODIES_REFUSED, ("worker",))
            raise Unavailable("the gateway has no room for what the worker sends; send it again")


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
