"""Room in memory that callers share: who gets some, who waits, and when it is free again. `bodies` and `unread` use it.

Nobody may hold more than half of what the others leave: what some keys, or the workers of some endpoints, take up
slowly must not shut out everybody else. Two of them leave a quarter of it, three an eighth.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Hashable
from dataclasses import dataclass

from submodel_gateway.service.waiting import Hangup

NOBODY: Hashable = ""
"""Callers that cannot be told apart; their share is the whole."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    owner: Hashable
    size: int
    let_in: "asyncio.Future[None]"


class Room:
    """All methods are called on the event loop's thread."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0
        self._held: Counter[Hashable] = Counter()
        self._waiting: deque[_Waiting] = deque()

    def may_hold(self, owner: Hashable, size: int) -> bool:
        """Whether so much is within the owner's share, be there room or not.

        As with the room, what is larger than the share gets in when its owner holds nothing else.
        """
        held = self._held[owner]
        return owner == NOBODY or not held or 2 * (held + size) <= self.total_bytes - (self.held_bytes - held)

    def take(self, owner: Hashable, size: int) -> bool:
        """Take so much if it is there: not ahead of those who wait for the room that it would take."""
        if not (self._is_room(size) and self.may_hold(owner, size)):
            return False
        if any(self.may_hold(waiting.owner, waiting.size) for waiting in self._waiting):
            return False
        self.hold(owner, size)
        return True

    def hold(self, owner: Hashable, size: int) -> None:
        """Count what is there already, whether there is room for it or not."""
        self.held_bytes += size
        self._held[owner] += size

    async def wait_for(self, owner: Hashable, size: int, seconds: float, hangup: Hangup | None = None) -> bool:
        """Take so much as soon as it is there; False when it takes too long, or when the caller hangs up before."""
        if self.take(owner, size):
            return True
        waiting = _Waiting(owner, size, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        events = [waiting.let_in] if hangup is None else [waiting.let_in, hangup]
        try:
            await asyncio.wait(events, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            self._give_up(waiting)
            raise
        if waiting.let_in.done():
            return True
        self._give_up(waiting)
        return False

    def leave(self, owner: Hashable, size: int) -> None:
        """So much is not needed any more."""
        self.held_bytes -= size
        self._held[owner] -= size
        if not self._held[owner]:
            del self._held[owner]
        self._let_in()

    def _is_room(self, size: int) -> bool:
        """One that is larger than everything gets in when nobody holds anything: whatever the setting, none waits for
        ever."""
        return not self.held_bytes or self.held_bytes + size <= self.total_bytes

    def _let_in(self) -> None:
        """In the order in which they came; one that waits for its own kind holds nobody else up."""
        for waiting in list(self._waiting):
            if not self.may_hold(waiting.owner, waiting.size):
                continue
            if not self._is_room(waiting.size):
                return
            self._waiting.remove(waiting)
            self.hold(waiting.owner, waiting.size)
            waiting.let_in.set_result(None)

    def _give_up(self, waiting: _Waiting) -> None:
        if waiting.let_in.done():
            self.leave(waiting.owner, waiting.size)
        else:
            self._waiting.remove(waiting)
            self._let_in()
