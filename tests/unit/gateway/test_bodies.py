"""The room for request bodies: who gets in, who waits, who is told to come back, and when room is free again."""

import asyncio
import gc
import weakref
from typing import Any

import msgspec
import pytest

from submodel.contract.exchange import ExchangeRequest, Result
from submodel.contract.states import WorkerPhase
from submodel_gateway.auth.keys import Scope
from submodel_gateway.errors import Overloaded, Unavailable
from submodel_gateway.http.internal import internal_app
from submodel_gateway.http.messages import App
from submodel_gateway.http.public import public_app
from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service import bodies
from submodel_gateway.service.access import Caller
from submodel_gateway.service.bodies import FREE_BYTES, STEP_BYTES, Bodies, Stay
from submodel_gateway.service.room import NOBODY
from tests.support.gateway_world import ENDPOINT, TOKEN, Worker, World, here, settle, world
from tests.support.legacy_worker import Call

TOTAL = 1_000_000
PIECE = 400_000
BESIDE_NOTHING = 200_000
"""Bytes of a body that is read on the loop, without a thread."""


class Named:
    """Callers are who they say they are."""

    def caller(self, credential: str, endpoint: str, scope: Scope) -> Caller:
        return Caller(credential, credential)


def room() -> Bodies:
    return Bodies(TOTAL, Measures())


def test_a_client_that_finds_no_room_is_told_to_come_back_and_finds_some_later() -> None:
    some = room()
    some.enter("a", PIECE)
    some.enter("b", PIECE)
    with pytest.raises(Overloaded, match="send the same request again"):
        some.enter("c", PIECE)
    some.leave("a", PIECE)
    some.enter("c", PIECE)
    assert some.held_bytes == 2 * PIECE


def test_no_key_takes_more_than_half_and_callers_without_one_share_the_whole() -> None:
    some = room()
    some.enter("a", PIECE)
    with pytest.raises(Overloaded):
        some.enter("a", PIECE)
    some.enter("b", PIECE)
    others = room()
    others.enter(NOBODY, PIECE)
    others.enter(NOBODY, PIECE)


def test_a_body_larger_than_the_room_gets_in_alone() -> None:
    some = room()
    some.enter("a", 3 * TOTAL)
    with pytest.raises(Overloaded):
        some.enter("b", 1)
    some.leave("a", 3 * TOTAL)
    some.enter("b", 1)
    assert some.held_bytes == 1


async def test_workers_wait_for_room_in_their_order() -> None:
    some = room()
    some.enter("client", PIECE)
    some.enter("other", PIECE)
    let_in: list[str] = []

    async def deliver(name: str, size: int) -> None:
        await some.wait(("workers", name), size)
        let_in.append(name)

    waiting = [asyncio.create_task(deliver(name, size)) for name, size in (("large", PIECE), ("small", 1))]
    await settle(3)
    assert let_in == []
    with pytest.raises(Overloaded):
        some.enter("third", 1)
    some.leave("client", PIECE)
    await asyncio.gather(*waiting)
    assert let_in == ["large", "small"]


async def test_a_worker_that_waits_for_its_own_kind_holds_nobody_else_up() -> None:
    some = room()
    await some.wait("a", PIECE)
    own = asyncio.create_task(some.wait("a", PIECE))
    await settle(3)
    await some.wait("b", 1)
    some.enter("client", 1)
    assert not own.done()
    some.leave("a", PIECE)
    await own


async def test_a_worker_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "WAIT_SECONDS", 0.01)
    measures = Measures()
    some = Bodies(TOTAL, measures)
    some.enter("client", TOTAL)
    with pytest.raises(Unavailable, match="no room for what the worker sends"):
        await some.wait("worker", 1)
    assert measures.counts[table.BODIES_REFUSED] == {("client",): 0, ("worker",): 1}
    some.leave("client", TOTAL)
    assert some.held_bytes == 0


async def test_one_that_goes_away_while_it_waits_leaves_its_place_to_the_next() -> None:
    some = room()
    some.enter("client", TOTAL)
    first = asyncio.create_task(some.wait("a", TOTAL))
    second = asyncio.create_task(some.wait("b", 1))
    await settle(3)
    first.cancel()
    await settle(3)
    some.leave("client", TOTAL)
    await second
    assert some.held_bytes == 1


async def test_one_that_goes_away_just_as_room_becomes_free_leaves_its_place_to_the_next() -> None:
    some = room()
    some.enter("a", TOTAL)
    leaving, staying = (asyncio.create_task(some.wait(owner, PIECE)) for owner in "bc")
    await settle()
    leaving.cancel()
    some.leave("a", TOTAL)
    await staying
    assert leaving.cancelled()
    assert some.held_bytes == PIECE


async def test_one_that_goes_away_just_as_it_is_let_in_takes_no_room() -> None:
    some = room()
    some.enter("client", TOTAL)
    waiting = asyncio.create_task(some.wait("a", TOTAL))
    await settle(3)
    some.leave("client", TOTAL)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert some.held_bytes == 0


async def test_small_bodies_are_not_counted_and_those_without_a_length_as_they_grow() -> None:
    some = Bodies(2 * STEP_BYTES, Measures())
    stay = Stay(some, "a", patient=False)
    await stay.begin(FREE_BYTES)
    await stay.grow(FREE_BYTES)
    assert some.held_bytes == 0
    await stay.grow(FREE_BYTES + 1)
    await stay.grow(STEP_BYTES)
    assert some.held_bytes == STEP_BYTES
    with pytest.raises(Overloaded):
        await stay.grow(STEP_BYTES + 1)
    stay.end()
    stay.end()
    assert some.held_bytes == 0


class Front:
    """The public port of a world."""

    def __init__(self, w: World) -> None:
        self.app: App = public_app(w.gateway, Named())
        self.room = w.gateway.bodies

    def send(self, path: str, body: bytes, key: str = "a") -> Call:
        headers = {"authorization": f"Bearer {key}", "content-length": str(len(body))}
        return Call(self.app, "POST", f"/v2/{ENDPOINT}/{path}", headers, body)


def job(size: int) -> bytes:
    return b'{"input": "' + b"x" * size + b'"}'


async def test_a_request_that_waits_for_its_job_takes_up_no_room_while_it_waits() -> None:
    async with world(body_bytes=TOTAL) as w:
        front = Front(w)
        waiting: list[Call] = []
        for path in (*["runsync?wait=20000"] * 8, "openai/v1/chat/completions"):
            waiting.append(front.send(path, job(BESIDE_NOTHING)))
            await settle()
            assert front.room.held_bytes == 0
        assert not any(each.done for each in waiting)
        w.gateway.drain()
        for each in waiting:
            each.hang_up()
            await each.answer()


async def test_a_client_hears_429_with_the_time_to_come_back_and_small_requests_go_on() -> None:
    async with world(body_bytes=TOTAL) as w:
        front = Front(w)
        front.room.enter("elsewhere", TOTAL)
        answer = await front.send("run", job(PIECE)).answer()
        assert (answer.status, answer.headers[b"retry-after"]) == (429, b"1")
        assert "as many bytes of requests as it may" in answer.json["error"]
        assert (await front.send("run", job(100)).answer()).status == 200
        assert w.gateway.measures.counts[table.BODIES_REFUSED] == {("client",): 1, ("worker",): 0}
        told = await Call(internal_app(w.gateway, "token"), "GET", "/metrics", {}, b"").answer()
        assert b"submodel_http_body_bytes 1e+06" in told.body


async def test_a_result_waits_for_room_and_is_delivered() -> None:
    async with world(body_bytes=TOTAL) as w:
        front, worker = Front(w), Worker(w)
        await w.submit()
        (taken,) = await worker.take()
        front.room.enter("elsewhere", TOTAL)
        result = {"id": taken.id, "token": taken.token, "output": "x" * BESIDE_NOTHING}
        body = {"session": "s-1", "request": 9, "phase": "ready", "capacity": 1, "waitMs": 20_000, "results": [result]}
        posted = front.send(f"workers/{worker.name}/exchange", msgspec.json.encode(body), TOKEN)
        await settle()
        assert posted.unread
        front.room.leave("elsewhere", TOTAL)
        await settle()
        assert (await w.status(taken.id)).output is not None
        assert not posted.done, "it is held for the next job"
        assert front.room.held_bytes == 0, "and needs no room for that"
        await w.submit()
        assert (await posted.answer()).json["jobs"]


async def test_a_held_exchange_keeps_nothing_of_what_it_delivered() -> None:
    class Delivered(bytearray):
        """A buffer that tells when it is let go."""

    async with world() as w:
        worker = Worker(w)
        await w.submit()
        (taken,) = await worker.take()
        output = Delivered(b'"' + b"x" * PIECE + b'"')
        gone = weakref.ref(output)
        worker.held.clear()
        fields: dict[str, Any] = {"id": taken.id, "token": taken.token, "output": msgspec.Raw(memoryview(output))}
        held = asyncio.create_task(_deliver(w, worker, fields))
        del output, fields
        await settle()
        gc.collect()
        assert not held.done()
        assert gone() is None
        w.gateway.drain()
        await held


async def _deliver(w: World, worker: Worker, fields: dict[str, Any]) -> None:
    message = ExchangeRequest(
        session=worker.session, request=9, phase=WorkerPhase.READY, wait_ms=20_000, results=[Result(**fields)]
    )
    fields.clear()
    exchanged = w.gateway.workers.exchange(ENDPOINT, worker.name, TOKEN, message, here())
    del message
    await exchanged
