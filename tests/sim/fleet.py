"""The pods and who looks after them: a kubelet that starts containers again, and the operator's signals."""

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from typing import TypeVar

from submodel.contract.internal import EndpointRegistration, GoneWorker, Snapshots, WorkerPresence, WorkerToken
from submodel_gateway.errors import GatewayError
from submodel_gateway.service.gateway import Gateway
from tests.sim.history import SnapshotRead
from tests.sim.loop import pause
from tests.sim.network import Service, Unreachable
from tests.sim.worker import ENDPOINT, WORKER_TOKEN, Surroundings, Worker

T = TypeVar("T")

CALL_SECONDS = 10.0
EVERY_SECONDS = 10.0
"""How often the operator pushes the list of workers and reads a snapshot."""


class Fleet:
    """As many pods as were asked for, and the operator's conversation with the gateway about them."""

    def __init__(self, around: Surroundings, size: int) -> None:
        self._around = replace(around, on_exit=self._exited)
        self._loop = around.loop
        self._chance = around.chance
        self._size = size
        self._number = 0
        self.pods: dict[str, Worker] = {}
        self._draining: dict[str, None] = {}
        self._ending: dict[str, None] = {}

    async def register(self) -> None:
        """Make the endpoint known; returns when the gateway has it."""
        tokens = [WorkerToken(revision="r1", sha256=sha256(WORKER_TOKEN.encode()).hexdigest())]
        registration = EndpointRegistration(endpoint_id=ENDPOINT, epoch="e", generation=1, worker_tokens=tokens)
        await self._insist(lambda gateway, hangup: gateway.registry.put(ENDPOINT, registration))

    def fill(self) -> None:
        """Start pods until there are enough."""
        while len(self.pods) - len(self._draining) < self._size:
            self._number += 1
            self._start(f"w-{self._number}")

    def some(self, wanted: Callable[[Worker], bool] = lambda worker: True) -> Worker | None:
        """A living worker at random."""
        living = [worker for worker in self.pods.values() if worker.alive and wanted(worker)]
        return self._chance.choice(living) if living else None

    async def lose(self, worker: Worker, how: str, *, charged: bool) -> None:
        """The pod is gone, its containers with it; the operator says so after a while."""
        worker.kill(how)
        if self.pods.get(worker.name) is not worker:
            return
        self._forget(worker)
        await pause(self._chance.uniform(0.5, 5))
        await self._say_gone(worker.name, how, charged=charged)

    def crash(self, worker: Worker, how: str) -> None:
        """The container dies, the pod stays."""
        worker.kill(how)
        self._exited(worker, how)

    def end(self, worker: Worker) -> None:
        """SIGTERM: the pod is deleted, or its container is started again."""
        if self._chance.random() < 0.5:
            self._ending[worker.name] = None
        worker.leave(self._chance.uniform(5, 30))

    async def drain(self, worker: Worker) -> None:
        """Scale down by one: drain, wait until it holds nothing, remove; or change one's mind."""
        name = worker.name
        self._draining[name] = None
        self.fill()
        await self._try(lambda gateway, hangup: _drain(gateway, name))
        for _ in range(self._chance.randrange(1, 12)):
            await pause(self._chance.uniform(1, 5))
            if self.pods.get(name) is not worker:
                return
            told_at = await self._drained(name)
            if told_at is not None and self.pods.get(name) is worker:
                worker.kill("removed while idle", idle=True, told_at=told_at)
                self._forget(worker)
                await self._say_gone(name, "scaled down", charged=False)
                return
        if self.pods.get(name) is worker:
            self._draining.pop(name, None)
            await self._try(lambda gateway, hangup: _undrain(gateway, name))

    async def look_after(self) -> None:
        """The operator's rounds."""
        while True:
            await self._push(list(self.pods))
            await self.snapshot()
            await pause(EVERY_SECONDS)

    async def _push(self, names: list[str]) -> None:
        await self._try(lambda gateway, hangup: _put_workers(gateway, names))

    async def snapshot(self) -> Snapshots | None:
        """What the scaler sees now, if it can."""
        asked_at = self._loop.now_ms
        snapshots = await self._try(lambda gateway, hangup: gateway.snapshots.read(0, None, 0, hangup))
        for each in snapshots.endpoints if snapshots else ():
            self._around.history.add(
                SnapshotRead(at=self._loop.now_ms, asked_at=asked_at, queued=each.queued, in_progress=each.in_progress)
            )
        return snapshots

    async def _drained(self, name: str) -> int | None:
        """When it was asked, if the answer is that the worker is drained and holds nothing."""
        asked_at = self._loop.now_ms
        snapshots = await self.snapshot()
        for each in snapshots.endpoints if snapshots else ():
            for view in each.workers:
                if view.worker == name and view.draining and not view.running:
                    return asked_at
        return None

    def _start(self, name: str) -> None:
        worker = self.pods[name] = Worker(self._around, name, self._chance.choice((1, 1, 2, 3)))
        worker.start()

    def _exited(self, worker: Worker, how: str) -> None:
        """A container ended: in a pod that ends too, or it is started again."""
        if worker.name in self._ending:
            del self._ending[worker.name]
            self._loop.background(self.lose(worker, how, charged=False))
        else:
            self._loop.background(self._restart(worker))

    async def _restart(self, worker: Worker) -> None:
        await pause(self._chance.uniform(0.5, 8))
        if self.pods.get(worker.name) is worker:
            self._start(worker.name)

    def _forget(self, worker: Worker) -> None:
        del self.pods[worker.name]
        self._draining.pop(worker.name, None)
        self._ending.pop(worker.name, None)
        self.fill()

    async def _say_gone(self, name: str, reason: str, *, charged: bool) -> None:
        gone = [GoneWorker(worker=name, reason=reason, charged=charged)]
        await self._insist(lambda gateway, hangup: gateway.registry.gone(ENDPOINT, gone))

    async def _try(self, service: Service[T]) -> T | None:
        try:
            return await self._around.network.call(service, CALL_SECONDS, in_order=True)
        except (Unreachable, GatewayError):
            return None

    async def _insist(self, service: Service[T]) -> None:
        while True:
            try:
                await self._around.network.call(service, CALL_SECONDS, in_order=True)
            except (Unreachable, GatewayError):
                await pause(1)
            else:
                return


async def _put_workers(gateway: Gateway, names: list[str]) -> None:
    listed = [WorkerPresence(worker=name, uid=f"uid-{name}", revision="r1", phase="Running") for name in names]
    await gateway.registry.put_workers(ENDPOINT, listed, gateway.clock.now_ms())


async def _drain(gateway: Gateway, name: str) -> None:
    await gateway.registry.drain(ENDPOINT, [name])


async def _undrain(gateway: Gateway, name: str) -> None:
    await gateway.registry.undrain(ENDPOINT, [name])
