"""The stores of a gateway: one, or several, so that capacity grows with databases.

An endpoint lives in exactly one store: where it is registered, else where its name's hash says. Adding a store moves
no endpoint that exists, and only new ones go to it. Nothing is ever joined across stores.
"""

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from submodel_gateway.errors import NotFound
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.observing import GroupWatch
from submodel_gateway.store.base import Backlog, Store
from submodel_gateway.store.group import GroupCommit, OnCommit


@dataclass(frozen=True, slots=True)
class NamedStore:
    """A store with its clock. New endpoints are spread by `name`: it must be the same for every gateway."""

    name: str
    store: Store
    clock: Clock


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
        self._homes: dict[str, str] = {}

    async def start(self, news: Callable[[Iterable[str]], None]) -> dict[str, bytes]:
        """Begin to serve; returns all stored registrations by endpoint id. Raises `StoreError`."""
        registrations: dict[str, bytes] = {}
        for name, group in self.groups.items():
            await group.store.start(news)
            self.clocks[name].begin(await group.store.time())
            stored = await group.store.endpoints()
            here = [endpoint for endpoint in stored if self._homes.setdefault(endpoint, name) == name]
            registrations |= {endpoint: stored[endpoint] for endpoint in here}
        return registrations

    async def close(self) -> None:
        """Finish the writes and let the stores go."""
        for group in self.groups.values():
            await group.close()

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
        """As `Store.backlogs`, each store asked once."""
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
        home = self._homes.get(endpoint)
        if home is None:
            home = self._homes[endpoint] = preferred(self.groups, endpoint)
        return home


def unknown_job(id: str) -> NotFound:
    """The one sentence about jobs that are not there."""
    return NotFound(f"job {id!r} does not exist at this endpoint, or its result has expired")


def preferred(names: Iterable[str], endpoint: str) -> str:
    """The store of a new endpoint, by rendezvous hashing: of all names, the one that scores highest with it."""
    return max(names, key=lambda name: hashlib.sha256(f"{name}\0{endpoint}".encode()).digest())
