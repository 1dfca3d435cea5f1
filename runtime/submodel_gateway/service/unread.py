"""How many bytes of answers that nobody has read yet may be in memory, all clients together; and all workers.

Each answer is bounded by itself; many of them, asked for and never read, would fill the memory all the same. So an
answer above `FREE_BYTES` takes room until it is read. Where there is none, its request waits, without what the answer
is made of; small answers never do. Workers that leave more unread than is their endpoint's share get no more jobs until
it is read.
"""

from collections.abc import Callable, Hashable

from submodel_gateway.errors import InvalidRequest, Unavailable
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service.room import Room
from submodel_gateway.service.waiting import Hangup

FREE_BYTES = 65_536
"""Answers up to this are not counted: there are no more of them than connections."""

TOTAL_BYTES = 268_435_456
WAIT_SECONDS = 60.0
"""How long a request waits: clients that read leave soon, those that do not lose their connections after a while."""


class Unread(Room):
    """The room for answers."""

    def __init__(self, total_bytes: int, measures: Measures) -> None:
        super().__init__(total_bytes)
        self._measures = measures
        self.freed: Callable[[], None] = lambda: None
        """Called when something was read."""

    def leave(self, owner: Hashable, size: int) -> None:
        super().leave(owner, size)
        self.freed()

    async def wait(self, owner: Hashable, size: int, hangup: Hangup) -> None:
        """Take room as soon as it is there. Raises `Unavailable` when that takes too long."""
        if await self.wait_for(owner, size, WAIT_SECONDS, hangup):
            return
        if hangup.done():
            raise InvalidRequest("the client went away before there was room for its answer")
        self._measures.count(table.ANSWERS_REFUSED, ())
        raise Unavailable(
            "the gateway holds as many bytes of answers that are not read as it may; "
            "read those that you have asked for, and ask for the status or stream of this job again after a moment"
        )


class Shelf:
    """The room that the answer to one request takes up; `end` may be called at any time, and again."""

    __slots__ = ("_hangup", "_owner", "_size", "_unread")

    def __init__(self, unread: Unread, owner: Hashable, hangup: Callable[[], Hangup]) -> None:
        self._unread = unread
        self._owner = owner
        self._hangup = hangup
        self._size = 0

    def fits(self, size: int) -> bool:
        """Take room for an answer of this size, instead of what is taken; False when there is none now.

        Then let go of what the answer is made of, `wait`, and get it again: it may have changed.
        """
        if size <= max(FREE_BYTES, self._size):
            return True
        self.end()
        if not self._unread.take(self._owner, size):
            return False
        self._size = size
        return True

    async def wait(self, size: int) -> None:
        """Take the room as soon as it is there. Raises `Unavailable` when that takes too long."""
        await self._unread.wait(self._owner, size, self._hangup())
        self._size = size

    def hold(self, size: int) -> bool:
        """An answer of exactly this size is on its way; returns whether it counts."""
        counted = size if size > FREE_BYTES else 0
        before, self._size = self._size, counted
        if counted > before:
            self._unread.hold(self._owner, counted - before)
        elif counted < before:
            self._unread.leave(self._owner, before - counted)
        return bool(counted)

    def end(self) -> None:
        """The answer has been read, or nobody waits for it any more."""
        size, self._size = self._size, 0
        if size:
            self._unread.leave(self._owner, size)


class Pile:
    """The room that parts of one answer take up while they are fetched; `end` may be called again."""

    __slots__ = ("_owner", "_size", "_unread")

    def __init__(self, unread: Unread, owner: Hashable) -> None:
        self._unread = unread
        self._owner = owner
        self._size = 0

    async def grow(self, size: int, seconds: float) -> bool:
        """Take room for one more part, False when there is none; the first one waits for so long until there is."""
        first = not self._size
        taken = self._unread.take(self._owner, size) or (
            first and await self._unread.wait_for(self._owner, size, seconds)
        )
        if taken:
            self._size += size
        return taken

    def add(self, size: int) -> None:
        """Count what is there already; a size below 0 was counted and is not there."""
        if size > 0:
            self._unread.hold(self._owner, size)
        elif size < 0:
            self._unread.leave(self._owner, -size)
        self._size += size

    def end(self) -> None:
        """They are all there, and count as an answer; or nobody needs them."""
        self.add(-self._size)
