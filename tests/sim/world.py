"""One run: a gateway over a store, or two that share it; workers, clients and an operator; trouble for a while, then
peace until it is quiet.

Everything in a run follows from its seed.
"""

import gc
import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from submodel_gateway.store import group
from submodel_gateway.store.memory import MemoryStore
from tests.sim import faults
from tests.sim.clients import Client, plan
from tests.sim.disk import Disk, Writer
from tests.sim.faults import Mix
from tests.sim.fleet import Fleet
from tests.sim.history import Defect, Healed, History, Recount
from tests.sim.host import Machine, NewClock, WallClock, steered_clock
from tests.sim.loop import SimulatedLoop, Stuck, pause
from tests.sim.network import Network
from tests.sim.trouble import Trouble
from tests.sim.worker import ENDPOINT, Surroundings
from tests.support.store_calls import backlog

TROUBLE_SECONDS = 120
CLIENTS = 40
POD_MAX = 5
QUIET_SECONDS_MAX = 900
"""All jobs are final long before, once nothing goes wrong any more."""


@dataclass(frozen=True, slots=True)
class Run:
    """What came out of a seed."""

    seed: object
    history: History
    seconds: float
    """Of virtual time."""


def run(seed: object, mix: Mix | None = None, new_clock: NewClock = steered_clock) -> Run:
    """Simulate one seed."""
    loop = SimulatedLoop(seed)
    history = History()
    world = _World(loop, seed, faults.of_seed(seed) if mix is None else mix, new_clock, history)
    log = logging.getLogger("submodel_gateway")
    level = log.level
    log.setLevel(logging.CRITICAL)
    # What collected garbage still does must not depend on when it is collected.
    gc.disable()
    try:
        with _writer(world.disk):
            loop.run_until_complete(world.play())
    except Stuck as stuck:
        history.add(Defect(at=loop.now_ms, text=str(stuck)))
    finally:
        loop.abandon()
        gc.enable()
        log.setLevel(level)
    for text in loop.unhandled:
        history.add(Defect(at=loop.now_ms, text=text))
    return Run(seed, history, loop.time())


@contextmanager
def _writer(disk: Disk) -> Iterator[None]:
    """Group commits without a thread."""

    def writer(*_: object, **__: object) -> Writer:
        return Writer(disk)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group, "ThreadPoolExecutor", writer)
        yield


class _World:
    def __init__(self, loop: SimulatedLoop, seed: object, mix: Mix, new_clock: NewClock, history: History) -> None:
        def chance(of: str) -> Random:
            return Random(f"{of}/{seed}")

        self._loop = loop
        self._history = history
        wall = WallClock(loop, history)
        self._store = MemoryStore(wall_ms=wall.now_ms)
        two = chance("gateways").random() < mix.two_gateways
        self.disk = Disk(loop, self._store, mix, chance("disk"), history, wall.now_ms, shared=two)
        self._machines = [
            Machine(loop, self.disk, wall, new_clock, chance(name), history, name)
            for name in (("gateway", "other gateway") if two else ("gateway",))
        ]
        network = Network(loop, self._machines, mix, chance("network"), self._defect)
        surroundings = Surroundings(loop, network, history, chance("workers"), lambda worker, how: None)
        self._fleet = Fleet(surroundings, chance("size").randrange(2, POD_MAX + 1))
        self._trouble = Trouble(
            loop, mix, self._machines, wall, self.disk, network, self._fleet, chance("trouble"), history
        )
        crowd = chance("clients")
        self._clients = [
            Client(loop, network, history, crowd, plan(crowd, number, TROUBLE_SECONDS)) for number in range(CLIENTS)
        ]

    async def play(self) -> None:
        for machine in self._machines:
            await machine.start()
        await self._fleet.register()
        for machine in self._machines:
            while machine.gateway is None or machine.gateway.endpoints.find(ENDPOINT) is None:
                await pause(0.1)
        self._fleet.fill()
        self._loop.background(self._fleet.look_after())
        playing = [self._loop.create_task(client.run()) for client in self._clients]
        self._trouble.begin()
        await pause(TROUBLE_SECONDS)
        await self._trouble.heal()
        self._history.add(Healed(at=self._loop.now_ms))
        await self._quiet(playing)
        await self._look_again()
        await self._recount()

    async def _quiet(self, playing: list[Any]) -> None:
        """Until all clients have what they came for and no job is alive."""
        for _ in range(QUIET_SECONDS_MAX):
            tally = self._store.tally(ENDPOINT)
            if not tally.queued and not tally.in_progress and all(task.done() for task in playing):
                for task in playing:
                    task.result()
                return
            await pause(1)
        self._defect(f"not quiet {QUIET_SECONDS_MAX} s after the last fault")

    async def _look_again(self) -> None:
        """Read every job once more, and its stream from the start."""
        for client in self._clients:
            if client.job is not None:
                await client.read(client.job)
                if client.streams:
                    await client.stream_from_start(client.job)

    async def _recount(self) -> None:
        states: Counter[Any] = Counter()
        before: int | None = None
        while True:
            page = await self._store.requests(ENDPOINT, before, 100)
            states.update(job.state for job in page.jobs)
            if page.next is None:
                break
            before = page.next
        queue = await backlog(self._store, ENDPOINT, None)
        self._history.add(
            Recount(
                at=self._loop.now_ms,
                states=dict(states),
                tally=self._store.tally(ENDPOINT),
                holders=await self._store.holders(ENDPOINT),
                oldest_queued_at=queue.oldest_at,
            )
        )

    def _defect(self, text: str) -> None:
        self._history.add(Defect(at=self._loop.now_ms, text=text))
