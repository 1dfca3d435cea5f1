"""How the SQLite store reads when its file does not let it: no error of the library reaches a caller."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from submodel_gateway.errors import StoreAway, StoreError
from submodel_gateway.http.answers import status_of
from submodel_gateway.jobs.record import Job
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.store_calls import NOW, applied
from tests.support.store_operations import ENDPOINT, submit

Open = Callable[[], SqliteStore]

READS: dict[str, Callable[[SqliteStore, Job], Awaitable[object]]] = {
    "job": lambda store, job: store.job(ENDPOINT, job.id),
    "content": lambda store, job: store.content(job),
    "chunks": lambda store, job: store.chunks(job, 0, 9),
    "requests": lambda store, job: store.requests(ENDPOINT, None, 9),
    "held": lambda store, job: store.held(ENDPOINT, "w"),
    "holders": lambda store, job: store.holders(ENDPOINT),
    "backlogs": lambda store, job: store.backlogs({ENDPOINT: NOW}),
    "ahead": lambda store, job: store.ahead(job),
    "endpoints": lambda store, job: store.endpoints(),
    "next_due": lambda store, job: store.next_due(),
    "next_webhook": lambda store, job: store.next_webhook(),
    "webhook": lambda store, job: store.webhook(ENDPOINT, job.id),
}


@pytest.mark.parametrize("name", READS)
async def test_a_read_that_fails_says_that_the_store_is_away_and_the_next_one_reads(
    open_store: Open, name: str
) -> None:
    store = open_store()
    job = applied(store, submit("a"))
    store._reader.set_progress_handler(lambda: 1, 1)  # each statement is interrupted
    with pytest.raises(StoreAway, match="cannot be read for now: interrupted; try again") as raised:
        await READS[name](store, job)
    assert status_of(raised.value) == 503
    store._reader.set_progress_handler(None, 1)
    await READS[name](store, job)
    await store.close()


async def test_a_damaged_file_is_no_store_that_comes_back(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    for number in range(200):
        applied(store, submit(f"job-{number}", input=b"x" * 500))
    await store.close()
    store = open_store()
    with (tmp_path / "jobs.db").open("r+b") as file:
        size = file.seek(0, 2)
        file.seek(3 * 4096)
        file.write(b"\xff" * (size - 3 * 4096))
    with pytest.raises(StoreError, match=r"malformed.*restore a copy") as raised:
        await store.requests(ENDPOINT, None, 200)
    assert not isinstance(raised.value, StoreAway)
    await store.close()


async def test_a_closed_store_is_away(open_store: Open) -> None:
    store = open_store()
    await store.close()
    with pytest.raises(StoreAway, match="closed"):
        await store.job(ENDPOINT, "a")


async def test_a_payload_of_which_nobody_can_say_whose_it_is_stays(open_store: Open) -> None:
    store = open_store()
    blob = await store.stash(b"x" * 10)
    store._reader.set_progress_handler(lambda: 1, 1)
    await store.discard(blob)
    store._reader.set_progress_handler(None, 1)
    assert await store.fetch(blob) == b"x" * 10
    await store.close()
