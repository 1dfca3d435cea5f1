"""A connection on the loop that the gateway runs on."""

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from submodel_gateway.http.messages import Request
from submodel_gateway.http.peers import Bounds, Peers
from submodel_gateway.http.protocol import PIPELINED_MAX, READ_BYTES, HttpConnection

GET = b"GET / HTTP/1.1\r\n\r\n"
NOTICED_SECONDS = 20
"""Far more than it takes; without a bound a defect would hang the test."""


async def answer_after_the_end(sent: bytes, pair: tuple[socket.socket, socket.socket] | None = None) -> None:
    ours, theirs = pair or socket.socketpair()
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def app(request: Request) -> None:
        await request.hangup()
        request.line.answer(200, b"x" * 1_000_000, ())
        if not answered.done():
            answered.set_result(None)

    await asyncio.get_running_loop().create_connection(lambda: HttpConnection(app, Peers(Bounds())), sock=ours)
    theirs.sendall(sent)
    theirs.close()
    async with asyncio.timeout(NOTICED_SECONDS):
        await answered


def test_an_answer_to_a_client_that_has_gone_away_is_dropped() -> None:
    uvloop.run(answer_after_the_end(GET))


def test_a_client_that_goes_away_is_noticed_although_another_request_of_it_waits() -> None:
    uvloop.run(answer_after_the_end(GET * PIPELINED_MAX))


@pytest.mark.skipif(sys.platform != "linux", reason="no other system tells")
@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
def test_a_client_that_goes_away_is_noticed_although_too_many_requests_of_it_wait_to_be_read_on(
    run: Callable[[Coroutine[None, None, None]], None],
) -> None:
    run(answer_after_the_end(GET * 100, tcp()))


def test_requests_that_come_faster_than_they_are_answered_are_left_in_the_network() -> None:
    most, read_at_once = uvloop.run(most_waiting(20_000)), READ_BYTES // len(GET)
    assert most <= PIPELINED_MAX + read_at_once + 2


async def most_waiting(count: int) -> int:
    """How many of so many requests, sent without a pause, the gateway held at once."""
    ours, theirs = tcp()
    come = answered = most = 0
    all_answered = asyncio.Event()

    async def app(request: Request) -> None:
        nonlocal answered
        answered += 1
        request.line.answer(204, None, ())
        if answered == count:
            all_answered.set()

    class Counted(HttpConnection):
        def on_headers_complete(self) -> None:
            nonlocal come, most
            come += 1
            most = max(most, come - answered)
            super().on_headers_complete()

    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: Counted(app, Peers(Bounds())), sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    reading = asyncio.ensure_future(reader.read())
    writer.write(GET * count)
    async with asyncio.timeout(NOTICED_SECONDS):
        await all_answered.wait()
    writer.close()
    await reading
    return most


def tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        return listener.accept()[0], client


def test_a_whole_answer_that_is_still_being_read_is_not_the_last_one_without_having_said_so() -> None:
    uvloop.run(asked_after_a_large_answer())


async def asked_after_a_large_answer() -> None:
    ours, theirs = tcp()
    size, written = 8_000_000, asyncio.Event()
    peers = Peers(Bounds())

    async def app(request: Request) -> None:
        request.line.answer(200, b"x" * size, ())
        written.set()
        await request.line.read()

    await asyncio.get_running_loop().create_connection(lambda: HttpConnection(app, peers), sock=ours)
    reader, writer = await asyncio.open_connection(sock=theirs)
    async with asyncio.timeout(NOTICED_SECONDS):
        writer.write(GET)
        await written.wait()
        peers.part()
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"connection: close" not in head
        await reader.readexactly(size)
        writer.write(GET)
        assert b"connection: close" in await reader.readuntil(b"\r\n\r\n")
        assert len(await reader.read()) == size
    writer.close()
