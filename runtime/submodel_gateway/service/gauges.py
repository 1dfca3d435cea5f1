"""What is read when somebody asks for metrics: queues, workers, readiness."""

import asyncio
import platform
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, version

from submodel.contract.states import WorkerPhase
from submodel_gateway.errors import StoreError
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Labels, Measures
from submodel_gateway.metrics.table import Metric
from submodel_gateway.service.bodies import Bodies
from submodel_gateway.service.clock import Clock
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.unread import Unread
from submodel_gateway.service.words import Word, newest
from submodel_gateway.store import base

DISTRIBUTION = "submodel-runtime"

ANSWER_SECONDS = 2.0
"""How long a store is waited for. Scrapers give up after ten seconds, and hear nothing at all then."""

Values = dict[Metric, dict[Labels, float]]

_Seen = tuple[Mapping[str, base.Backlog], int | None]
"""Backlogs by endpoint, and since when the oldest webhook is due."""

_READ = (table.QUEUED, table.RUNNING, table.OLDEST, table.WORKERS, table.STORE_UP, table.WEBHOOKS_OVERDUE)


class Gauges:
    """Reads them. Endpoints that share labels are added up; of their ages the highest counts."""

    def __init__(
        self,
        stores: Stores,
        endpoints: Endpoints,
        clock: Clock,
        measures: Measures,
        bodies: Bodies,
        unread: Unread,
    ) -> None:
        self._stores = stores
        self._endpoints = endpoints
        self._clock = clock
        self._measures = measures
        self._bodies = bodies
        self._unread = unread
        self._asking: dict[str, asyncio.Task[_Seen | None]] = {}
        """What stores are asked that have not answered yet."""

        self.version = _version()

    async def read(self, *, ready: bool) -> Values:
        """All of them, now. While a store is away, what only it knows is left out: unknown is not zero."""
        self._measures.keep(self._endpoints.ids())
        values: Values = {metric: {} for metric in _READ}
        states = self._endpoints.all()
        for state in states:
            self._of_endpoint(state, values)
        places = [(str(place), name) for place, name in enumerate(self._stores.groups, 1)]
        here = [[state for state in states if self._stores.name_of(state.id) == name] for _, name in places]
        looks = (self._of_store(*place, there, values) for place, there in zip(places, here, strict=True))
        for (place, _), answers in zip(places, await asyncio.gather(*looks), strict=True):
            values[table.STORE_UP][(place,)] = float(answers)
        values[table.BUILD] = {(self.version, platform.python_version()): 1.0}
        values[table.BODY_BYTES] = {(): float(self._bodies.held_bytes)}
        values[table.ANSWER_BYTES] = {(): float(self._unread.held_bytes)}
        values[table.READY] = {(): float(ready)}
        return values

    async def _of_store(self, place: str, name: str, states: list[EndpointState], values: Values) -> bool:
        """What a store has to be asked for; whether it answered."""
        waiting = {state.id: state for state in states if self._stores.tally(state.id).queued}
        for state in states:
            if state.id not in waiting:
                self._age(state, None, values)
        seen = await self._in_time(name, waiting)
        if seen is None:
            return False
        backlogs, due_at = seen
        for id in waiting.keys() & backlogs.keys():
            self._age(waiting[id], backlogs[id].oldest_at, values)
        age_ms = 0 if due_at is None else max(0, self._stores.clocks[name].now_ms() - due_at)
        values[table.WEBHOOKS_OVERDUE][(place,)] = age_ms / 1000
        return True

    async def _in_time(self, name: str, waiting: Collection[str]) -> _Seen | None:
        """What a store says, None when it does not in time."""
        if name in self._stores.away or name in self._stores.missing:
            return None
        asked = self._asking.get(name)
        if asked is None:
            asked = self._asking[name] = asyncio.create_task(self._ask(name, waiting))
            asked.add_done_callback(lambda done: self._asking.pop(name))
        # Not a timeout around it: what is cancelled asks the server, which may be what does not answer.
        done, _ = await asyncio.wait([asked], timeout=ANSWER_SECONDS)
        return asked.result() if done else None

    async def _ask(self, name: str, waiting: Collection[str]) -> _Seen | None:
        try:
            backlogs = await self._stores.backlogs(dict.fromkeys(waiting))
            return backlogs, await self._stores.groups[name].store.next_webhook()
        except StoreError:
            return None

    def _age(self, state: EndpointState, oldest_at: int | None, values: Values) -> None:
        labels, ages = self._measures.endpoint(state.id), values[table.OLDEST]
        age_ms = 0 if oldest_at is None else max(0, self._stores.now_ms(state.id) - oldest_at)
        ages[labels] = max(ages.get(labels, 0.0), age_ms / 1000)

    def _of_endpoint(self, state: EndpointState, values: Values) -> None:
        labels, tally = self._measures.endpoint(state.id), self._stores.tally(state.id)
        _add(values[table.QUEUED], labels, tally.queued)
        _add(values[table.RUNNING], labels, tally.in_progress)
        now = self._clock.now_ms()
        here = {each.worker: state.word(each, now) for each in state.sessions.values() if not each.gone}
        for word in [*here.values(), *(each for name, each in newest(state.elsewhere).items() if name not in here)]:
            _add(values[table.WORKERS], (*labels, _state(word)), 1)


def _add(series: dict[Labels, float], labels: Labels, value: float) -> None:
    series[labels] = series.get(labels, 0.0) + value


def _state(word: Word) -> str:
    if word.idle_since_ms is None:
        return "running"
    if word.draining:
        return "draining"
    return {WorkerPhase.READY: "idle", WorkerPhase.DRAINING: "draining"}.get(word.phase, word.phase.value)


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "unknown"
