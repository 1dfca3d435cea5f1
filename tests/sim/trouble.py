"""Lets the faults of a mix happen: to workers, to the gateway, to the store and to the wall clock."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from random import Random

from tests.sim.clients import purge
from tests.sim.disk import Disk
from tests.sim.faults import Mix
from tests.sim.fleet import Fleet
from tests.sim.history import History, StoreAwayUntil
from tests.sim.host import Machine, WallClock
from tests.sim.loop import SimulatedLoop, pause
from tests.sim.network import Network

STEP_MS = 3_600_000
AWAY_SECONDS_MAX = 60


class Trouble:
    """Each kind of fault happens again and again; those of one gateway one at a time. Ends with `heal`."""

    def __init__(
        self,
        loop: SimulatedLoop,
        mix: Mix,
        machines: Sequence[Machine],
        wall: WallClock,
        disk: Disk,
        network: Network,
        fleet: Fleet,
        chance: Random,
        history: History,
    ) -> None:
        self._loop = loop
        self._mix = mix
        self._machines = machines
        self._wall = wall
        self._disk = disk
        self._network = network
        self._fleet = fleet
        self._chance = chance
        self._history = history
        self._running = 0
        self.healed = False

    def begin(self) -> None:
        mix = self._mix
        kinds: list[tuple[float, Callable[[], Awaitable[None]]]] = [
            (mix.kill_worker_every, self._kill_worker),
            (mix.freeze_worker_every, self._freeze_worker),
            (mix.end_worker_every, self._end_worker),
            (mix.store_away_every, self._store_away),
            (mix.step_wall_every, self._step_wall),
            (mix.drain_every, self._drain),
            (mix.purge_every, self._purge),
        ]
        for every, fault in kinds:
            self._loop.background(self._repeat(every, fault))
        for machine in self._machines:
            self._loop.background(self._gateway(machine))

    async def heal(self) -> None:
        """No new faults; returns when those that are under way are over."""
        self.healed = self._network.healed = self._disk.healed = True
        self._wall.step(0)
        while self._running:
            await pause(0.5)

    async def _repeat(self, every: float, fault: Callable[[], Awaitable[None]]) -> None:
        while every:
            await pause(self._chance.expovariate(1 / every))
            if self.healed:
                return
            await self._do(fault)

    async def _gateway(self, machine: Machine) -> None:
        mix = self._mix
        kinds = [
            (mix.restart_gateway_every, self._restart_gateway),
            (mix.gateway_away_every, self._gateway_away),
            (mix.freeze_gateway_every, self._freeze_gateway),
        ]
        possible = [(1 / every, fault) for every, fault in kinds if every]
        while possible:
            await pause(self._chance.expovariate(sum(rate for rate, _ in possible)))
            if self.healed:
                return
            rates = [rate for rate, _ in possible]
            fault = self._chance.choices([fault for _, fault in possible], weights=rates)[0]
            await self._do(partial(fault, machine))

    async def _do(self, fault: Callable[[], Awaitable[None]]) -> None:
        self._running += 1
        try:
            await fault()
        finally:
            self._running -= 1

    # Workers:

    async def _kill_worker(self) -> None:
        worker = self._fleet.some()
        if worker is None:
            return
        if self._chance.random() < 0.5:
            self._fleet.crash(worker, "out of memory")
        else:
            await self._fleet.lose(worker, "node lost", charged=False)

    async def _freeze_worker(self) -> None:
        worker = self._fleet.some(lambda worker: not worker.process.frozen)
        if worker is not None:
            await worker.freeze(self._chance.uniform(20, 90))

    async def _end_worker(self) -> None:
        worker = self._fleet.some()
        if worker is not None:
            self._fleet.end(worker)

    async def _drain(self) -> None:
        worker = self._fleet.some()
        if worker is not None:
            await self._fleet.drain(worker)

    async def _purge(self) -> None:
        await purge(self._loop, self._network, self._history)

    # The gateway and what is under it:

    async def _restart_gateway(self, machine: Machine) -> None:
        if self._chance.random() < 0.5:
            self._network.break_server(machine.kill())
        else:
            self._network.break_server(await machine.end())
        await pause(self._chance.uniform(0.2, 4))
        await machine.start()

    async def _gateway_away(self, machine: Machine) -> None:
        self._network.break_server(machine.kill())
        await pause(self._chance.uniform(5, AWAY_SECONDS_MAX))
        await machine.start()

    async def _freeze_gateway(self, machine: Machine) -> None:
        await machine.freeze(self._chance.uniform(1, AWAY_SECONDS_MAX))

    async def _store_away(self) -> None:
        seconds = self._chance.uniform(1, 20)
        self._history.add(StoreAwayUntil(at=self._loop.now_ms, until=self._loop.now_ms + round(seconds * 1000)))
        self._disk.away = True
        await pause(seconds)
        self._disk.away = False

    async def _step_wall(self) -> None:
        # Ahead only while a gateway is up: what one sees at its start cannot be told from having been away.
        up = all(machine.gateway is not None for machine in self._machines)
        self._wall.step(self._chance.choice((STEP_MS, -STEP_MS)) if up else -STEP_MS)
        await pause(self._chance.uniform(1, 40))
        if self._chance.random() < 0.7:
            self._wall.step(0)
