"""Connections that send too much or too slowly are ended; the others do not notice."""

import asyncio
import json
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from submodel_gateway.http import answers
from submodel_gateway.http.answers import Route
from submodel_gateway.http.messages import Reply, Request, Streamed
from submodel_gateway.http.peers import Bounds
from submodel_gateway.http.servers import Servers
from submodel_gateway.settings import Address
from submodel_gateway.sockets import bind
from tests.support.gateway_world import settle

SMALL = Bounds(head_bytes=4_096, headers=20, body_bytes=100, connections=50)
SHORT = replace(SMALL, head_seconds=0.2, body_seconds=0.2)
"""For what is to be late: whatever else waits is late too, on a busy machine."""


async def route(request: Request) -> bytes:
    return b'{"bytes": %d}' % len(await request.body(100_000))


@asynccontextmanager
async def server(bounds: Bounds = SMALL, route: Route = route) -> AsyncIterator[socket.socket]:
    listener = bind(Address("127.0.0.1", 0), "LISTEN")
    servers = Servers([(answers.application(route), listener, bounds)])
    running = asyncio.create_task(servers.run())
    yield listener
    servers.stop()
    await running


async def ask(listener: socket.socket, *parts: bytes) -> bytes:
    """What comes back until the gateway closes the connection."""
    reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
    for part in parts:
        writer.write(part)
        await writer.drain()
    try:
        return await reader.read()
    finally:
        writer.close()


def request(body: bytes = b"", *headers: bytes) -> bytes:
    lines = [b"POST / HTTP/1.1", b"Host: x", b"Connection: close", b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


async def test_an_ordinary_request_is_served() -> None:
    async with server() as listener:
        assert (await ask(listener, request(b"x" * 50_000))).endswith(b'{"bytes": 50000}')


async def test_heads_that_are_too_large_are_refused_with_a_sentence() -> None:
    async with server() as listener:
        for head in (request(b"", b"A: " + b"x" * 5_000), request(b"", *[b"A: 1"] * 30)):
            answer = await ask(listener, head)
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert b"too large" in answer
        assert (await ask(listener, b"GET /" + b"x" * 5_000)).startswith(b"HTTP/1.1 431 ")


async def test_a_head_that_never_ends_is_cut_off_before_it_is_kept() -> None:
    async with server() as listener:
        answer = await ask(listener, b"GET / HTTP/1.1\r\n", *[b"A: " + b"x" * 1_000 + b"\r\n"] * 5)
        assert answer.startswith(b"HTTP/1.1 431 ")


CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "frame",
    [b"0\r\n" + b"A: 1\r\n" * 6_500, b"0\r\nA: " + b"x" * 39_000, b"3;" + b"x" * 39_000],
    ids=["trailer fields", "a trailer field", "an extension of a chunk"],
)
async def test_what_frames_a_chunked_body_is_bounded_as_heads_are(frame: bytes) -> None:
    async with server() as listener:
        # What comes at once with the head is not counted apart.
        answer = await ask(listener, CHUNKED + b"3\r\nabc\r\n" + frame)
        assert answer.startswith(b"HTTP/1.1 431 ")
        assert b"no extensions and trailers" in answer


async def test_a_body_of_many_chunks_and_a_few_trailer_fields_are_read_and_these_are_no_headers() -> None:
    async def told(request: Request) -> bytes:
        read = await request.body(100_000)
        return b'{"bytes": %d, "a": "%b"}' % (len(read), request.header(b"a").encode())

    async with server(route=told) as listener:
        whole = CHUNKED + b"1\r\nx\r\n" * 3_000 + b"0\r\nA: 1\r\n\r\n"
        assert b'{"bytes": 3000, "a": ""}' in await ask(listener, whole + request())


async def test_a_request_that_goes_wrong_after_its_answer_is_not_answered_again() -> None:
    async def early(request: Request) -> bytes:
        return b"{}"

    async with server(route=early) as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        writer.write(CHUNKED + b"3\r\nabc")
        first = await reader.readuntil(b"{}")
        writer.write(b"no chunk")
        assert (first + await reader.read()).count(b"HTTP/1.1 ") == 1
        writer.close()


async def test_connections_that_say_nothing_or_stop_in_a_head_are_closed() -> None:
    async with server(SHORT) as listener:
        ended = await asyncio.gather(ask(listener), ask(listener, b"POST / HT"), ask(listener, request()[:-10]))
        assert set(ended) == {b""}


async def test_a_body_that_stops_is_given_up() -> None:
    async with server(SHORT) as listener:
        assert b'"bytes"' not in await ask(listener, request(b"x" * 1_000)[:-500])


@pytest.fixture
async def let_pass(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets so many seconds pass for the event loop, at once: whoever waits for nothing else has not been slow."""
    loop, passed = asyncio.get_running_loop(), 0.0
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + passed)

    def more(seconds: float) -> None:
        nonlocal passed
        passed += seconds

    return more


async def test_a_slow_body_that_goes_on_is_waited_for(let_pass: Callable[[float], None]) -> None:
    async with server() as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        whole = request(b"x" * 1_000)
        writer.write(whole[:-1_000])
        for _ in range(10):
            writer.write(b"x" * 100)
            await settle()
            let_pass(SMALL.body_seconds / 4)
        assert (await reader.read()).endswith(b'{"bytes": 1000}')
        writer.close()


async def test_a_second_request_on_a_connection_has_bounds_of_its_own() -> None:
    async with server() as listener:
        keep = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nA: " + b"x" * 3_000 + b"\r\n\r\nabc"
        answer = await ask(listener, keep, keep, request(b"1234"))
        assert answer.count(b'{"bytes": 3}') == 2
        assert answer.endswith(b'{"bytes": 4}')


async def test_connections_beyond_the_limit_are_closed_and_the_others_live() -> None:
    async with server(Bounds(connections=3)) as listener:
        idle = [await asyncio.open_connection(*listener.getsockname()[:2]) for _ in range(3)]
        try:
            refused = await ask(listener, request(b"1"))
        except ConnectionError:
            refused = b""
        assert refused == b""
        idle[0][1].write(request(b"1"))
        assert (await idle[0][0].read()).endswith(b'{"bytes": 1}')
        for _, writer in idle:
            writer.close()


async def test_an_address_has_no_more_connections_than_it_may_and_gets_room_when_one_ends() -> None:
    async with server(Bounds(connections_per_address=2)) as listener:
        first, second = [await asyncio.open_connection(*listener.getsockname()[:2]) for _ in range(2)]
        assert (await ask_or_nothing(listener)) == b""
        other = await asyncio.open_connection(*listener.getsockname()[:2], local_addr=("127.0.0.2", 0))
        other[1].write(request(b"22"))
        assert (await other[0].read()).endswith(b'{"bytes": 2}'), "another address is not to blame"
        second[1].close()
        async with asyncio.timeout(20):
            while not (answer := await ask_or_nothing(listener)):
                continue
        assert answer.endswith(b'{"bytes": 3}')
        first[1].close()
        other[1].close()


async def ask_or_nothing(listener: socket.socket) -> bytes:
    try:
        return await ask(listener, request(b"333"))
    except ConnectionError:
        return b""


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_does_not_read_its_answer_is_let_go_and_a_slow_one_is_not(
    streamed: bool, let_pass: Callable[[float], None]
) -> None:
    size = 20_000_000

    async def large(request: Request) -> Reply:
        return Streamed(b"text/plain", parts()) if streamed else bytes(size)

    async def parts() -> AsyncGenerator[bytes, None]:
        for _ in range(20):
            yield bytes(size // 20)

    bounds = Bounds(unread_seconds=60, body_bytes=1_000, idle_seconds=20)
    async with server(bounds, large) as listener:
        deaf, slow = [await asyncio.open_connection(*listener.getsockname()[:2], limit=1_000) for _ in range(2)]
        for _, writer in (deaf, slow):
            writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        read = 0
        while part := await slow[0].read(1_000_000):
            read += len(part)
            let_pass(bounds.unread_seconds / 8)
        assert read > size
        assert len(await deaf[0].read()) < size, "what the system held for it, and no more"
        for _, writer in (deaf, slow):
            writer.close()


async def test_compressed_bodies_are_refused() -> None:
    async with server() as listener:
        answer = await ask(listener, request(b"x" * 10, b"Content-Encoding: gzip"))
        assert answer.startswith(b"HTTP/1.1 415 ")
        assert b"without Content-Encoding" in answer


@pytest.mark.parametrize("size", [0, 10, 99_000])
async def test_who_hangs_up_while_a_request_is_held_is_noticed(size: int) -> None:
    begun, held, noticed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold(request: Request) -> bytes:
        begun.set()
        await request.body(100_000)
        hangup = request.hangup()
        held.set()
        await hangup
        noticed.set()
        return b"{}"

    async with server(route=hold) as listener:
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        whole = request(b"x" * size)
        writer.write(whole[: len(whole) - size])
        await begun.wait()
        writer.write(whole[len(whole) - size :])
        await held.wait()
        writer.close()
        await noticed.wait()


async def test_who_has_hung_up_before_the_request_is_held_is_noticed_too() -> None:
    arrived, gone, noticed = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def hold(request: Request) -> bytes:
        arrived.set()
        await gone.wait()
        await request.hangup()
        noticed.set()
        return b"{}"

    async with server(route=hold) as listener:
        _, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        writer.write(request())
        await arrived.wait()
        writer.close()
        asyncio.get_running_loop().call_later(0.05, gone.set)
        await noticed.wait()


@pytest.mark.parametrize(
    "text", [b"hello\r\n\r\n", b"GET / HTTP/9.9.9\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET /\xff HTTP/1.1\r\n\r\n"]
)
async def test_what_is_no_http_is_answered_in_json_and_closed(text: bytes) -> None:
    async with server() as listener:
        head, _, body = (await ask(listener, text)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert b"content-type: application/json" in head
        assert list(json.loads(body)) == ["error"]
