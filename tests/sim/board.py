"""What two gateways on one simulated store tell each other; see `base.Board`. Hints are late, and some never come."""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.sim.loop import SimulatedLoop, outside

VOID_SECONDS = 15.0
LOST_HINTS = 0.1


@dataclass(frozen=True, slots=True)
class Said:
    """What a gateway says of the workers of an endpoint."""

    version: int
    at: float
    document: bytes


@dataclass(slots=True)
class Room:
    """What is in the store beside jobs, for all gateways."""

    loop: SimulatedLoop
    store: MemoryStore
    chance: Random
    versions: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    orders: dict[str, base.Posting] = field(default_factory=dict)
    words: dict[tuple[str, int], Said] = field(default_factory=dict)
    readers: dict[str, tuple[int, int]] = field(default_factory=dict)
    boards: list["SimulatedBoard"] = field(default_factory=list)

    def later(self, callback: Callable[..., object], *arguments: object, context: object = None) -> None:
        """A hint on its way, or not."""
        if self.chance.random() >= LOST_HINTS:
            self.loop.call_later(self.chance.uniform(0.001, 0.05), callback, *arguments, context=context)  # type: ignore[arg-type]  # a context


class SimulatedBoard:
    """One gateway's; `reach` is what every access goes through: it takes time, or fails."""

    def __init__(self, room: Room, reach: Callable[[], Awaitable[None]]) -> None:
        self.hinted = asyncio.Event()
        self._room = room
        self._reach = reach
        self._me = len(room.boards) + 1
        self._orders: dict[str, int] = {}
        self._words: dict[tuple[str, int], Said] = {}
        self._registrations: dict[str, bytes] = {}
        room.boards.append(self)

    async def news(self) -> base.BoardNews:
        await self._reach()
        room, now = self._room, self._room.loop.time()
        registrations = await room.store.endpoints()
        changed = {endpoint for endpoint, _ in registrations.items() ^ self._registrations.items()}
        orders = {id: each for id, each in room.orders.items() if self._orders.get(id) != each.version}
        others = {
            place: said for place, said in room.words.items() if place[1] != self._me and now - said.at < VOID_SECONDS
        }
        known = {place: said.version for place, said in self._words.items()}
        told = {place: said.version for place, said in others.items()}
        moved = {endpoint for (endpoint, _), _ in known.items() ^ told.items()}
        words = {id: {who: said.document for (of, who), said in others.items() if of == id} for id in moved}
        self._registrations, self._words = registrations, others
        self._orders |= {id: each.version for id, each in orders.items()}
        await self._reach()
        return base.BoardNews(registrations=frozenset(changed), orders=orders, words=words)

    async def tell(self, words: Mapping[str, bytes], *, hint: bool = True) -> None:
        await self._reach()
        room = self._room
        for endpoint, word in words.items():
            known = room.words.pop((endpoint, self._me), None)
            if word:
                version = known.version if known and known.document == word else next(room.versions)
                room.words[endpoint, self._me] = Said(version, room.loop.time(), word)
        if hint:
            self._hint()
        await self._reach()

    async def order(self, endpoint: str, known: int, document: bytes) -> int | None:
        await self._reach()
        present = self._room.orders.get(endpoint)
        if (present.version if present else 0) != known:
            return None
        posting = self._room.orders[endpoint] = base.Posting(next(self._room.versions), document)
        self._hint()
        await self._reach()
        return posting.version

    async def forget(self, endpoint: str) -> None:
        await self._reach()
        self._room.orders.pop(endpoint, None)
        for place in [each for each in self._room.words if each[0] == endpoint]:
            del self._room.words[place]
        self._hint()

    async def registration(self, endpoint: str) -> bytes | None:
        await self._reach()
        return (await self._room.store.endpoints()).get(endpoint)

    async def running(self, endpoint: str) -> list[Job]:
        await self._reach()
        store = self._room.store
        jobs = [job for worker in await store.holders(endpoint) for job in await store.held(endpoint, worker)]
        await self._reach()
        return jobs

    async def reader(self, job: str) -> tuple[int, int]:
        await self._reach()
        return self._room.readers.get(job, (0, 0))

    async def read_on(self, job: str, attempt: int, after: int, to: int) -> bool:
        await self._reach()
        first = self._room.readers.get(job, (0, 0)) <= (attempt, after)
        if first:
            self._room.readers[job] = (attempt, to)
        await self._reach()
        return first

    def _hint(self) -> None:
        for board in self._room.boards:
            if board is not self:
                self._room.later(board.hinted.set, context=outside())
