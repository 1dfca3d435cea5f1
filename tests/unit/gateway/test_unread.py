"""The room for answers: large ones wait for it, small ones never do, and nothing is lost by one that waited in vain."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from submodel.contract.exchange import Chunks
from submodel_gateway.http.public import public_app
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service import unread
from submodel_gateway.service.access import Open
from submodel_gateway.service.unread import FREE_BYTES, Shelf, Unread
from submodel_gateway.store.base import BLOB_BYTES
from tests.support.gateway_world import ENDPOINT, TOKEN, Worker, World, here, settle, world
from tests.support.legacy_worker import Call

TOTAL = 4_000_000
PIECE = 1_500_000
LARGE = b'"' + b"x" * PIECE + b'"'
INLINE = b'"' + b"x" * (BLOB_BYTES // 2) + b'"'
OTHER = "another key"


def call(w: World, method: str, path: str, body: bytes = b"", **headers: str) -> Call:
    sent = {"authorization": f"Bearer {TOKEN}", **headers}
    return Call(public_app(w.gateway, Open()), method, f"/v2/{ENDPOINT}/{path}", sent, body)


async def done(w: World, output: bytes = LARGE, items: int = 0) -> str:
    """A job that has ended with this output, and with so many streamed items of the same."""
    id = await w.submit()
    worker = Worker(w)
    (job,) = await worker.take()
    if items:
        chunks = Chunks(id=job.id, token=job.token, seq=1, items=[msgspec.Raw(INLINE)] * items)
        await worker.say(chunks=[chunks])
    await worker.finish(job, output)
    return id


def fill(w: World) -> None:
    """Others leave as much unread as there is room for."""
    w.gateway.unread.hold(OTHER, w.gateway.unread.total_bytes)


def empty(w: World) -> None:
    """They have read it."""
    w.gateway.unread.leave(OTHER, w.gateway.unread.total_bytes)


Ask = Callable[[World, str], Call]

ASKED: dict[str, Ask] = {
    "status": lambda w, id: call(w, "GET", f"status/{id}"),
    "status-sync": lambda w, id: call(w, "GET", f"status-sync/{id}"),
    "cancel": lambda w, id: call(w, "POST", f"cancel/{id}"),
    "stream": lambda w, id: call(w, "GET", f"stream/{id}"),
    "stream by offset": lambda w, id: call(w, "GET", f"stream/{id}?offset=0"),
    "events": lambda w, id: call(w, "GET", f"stream/{id}", accept="text/event-stream"),
}


@pytest.mark.parametrize("output", [LARGE, INLINE], ids=["a file", "a row"])
@pytest.mark.parametrize("kind", ASKED)
async def test_a_large_answer_waits_until_others_have_read_theirs(kind: str, output: bytes) -> None:
    async with world() as w:
        id = await done(w, output, items=3)
        fill(w)
        asked = ASKED[kind](w, id)
        await settle()
        assert not asked.done
        empty(w)
        answer = await asked.answer()
        assert answer.status == 200
        assert answer.body.count(b"x" * 1_000) >= len(INLINE) // 1_100
        assert w.gateway.unread.held_bytes == 0


async def test_small_answers_do_not_wait() -> None:
    async with world() as w:
        id = await done(w, b"1")
        fill(w)
        for path in (f"status/{id}", f"stream/{id}", "health", "requests"):
            assert (await call(w, "GET", path).answer()).status == 200
        assert (await call(w, "POST", "run", b'{"input": 1}').answer()).status == 200


async def test_one_that_waited_too_long_is_told_to_come_back_and_its_stream_has_lost_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unread, "WAIT_SECONDS", 0.01)
    async with world() as w:
        id = await done(w, b"1", items=3)
        fill(w)
        refused = await call(w, "GET", f"stream/{id}").answer()
        assert (refused.status, refused.headers[b"retry-after"]) == (503, b"1")
        assert "ask for the status or stream of this job again" in refused.json["error"]
        assert w.gateway.measures.counts[table.ANSWERS_REFUSED] == {(): 1}
        empty(w)
        assert len((await call(w, "GET", f"stream/{id}").answer()).json["stream"]) == 3


@pytest.mark.parametrize("output", [LARGE, INLINE], ids=["a file", "a row"])
async def test_who_waits_for_the_end_of_its_job_waits_for_room_too(output: bytes) -> None:
    async with world() as w:
        fill(w)
        asked = call(w, "POST", "runsync", b'{"input": 1}')
        worker = Worker(w)
        (job,) = await worker.take(wait_ms=1_000)
        await worker.finish(job, output)
        await settle()
        assert not asked.done
        empty(w)
        assert json.dumps((await asked.answer()).json["output"]).encode() == output


async def test_an_output_that_grows_when_it_is_unpacked_waits_as_well() -> None:
    w = World(compress=True)
    await w.sweep()
    await w.register()
    id = await done(w)
    fill(w)
    asked = ASKED["status"](w, id)
    await asyncio.to_thread(lambda: None)
    await settle()
    assert not asked.done
    empty(w)
    assert len((await asked.answer()).body) > PIECE
    await w.gateway.close()


async def test_a_client_that_goes_away_leaves_its_place() -> None:
    async with world() as w:
        id = await done(w)
        fill(w)
        asked = ASKED["status"](w, id)
        await settle()
        asked.hang_up()
        await asked.answer()
        assert w.gateway.measures.counts[table.ANSWERS_REFUSED] == {(): 0}
        empty(w)
        assert w.gateway.unread.held_bytes == 0


async def test_a_reader_of_events_holds_no_room_while_nothing_comes() -> None:
    async with world() as w:
        w.gateway.ready = True
        id = await w.submit()
        worker = Worker(w)
        (job,) = await worker.take()
        chunks = Chunks(id=job.id, token=job.token, seq=1, items=[msgspec.Raw(INLINE)])
        await worker.say(chunks=[chunks])
        asked = ASKED["events"](w, id)
        await settle()
        assert not asked.done
        assert w.gateway.unread.held_bytes == 0
        await worker.finish(job)
        assert (await asked.answer()).status == 200


def shelves() -> tuple[Unread, Callable[[str], Shelf]]:
    some = Unread(TOTAL, Measures())
    return some, lambda owner: Shelf(some, owner, here)


async def test_an_answer_counts_as_what_it_is_in_the_end() -> None:
    some, shelf = shelves()
    mine = shelf("a")
    assert mine.fits(PIECE)
    assert mine.hold(2 * PIECE)
    assert some.held_bytes == 2 * PIECE
    assert mine.hold(PIECE)
    assert some.held_bytes == PIECE
    assert not mine.hold(FREE_BYTES)
    assert some.held_bytes == 0
    mine.end()
    mine.end()
    assert some.held_bytes == 0


async def test_no_key_leaves_more_than_half_of_it_unread() -> None:
    _, shelf = shelves()
    assert shelf("a").fits(PIECE)
    again = shelf("a")
    assert not again.fits(PIECE)
    assert shelf("b").fits(PIECE)
    assert again.fits(FREE_BYTES)


async def test_keys_that_read_nothing_leave_room_for_those_that_do() -> None:
    _, shelf = shelves()
    for owner in ("a", "b", "c"):
        while shelf(owner).fits(TOTAL // 50):
            pass
    assert shelf("d").fits(TOTAL // 10)


async def test_one_that_waits_with_another_size_in_hand_gives_that_up_first() -> None:
    some, shelf = shelves()
    mine, other = shelf("a"), shelf("b")
    assert mine.fits(PIECE)
    assert other.fits(PIECE)
    assert not mine.fits(2 * PIECE)
    assert some.held_bytes == PIECE
    waiting: Awaitable[None] = asyncio.ensure_future(mine.wait(2 * PIECE))
    await settle()
    other.end()
    await waiting
    assert some.held_bytes == 2 * PIECE
