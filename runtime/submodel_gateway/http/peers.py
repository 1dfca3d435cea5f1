"""The connections of one server: how many there are and whose, and what is being served on them."""

import asyncio
import logging
import resource
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

log = logging.getLogger(__name__)

CONNECTIONS = 10_000
OTHER_FILES = 240
"""Files and sockets beside clients' connections: job stores, webhooks, the operator's port, probes."""

CONNECTIONS_MIN = 16


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection, and all of them together, may use up."""

    head_bytes: int = 65_536
    """Request line and headers."""

    headers: int = 100
    head_seconds: float = 10.0
    """From the first byte of a request, or from the connection, to the end of its headers."""

    body_seconds: float = 15.0
    """Within each of these spans a body that is not complete must bring `body_bytes`."""

    body_bytes: int = 15_360
    idle_seconds: float = 75.0
    """Between an answer and the next request."""

    unread_seconds: float = 120.0
    """Within each of these spans a client must read `body_bytes` of what was sent, or all of it."""

    connections: int = CONNECTIONS
    connections_per_address: int | None = None
    """Of one client's address; None for any number, as behind a proxy, where all of them have the same."""


def room_for(connections: int) -> int:
    """How many of these connections this process can have; it raises its limit of open files for them.

    Many systems begin with 1024, for the sake of programs that cannot count further. A process without a file left
    accepts connections and drops them, those of probes as well.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = connections + OTHER_FILES
    if soft == resource.RLIM_INFINITY or soft >= files:
        return connections
    most = files if hard == resource.RLIM_INFINITY else min(files, hard)
    with suppress(OSError, ValueError):  # some systems have a limit below that which they tell
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        soft = most
    room = max(CONNECTIONS_MIN, min(connections, soft - OTHER_FILES))
    if room < connections:
        log.warning("this process may open %d files: there is room for %d connections, not %d", soft, room, connections)
    return room


class Peer(Protocol):
    """A connection, as its server sees it."""

    def part(self) -> None:
        """Let the answer to what has been asked be the last one, and say so in it unless its head has left."""

    def leave(self) -> None:
        """End it, after the answer to what is being served."""

    def cut(self) -> None:
        """End it now."""


class Peers:
    """See the module."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.parting = False
        """Whether each answer is the last one of its connection."""

        self._addresses: dict[Peer, str] = {}
        self._of_address: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    def enter(self, peer: Peer, address: str) -> bool:
        """Count a connection; False when there are too many of them. Call `go` for either."""
        self._addresses[peer] = address
        self._of_address[address] += 1
        if len(self._addresses) > self.bounds.connections:
            log.warning("more than %d connections; a new one was closed", self.bounds.connections)
            return False
        most = self.bounds.connections_per_address
        if most is not None and self._of_address[address] > most:
            log.warning("more than %d connections of %s; a new one was closed", most, address)
            return False
        return True

    def go(self, peer: Peer) -> None:
        """The connection has ended."""
        address = self._addresses.pop(peer)
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]
        self._changed.set()

    def serving(self, task: "asyncio.Task[None]") -> None:
        self._tasks.add(task)

    def served(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._changed.set()

    def part(self) -> None:
        """Let each answer from now on be the last one of its connection. Idle ones stay, until they are used."""
        self.parting = True
        for peer in self._addresses:
            peer.part()

    async def leave(self, seconds: float) -> None:
        """End all connections as soon as what is served on them is answered; after `seconds` all the same."""
        for peer in list(self._addresses):
            peer.leave()
        try:
            async with asyncio.timeout(seconds):
                while self._addresses or self._tasks:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            log.error("%d requests are not answered in time; they are given up", len(self._tasks))
            for task in self._tasks:
                task.cancel()
            for peer in list(self._addresses):
                peer.cut()
