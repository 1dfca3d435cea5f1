"""The gateway's service in one event loop, over the store in memory and a clock that the test moves."""

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from submodel.contract.exchange import ExchangeAnswer, ExchangeRequest, Held, LeasedJob, Result
from submodel.contract.internal import EndpointRegistration, EndpointSnapshot, WorkerPresence, WorkerToken
from submodel.contract.states import WorkerPhase
from submodel.contract.wire import decode
from submodel_gateway.errors import StoreAway, StoreError
from submodel_gateway.service import bodies, unread
from submodel_gateway.service.clients import JobView, NewJob
from submodel_gateway.service.dispatcher import Outgoing
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.stores import NamedStore
from submodel_gateway.service.waiting import Hangup
from submodel_gateway.service.worker_access import Reviewer
from submodel_gateway.store.base import BLOB_BYTES, Finish, Operation, Outcome, Store, StoreTime
from submodel_gateway.store.memory import MemoryStore

ENDPOINT = "ns.app"
TOKEN = "worker-token"
LARGE_OUTPUT = b'"' + b"x" * BLOB_BYTES + b'"'
"""Its bytes do not travel with the operation that refers to it."""


class TestClock:
    """Milliseconds that stand still until a test moves them."""

    __test__ = False

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.ms

    def begin(self, reading: StoreTime) -> None:
        """The test sets it."""

    def follow(self, reading: StoreTime, doubt_ms: int = 0) -> None:
        """The test moves it."""


class FailingStore(MemoryStore):
    """The store in memory, which refuses the kinds of operation in `refused`.

    What is in `meanwhile` happens while operations of a kind are on their way.
    """

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[type[Operation]] = set()
        self.meanwhile: dict[type[Operation], Callable[[], None]] = {}

    def apply(self, operations: Sequence[Operation], now: int) -> list[Outcome]:
        if any(type(operation) in self.refused for operation in operations):
            raise StoreError("the disk is full")
        for operation in operations:
            self.meanwhile.get(type(operation), _nothing)()
        return super().apply(operations, now)


class UnsureStore(MemoryStore):
    """The store in memory behind a network: the answer to the first operation of this kind, a result, is lost.

    The operation `arrives` all the same.
    """

    def __init__(self, kind: type[Operation] = Finish) -> None:
        super().__init__()
        self._kind = kind
        self._lost: tuple[Sequence[Operation], int] | None = None

    def apply(self, operations: Sequence[Operation], now: int) -> list[Outcome]:
        if self._lost is None and any(isinstance(operation, self._kind) for operation in operations):
            self._lost = operations, now
            raise StoreAway("nobody answers")
        return super().apply(operations, now)

    def arrives(self) -> None:
        """The commit whose answer was lost goes through."""
        assert self._lost is not None, "it was sent"
        super().apply(*self._lost)


def _nothing() -> None:
    """Nothing happens."""


def registration(endpoint: str = ENDPOINT, **fields: Any) -> EndpointRegistration:
    tokens = [WorkerToken(revision="r1", sha256=hashlib.sha256(TOKEN.encode()).hexdigest())]
    return EndpointRegistration(
        **{"epoch": "uid", "generation": 1, "worker_tokens": tokens, **fields}, endpoint_id=endpoint
    )


def presence(worker: str, phase: str = "Running") -> WorkerPresence:
    return WorkerPresence(worker=worker, uid=f"uid-{worker}", revision="r1", phase=phase)


def here() -> Hangup:
    """A caller that stays."""
    return asyncio.get_running_loop().create_future()


class World:
    """A gateway and what a test does to it."""

    def __init__(
        self,
        store: Store | None = None,
        outgoing: Outgoing | None = None,
        clock: TestClock | None = None,
        queue_limit: int | None = None,
        reviewer: Reviewer | None = None,
        body_bytes: int = bodies.TOTAL_BYTES,
        answer_bytes: int = unread.TOTAL_BYTES,
        compress: bool = False,
    ) -> None:
        self.clock = clock or TestClock()
        self.store = store or MemoryStore()
        bits = itertools.count(1)
        self.gateway = Gateway(
            [NamedStore("only", self.store, self.clock)],
            self.clock,
            lambda count: next(bits),
            boot="boot",
            outgoing=outgoing,
            queue_limit=queue_limit,
            reviewer=reviewer,
            body_bytes=body_bytes,
            answer_bytes=answer_bytes,
            compress=compress,
        )

    async def register(self, endpoint: str = ENDPOINT, **fields: Any) -> None:
        await self.gateway.registry.put(endpoint, registration(endpoint, **fields))

    async def submit(self, input: bytes = b"1", **fields: Any) -> str:
        return (await self.gateway.clients.submit(ENDPOINT, NewJob(input=input, **fields))).id

    async def status(self, id: str) -> JobView:
        return await self.gateway.clients.status(ENDPOINT, id)

    async def sweep(self) -> None:
        """What the gateway's own sweepers do every second."""
        for sweeper in self.gateway.sweepers:
            await sweeper.sweep()

    async def pass_time(self, milliseconds: int) -> None:
        """Move the clock in steps that a live process would see, sweeping after each."""
        end = self.clock.ms + milliseconds
        while self.clock.ms < end:
            self.clock.ms = min(end, self.clock.ms + 1_000)
            await self.sweep()

    async def freeze(self, milliseconds: int) -> None:
        """The whole process stands still, then goes on."""
        self.clock.ms += milliseconds
        await self.sweep()

    async def snapshot(self) -> EndpointSnapshot:
        (snapshot,) = (await self.gateway.snapshots.read(0, None, 0, here())).endpoints
        return snapshot


class Worker:
    """The worker's end of the exchange: numbers requests, remembers its leases."""

    def __init__(self, world: World, name: str = "w-1", session: str = "s-1", token: str = TOKEN) -> None:
        self._world = world
        self.name = name
        self.token = token
        self.session = session
        self.number = 0
        self.held: dict[str, LeasedJob] = {}

    async def say(self, *, hangup: Hangup | None = None, **fields: Any) -> ExchangeAnswer:
        """One exchange, listing everything held unless the test says otherwise."""
        self.number += 1
        fields = {"request": self.number, "phase": WorkerPhase.READY, **fields}
        if "running" not in fields:
            fields["running"] = [Held(id=job.id, token=job.token) for job in self.held.values()]
        request = ExchangeRequest(session=self.session, **fields)
        raw = await self._world.gateway.workers.exchange(ENDPOINT, self.name, self.token, request, hangup or here())
        answer = decode(raw, ExchangeAnswer)
        self.held |= {job.id: job for job in answer.jobs}
        return answer

    async def take(self, capacity: int = 1, wait_ms: int = 0, **fields: Any) -> list[LeasedJob]:
        return (await self.say(capacity=capacity, wait_ms=wait_ms, **fields)).jobs

    async def finish(self, job: LeasedJob, output: bytes = b'"done"', **fields: Any) -> ExchangeAnswer:
        self.held.pop(job.id, None)
        return await self.say(results=[Result(id=job.id, token=job.token, output=msgspec.Raw(output))], **fields)


@asynccontextmanager
async def world(store: Store | None = None, *, body_bytes: int = bodies.TOTAL_BYTES) -> AsyncIterator[World]:
    """A gateway with one endpoint. Its sweeper runs when the test says so."""
    new = World(store, body_bytes=body_bytes)
    await new.sweep()
    await new.register()
    yield new
    await new.gateway.close()


@asynccontextmanager
async def at_work(store: Store | None = None) -> AsyncIterator[tuple[World, Worker, LeasedJob]]:
    """A gateway whose worker has taken a job: both, and the job."""
    async with world(store) as w:
        await w.submit()
        worker = Worker(w)
        (job,) = await worker.take()
        yield w, worker, job


async def settle(turns: int = 50) -> None:
    """Let everything run that can run without a timer: with the store in memory nothing waits for a thread."""
    for _ in range(turns):
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn
