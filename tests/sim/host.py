"""The machine that the gateway runs on: starts it, kills it, freezes it, and has a wall clock that is stepped."""

from collections.abc import Callable
from random import Random

from submodel_gateway.errors import StoreError
from submodel_gateway.service.clock import Clock, SteeredClock
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.stores import NamedStore
from tests.sim.disk import Disk, view
from tests.sim.history import Frozen, GatewayDown, GatewayUp, History, WallStepped
from tests.sim.loop import Process, SimulatedLoop, pause

EPOCH_MS = 1_700_000_000_000
"""Wall time at the start of a run."""


class WallClock:
    """A wall clock that somebody sets."""

    def __init__(self, loop: SimulatedLoop, history: History) -> None:
        self._loop = loop
        self._history = history
        self._ahead_ms = 0

    def now_ms(self) -> int:
        return EPOCH_MS + self._loop.now_ms + self._ahead_ms

    def step(self, ahead_ms: int) -> None:
        """Set it to `ahead_ms` ahead of true time."""
        if ahead_ms != self._ahead_ms:
            self._ahead_ms = ahead_ms
            self._history.add(WallStepped(at=self._loop.now_ms, ahead_ms=ahead_ms))

    def boot(self) -> None:
        """Machines set their clock when they boot; see `Trouble`, which never lets a gateway start ahead of time."""
        self.step(min(0, self._ahead_ms))


NewClock = Callable[[SimulatedLoop, WallClock, Random], Clock]


def steered_clock(loop: SimulatedLoop, wall: WallClock, chance: Random) -> Clock:
    """The gateway's clock, over a monotonic one that begins anywhere."""
    origin = chance.randrange(10**9)
    return SteeredClock(lambda: loop.now_ms + origin)


class Machine:
    """Runs one gateway at a time over the disk. Its methods are not called at once."""

    def __init__(
        self,
        loop: SimulatedLoop,
        disk: Disk,
        wall: WallClock,
        new_clock: NewClock,
        chance: Random,
        history: History,
        name: str,
    ) -> None:
        self.gateway: Gateway | None = None
        """The one that accepts requests."""

        self.process: Process | None = None
        self.number = 0
        self._loop = loop
        self._disk = disk
        self._wall = wall
        self._new_clock = new_clock
        self._chance = chance
        self._history = history
        self._name = name

    async def start(self) -> None:
        """Bring a gateway up, again and again while its store is away; returns when it serves."""
        while not await self._try():
            await pause(self._chance.uniform(1, 3))

    async def _try(self) -> bool:
        if self._disk.shared:
            # Gateways that share a store agree by marks that carry its wall time. One that starts right after that
            # stepped cannot read them, and begins at wall time: beside others it must be the right one.
            self._wall.step(0)
        else:
            self._wall.boot()
        self.number += 1
        process = Process(self._loop, f"{self._name}-{self.number}")
        clock = self._new_clock(self._loop, self._wall, self._chance)
        stores = [NamedStore("only", view(self._disk), clock)]
        gateway = process.within(lambda: Gateway(stores, clock, self._chance.getrandbits))
        try:
            await process.spawn(gateway.start())
        except StoreError:
            process.kill()
            return False
        self.gateway, self.process = gateway, process
        self._history.add(GatewayUp(at=self._loop.now_ms, number=self.number))
        return True

    def kill(self) -> Process:
        """SIGKILL; returns the process that was."""
        assert self.process is not None
        process, self.gateway, self.process = self.process, None, None
        process.kill()
        self._history.add(GatewayDown(at=self._loop.now_ms, number=self.number, how="killed"))
        return process

    async def end(self) -> Process:
        """SIGTERM: what is held is answered, writes are finished; returns the process that was."""
        assert self.gateway is not None
        assert self.process is not None
        gateway, process = self.gateway, self.process
        self.gateway = None
        self._history.add(GatewayDown(at=self._loop.now_ms, number=self.number, how="told to end"))
        process.within(gateway.drain)
        await process.spawn(gateway.close())
        await pause(0.05)
        process.kill()
        self.process = None
        return process

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        assert self.process is not None
        self._history.add(Frozen(at=self._loop.now_ms, who="gateway", until=self._loop.now_ms + round(seconds * 1000)))
        self.process.freeze()
        await pause(seconds)
        self.process.thaw()
