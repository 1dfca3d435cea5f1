"""The process that is killed: clients, workers and a sweeper on one store, each telling what was acknowledged.

A record goes into the pipe only after the future of its operation was resolved, exactly like an HTTP answer.
"""

import asyncio
import itertools
import random
from collections.abc import Callable
from multiprocessing.connection import Connection

import msgspec

from submodel_gateway.errors import StoreAway
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.clock import SteeredClock
from submodel_gateway.store import base
from submodel_gateway.store.group import GroupCommit
from submodel_gateway.store.opening import open_store
from tests.crash.ledger import item_of, output_of
from tests.support.store_operations import append, finish, gone, heartbeat, progress, release, submit

ENDPOINTS = tuple(f"ns.app-{number}" for number in range(4))
CLIENTS = 8
WORKERS = 16
QUEUED_MAX = 100
LEASE_MS = 1_000

RETENTION_MS = 3_600_000
"""Longer than the test, so that everything that ended is still there."""

READY = b""
"""The first message: the store is open."""

Tell = Callable[[Job], None]


def main(url: str, seed: int, pipe: Connection) -> None:
    """Work until killed."""
    asyncio.run(work(url, seed, pipe))


async def work(url: str, seed: int, pipe: Connection) -> None:
    group = await open_group(url)
    pipe.send_bytes(READY)
    await Load(group, seed, lambda job: pipe.send_bytes(msgspec.msgpack.encode(job))).run()


async def open_group(url: str) -> GroupCommit:
    """The store behind `url` with its queue of operations, as a gateway has them."""
    store = open_store(url)
    await store.start(lambda endpoints: None)
    clock = SteeredClock()
    clock.begin(await store.time())
    return GroupCommit(store, clock.now_ms, lambda changes: None)


class Load:
    """Everything that may happen to jobs, at random. `tell` hears each acknowledged record."""

    def __init__(self, group: GroupCommit, seed: int, tell: Tell) -> None:
        self._group = group
        self._tell = tell
        self._random = random.Random(seed)
        self._ids = (f"job-{seed}-{number}" for number in itertools.count())

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            for number in range(CLIENTS):
                tasks.create_task(self._client(ENDPOINTS[number % len(ENDPOINTS)]))
            for number in range(WORKERS):
                tasks.create_task(self._worker(ENDPOINTS[number % len(ENDPOINTS)], f"w-{number}"))
            tasks.create_task(self._sweeper())

    async def _client(self, endpoint: str) -> None:
        while True:
            if self._group.store.tally(endpoint).queued > QUEUED_MAX:
                await self._do(base.Sweep(hold_ms=LEASE_MS))
                continue
            id = next(self._ids)
            size = self._random.choices((20, 1_000, 30_000), weights=(5, 10, 1))[0]
            input = b'"%s"' % (b"x" * size)
            await self._do(submit(id, endpoint, input=input, max_attempts=2, retention_ms=RETENTION_MS))
            if self._random.random() < 0.1:
                await self._do(base.Cancel(endpoint=endpoint, id=id))

    async def _worker(self, endpoint: str, worker: str) -> None:
        # What it held when the process before was killed comes back, uncharged: the breaker stays closed.
        await self._do(gone(worker, charged=False, endpoint=endpoint))
        while True:
            outcome = await self._do(
                base.Take(
                    endpoint=endpoint,
                    worker=worker,
                    session="s",
                    limit=self._random.randint(1, 4),
                    nonce=self._random.getrandbits(63),
                    lease_ms=LEASE_MS,
                )
            )
            assert isinstance(outcome, base.Taken)
            for lease in outcome.leases:
                await self._run(lease.job)

    async def _run(self, job: Job) -> None:
        fate = self._random.random()
        if fate < 0.3:
            await self._do(append(job, 1, item_of(job, 1), item_of(job, 2)))
            await self._do(heartbeat(job))
            await self._do(append(job, 3, item_of(job, 3)))
            await self._do(progress(job, b"0.5"))
        if fate < 0.7:
            await self._do(finish(job, await self._stashed(output_of(job))))
        elif fate < 0.8:
            await self._do(finish(job, None, "boom"))
            if self._random.random() < 0.5:
                await self._do(base.Retry(endpoint=job.endpoint, id=job.id))
        elif fate < 0.9:
            await self._do(release(job))
        elif fate < 0.98:
            await self._do(base.Lose(endpoint=job.endpoint, id=job.id, token=job.token, reason="it was killed"))

    async def _sweeper(self) -> None:
        while True:
            await self._do(base.Sweep(hold_ms=LEASE_MS))

    async def _stashed(self, data: bytes) -> base.Payload:
        return await self._group.store.stash(data) if len(data) > base.BLOB_BYTES else data

    async def _do(self, operation: base.Operation) -> base.Outcome:
        outcome = await self._answer(operation)
        for change in base.changes(outcome):
            if change.after is not None:
                self._tell(change.after)
        return outcome

    async def _answer(self, operation: base.Operation) -> base.Outcome:
        """Asks again while the store is away: what it could not apply had no effect."""
        while True:
            try:
                return await self._group.one(operation)
            except StoreAway:
                continue
