"""How much an answer brings a worker: what is beyond it is for the next one, and no job is any the worse for it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from submodel_gateway.jobs.ids import from_delivery_id
from submodel_gateway.store import base
from tests.support.gateway_world import FailingStore, Worker, World
from tests.support.legacy_worker import LegacyWorker

LARGE = b'"' + b"x" * (base.TAKE_BYTES // 3) + b'"'
"""Two of them fit into an answer, three do not."""

COUNT = 7
CAPACITY = 10

Take = Callable[[], Awaitable[list[str]]]
"""Asks for jobs as long as some wait; their ids, as far as clients know them."""


@asynccontextmanager
async def waiting(
    store: FailingStore | None = None, *, compress: bool = True
) -> AsyncIterator[tuple[World, list[str]]]:
    """A gateway with large jobs in its queue, and their ids."""
    w = World(store, compress=compress)
    await w.sweep()
    await w.register()
    yield w, [await w.submit(LARGE) for _ in range(COUNT)]
    await w.gateway.close()


def native(w: World) -> Take:
    worker = Worker(w)

    async def take() -> list[str]:
        return [job.id for job in await worker.take(CAPACITY, wait_ms=20_000)]

    return take


def legacy(w: World) -> Take:
    worker = LegacyWorker(w)

    async def take() -> list[str]:
        answer = await worker.ask(running=True, batch=CAPACITY).answer()
        return [from_delivery_id(job["id"])[0] for job in answer.json]

    return take


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("dialect", [native, legacy])
async def test_an_answer_brings_what_fits_and_the_next_ones_at_once_the_rest_in_its_order(
    dialect: Callable[[World], Take], compress: bool
) -> None:
    async with waiting(compress=compress) as (w, ids):
        take = dialect(w)
        answers = [await take() for _ in range(4)]
        assert [len(answer) for answer in answers] == [2, 2, 2, 1]
        assert [id for answer in answers for id in answer] == ids
        assert [(await w.status(id)).job.used for id in ids] == [1] * COUNT


async def test_what_did_not_fit_is_not_handed_out_in_vain_again_and_again() -> None:
    async with waiting() as (w, ids):
        take = native(w)
        for _ in range(4):
            await take()
        assert max([(await w.status(id)).job.attempt for id in ids]) == 2


async def test_one_job_is_handed_out_however_large_it_is() -> None:
    w = World(compress=True)
    await w.sweep()
    await w.register()
    larger = b'"' + b"x" * base.TAKE_BYTES + b'"'
    ids = [await w.submit(larger) for _ in range(2)]
    take = native(w)
    assert [await take(), await take()] == [[ids[0]], [ids[1]]]
    await w.gateway.close()


async def test_small_jobs_after_large_ones_come_together_again() -> None:
    async with waiting() as (w, _):
        take = native(w)
        for _ in range(4):
            await take()
        small = [await w.submit(b"1") for _ in range(CAPACITY)]
        assert await take() == small


async def test_what_cannot_be_given_back_is_handed_out_all_the_same() -> None:
    store = FailingStore()
    async with waiting(store) as (w, ids):
        store.refused = {base.Release}
        assert await native(w)() == ids
