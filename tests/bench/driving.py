"""Callers that drive a store through its group commit, and what they measure."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import count, islice

from submodel_gateway.service.clock import SteeredClock
from submodel_gateway.store import base
from submodel_gateway.store.group import GROUP_MAX, GroupCommit
from submodel_gateway.store.opening import open_store

ENDPOINT = "ns.app"
KIBIBYTE = b'"' + b"x" * 1022 + b'"'
LEASE_MS = 45_000
RETENTION_MS = 1_800_000


class Driver:
    """An open store with its queue of operations. `groups` counts transactions, `operations` what they held."""

    def __init__(self, store: base.Store, clock: SteeredClock) -> None:
        self.store = store
        self.clock = clock
        self.groups = self.operations = 0
        self._group = GroupCommit(store, clock.now_ms, self._committed)
        self._numbers = count()

    async def do(self, operation: base.Operation) -> base.Outcome:
        self.operations += 1
        return await self._group.one(operation)

    async def submit(self, endpoint: str = ENDPOINT, retention_ms: int = RETENTION_MS) -> base.Outcome:
        return await self.do(new_job(self.new_id(), endpoint, retention_ms=retention_ms))

    async def take(self, limit: int = 1, endpoint: str = ENDPOINT) -> tuple[base.Lease, ...]:
        outcome = await self.do(self.taking(limit, endpoint))
        assert isinstance(outcome, base.Taken)
        return outcome.leases

    async def finish(self, lease: base.Lease, output: base.Payload = KIBIBYTE) -> base.Outcome:
        job = lease.job
        return await self.do(base.Finish(endpoint=job.endpoint, id=job.id, token=job.token, output=output))

    def taking(self, limit: int = 1, endpoint: str = ENDPOINT, lease_ms: int = LEASE_MS) -> base.Take:
        nonce = next(self._numbers) * 1_000
        return base.Take(endpoint=endpoint, worker="w", session="s", limit=limit, nonce=nonce, lease_ms=lease_ms)

    def new_id(self) -> str:
        return id_of(next(self._numbers))

    async def close(self) -> None:
        await self._group.close()

    def _committed(self, done: Iterable[tuple[base.Operation, base.Outcome]]) -> None:
        self.groups += 1
        for _ in done:
            pass


@asynccontextmanager
async def driving(url: str) -> AsyncIterator[Driver]:
    """Opens the store behind `url` as a gateway does, and closes it."""
    store = open_store(url)
    await store.start(lambda endpoints: None)
    clock = SteeredClock()
    clock.begin(await store.time())
    driver = Driver(store, clock)
    try:
        yield driver
    finally:
        await driver.close()


def id_of(number: int) -> str:
    return f"0190f3c4-5b6d-7e8f-9a0b-{number:012d}-u1"


def new_job(
    id: str, endpoint: str = ENDPOINT, *, input: bytes = KIBIBYTE, pri: int = 0, retention_ms: int = RETENTION_MS
) -> base.Submit:
    return base.Submit(
        id=id,
        endpoint=endpoint,
        input=input,
        pri=pri,
        max_attempts=3,
        execution_timeout_ms=600_000,
        ttl_ms=86_400_000,
        retention_ms=retention_ms,
    )


async def crowd(callers: int, jobs: int, turn: Callable[[], Awaitable[object]]) -> float:
    """Seconds that `callers` need for `jobs` turns together, each caller one after the other."""
    turns = iter(range(jobs))

    async def caller() -> None:
        for _ in turns:
            await turn()

    started = time.perf_counter()
    await asyncio.gather(*(caller() for _ in range(callers)))
    return time.perf_counter() - started


def fill(driver: Driver, endpoints: Sequence[tuple[str, int]]) -> None:
    """Queue many jobs, as fast as the store takes them; nothing else may use the driver meanwhile."""
    ids = (driver.new_id() for _ in count())
    jobs = (
        new_job(next(ids), endpoint, input=b"{}", pri=number % 3)
        for endpoint, queued in endpoints
        for number in range(queued)
    )
    while group := list(islice(jobs, GROUP_MAX)):
        driver.store.apply(group, driver.clock.now_ms())
