"""The stores of a gateway: one, or several, so that capacity grows with databases.

An endpoint lives in exactly one store: where it is registered, else where its name's hash says among the stores that
take new ones. The order of stores means nothing; adding one moves no endpoint that exists. Nothing is ever joined
across stores, and one that is away takes its own endpoints with it and no others.
"""

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from submodel_gateway.errors import NotFound, StoreAway
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service.clock import Clock, beginning
from submodel_gateway.service.observing import GroupWatch
from submodel_gateway.store.base import Backlog, Board, Store
from submodel_gateway.store.group import GroupCommit, OnCommit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NamedStore:
    """A store with its clock. New endpoints are spread by `name`: it must be the same for every gateway.

    A `closed` one keeps the endpoints that it has and takes no new ones.
    """

    name: str
    store: Store
    clock: Clock
    closed: bool = False


class Stores:
    """Finds an endpoint's store. `on_commit` hears of the changes of all of them, as in `GroupCommit`."""

    def __init__(
        self,
        stores: Sequence[NamedStore],
        on_commit: OnCommit,
        measures: Measures,
    ) -> None:
        self.clocks = {each.name: each.clock for each in stores}
        self.groups = {
            each.name: GroupCommit(each.store, each.clock.now_ms, on_commit, GroupWatch(measures, str(place)))
            for place, each in enumerate(stores, 1)
        }
        self.missing: set[str] = set()
        """Those that have not begun by now: nobody knows which endpoints live there."""

        self.away: set[str] = set()
        """Those that have begun and did not answer when they were last asked."""

        self._open = [each.name for each in stores if not each.closed]
        self._started: set[str] = set()
        self._homes: dict[str, str] = {}

    async def begin(self, name: str, news: Callable[[Iterable[str]], None]) -> dict[str, bytes]:
        """Begin with a store; returns its registrations by endpoint id. Raises `StoreError`, and may be called again.

        A registration that is in another store too is left out where that one counts.
        """
        group = self.groups[name]
        self.missing.add(name)
        if name not in self._started:
            await group.store.start(news)
            self._started.add(name)
        clock = self.clocks[name]
        clock.begin(await beginning(group.store.time, clock))
        stored = await group.store.endpoints()
        return {endpoint: stored[endpoint] for endpoint in stored if self.found(endpoint, name)}

    def begun(self, name: str) -> None:
        """All that is in this store is known by now."""
        self.missing.discard(name)

    async def close(self) -> None:
        """Finish the writes and let the stores go."""
        for group in self.groups.values():
            await group.close()

    def boards(self) -> dict[str, Board]:
        """Of the stores that other gateways may have too, by name."""
        return {name: board for name, group in self.groups.items() if (board := group.store.board) is not None}

    def of(self, endpoint: str) -> GroupCommit:
        """The queue of operations of the endpoint's store."""
        return self.groups[self.name_of(endpoint)]

    def at(self, endpoint: str) -> Store:
        """The endpoint's store, for reading."""
        return self.of(endpoint).store

    async def job(self, endpoint: str, id: str) -> Job:
        """The job as it is now. Raises `NotFound`."""
        job = await self.at(endpoint).job(endpoint, id)
        if job is None:
            raise unknown_job(id)
        return job

    def tally(self, endpoint: str) -> Tally:
        return self.at(endpoint).tally(endpoint)

    async def backlogs(self, late_at: Mapping[str, int | None]) -> dict[str, Backlog]:
        """As `Store.backlogs`, each store asked once. Raises `StoreError` when one of them does not answer."""
        asked: defaultdict[str, dict[str, int | None]] = defaultdict(dict)
        for endpoint, at in late_at.items():
            asked[self.name_of(endpoint)][endpoint] = at
        parts = await asyncio.gather(*(self.groups[name].store.backlogs(part) for name, part in asked.items()))
        return {endpoint: backlog for part in parts for endpoint, backlog in part.items()}

    def now_ms(self, endpoint: str) -> int:
        """The time of the endpoint's store."""
        return self.clocks[self.name_of(endpoint)].now_ms()

    def name_of(self, endpoint: str) -> str:
        """The name of the endpoint's store."""
        return self._homes.get(endpoint) or preferred(self._open, endpoint)

    async def place(self, endpoint: str) -> None:
        """Decide where an endpoint is to live that this gateway does not know. Raises `StoreAway`.

        Another gateway may have put it somewhere a moment ago; one that knows fewer stores chooses among fewer.
        """
        if self.missing:
            raise StoreAway("not all job stores have been reached yet; the endpoint may be in one of the others")
        boards = self.boards()
        for name, board in boards.items() if len(boards) > 1 else ():
            if name not in self.away and await board.registration(endpoint) is not None:
                self.found(endpoint, name)

    def found(self, endpoint: str, name: str) -> bool:
        """The endpoint is registered in this store; returns whether this is where it is served from.

        Gateways that do not know the same stores may have registered it in two. All of them choose the same one.
        """
        home = self._homes.setdefault(endpoint, name)
        if home == name:
            return True
        winner = self._homes[endpoint] = preferred((home, name), endpoint)
        other = home if winner == name else name
        log.error(
            "endpoint %s is registered in two job stores and served from %s: its jobs in %s are not reached. "
            "Give all gateways the same stores",
            endpoint,
            winner,
            other,
        )
        return winner == name

    def forget(self, endpoint: str) -> None:
        """The endpoint is gone; one of that name will be a new one."""
        self._homes.pop(endpoint, None)


def unknown_job(id: str) -> NotFound:
    """The one sentence about jobs that are not there."""
    return NotFound(f"job {id!r} does not exist at this endpoint, or its result has expired")


def preferred(names: Iterable[str], endpoint: str) -> str:
    """The store of a new endpoint, by rendezvous hashing: of all names, the one that scores highest with it."""
    return max(names, key=lambda name: hashlib.sha256(f"{name}\0{endpoint}".encode()).digest())
