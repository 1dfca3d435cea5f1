"""HTTP/1.1 as the gateway speaks it: one request after another, whole and streamed answers, and how connections end."""

import asyncio
import logging
import socket
from collections.abc import AsyncGenerator

import pytest

from submodel_gateway.http import answers, protocol
from submodel_gateway.http.messages import Reply, Request, Streamed
from submodel_gateway.http.peers import Bounds
from submodel_gateway.http.servers import Servers
from submodel_gateway.settings import Address
from submodel_gateway.sockets import bind
from tests.integration.test_gateway_bounds import ask, request, route, server

KEPT = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b"
LAST = request(b"last")


async def test_requests_that_come_together_are_answered_one_after_another() -> None:
    under_way, most = 0, 0

    async def route(request: Request) -> bytes:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.to_thread(int)  # lets others run
        under_way -= 1
        return await request.body(100)

    async with server(route=route) as listener:
        answer = await ask(listener, KEPT % (1, b"1") + KEPT % (1, b"2") + LAST)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"1", b"2", b"last"]
    assert most == 1


async def test_many_requests_that_come_together_are_all_answered() -> None:
    async with server() as listener:
        answer = await ask(listener, KEPT % (1, b"1") * 200 + LAST)
    assert answer.count(b'{"bytes": 1}') == 200
    assert answer.endswith(b'{"bytes": 4}')


async def test_a_client_that_waits_for_a_word_before_its_body_gets_it() -> None:
    async with server() as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        writer.write(request(b"body", b"Expect: 100-continue")[:-4])
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body")
        assert (await reader.read()).endswith(b'{"bytes": 4}')
        writer.close()


OFFER = (
    b"POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
)
"""How Java's client begins its connections, and curl with `--http2`."""


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
async def test_a_request_that_offers_another_protocol_is_served_in_this_one(rest: bytes) -> None:
    async with server() as listener:
        answer = await ask(listener, OFFER + rest + LAST)
    bodies = [part.partition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b'{"bytes": 5}', b'{"bytes": 4}']


async def test_the_body_of_a_request_that_offers_another_protocol_may_come_later() -> None:
    async with server() as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        writer.write(OFFER + b"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"hello")
        writer.write(LAST)
        answer = await reader.read()
        writer.close()
    assert b'{"bytes": 5}' in answer
    assert answer.endswith(b'{"bytes": 4}')


async def test_a_request_that_asks_for_a_tunnel_is_the_last_of_its_connection() -> None:
    async with server() as listener:
        answer = await ask(listener, b"CONNECT /x HTTP/1.1\r\nHost: x\r\n\r\nanything else")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer


async def test_many_requests_that_offer_another_protocol_may_come_together() -> None:
    async with server() as listener:
        answer = await ask(listener, (OFFER + b"Content-Length: 5\r\n\r\nhello" + OFFER + b"\r\n") * 20 + LAST)
    assert (answer.count(b'{"bytes": 5}'), answer.count(b'{"bytes": 0}')) == (20, 20)
    assert answer.endswith(b'{"bytes": 4}')


async def test_a_body_that_nobody_wants_is_passed_over_and_the_connection_goes_on() -> None:
    async with server() as listener:
        answer = await ask(listener, KEPT % (300_000, b"x" * 300_000), LAST)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b'{"bytes": 4}')


async def test_what_is_no_http_after_a_request_does_not_take_its_answer() -> None:
    held = asyncio.Event()

    async def route(request: Request) -> bytes:
        await held.wait()
        return b"{}"

    async with server(route=route) as listener:
        reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
        writer.write(KEPT % (0, b""))
        writer.write(b"nonsense\r\n\r\n")
        asyncio.get_running_loop().call_later(0.05, held.set)
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"{}")


async def test_head_gets_the_head_alone() -> None:
    async with server() as listener:
        answer = await ask(listener, b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"content-type: application/json\r\ncontent-length: 12\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


async def parts() -> AsyncGenerator[bytes, None]:
    for part in (b"one ", b"", b"two"):
        yield part


async def streamed(request: Request) -> Reply:
    return Streamed(b"text/plain", parts())


@pytest.mark.parametrize(("version", "body"), [(b"1.1", b"4\r\none \r\n3\r\ntwo\r\n0\r\n\r\n"), (b"1.0", b"one two")])
async def test_a_streamed_answer_comes_in_chunks_where_they_are_known(version: bytes, body: bytes) -> None:
    async with server(route=streamed) as listener:
        answer = await ask(listener, b"GET / HTTP/%b\r\nConnection: close\r\n\r\n" % version)
    head, _, got = answer.partition(b"\r\n\r\n")
    assert (b"transfer-encoding: chunked" in head) == (version == b"1.1")
    assert got == body


async def test_a_stream_that_fails_breaks_its_connection_off(caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> AsyncGenerator[bytes, None]:
        yield b"one"
        raise RuntimeError("made to fail")

    async def route(request: Request) -> Reply:
        return Streamed(b"text/plain", failing())

    with caplog.at_level(logging.ERROR, "submodel_gateway"):
        async with server(route=route) as listener:
            answer = await ask(listener, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.endswith(b"3\r\none\r\n")
    assert "an answer broke off" in caplog.text


async def test_a_reader_that_does_not_read_holds_its_stream_up() -> None:
    made = 0

    async def endless() -> AsyncGenerator[bytes, None]:
        nonlocal made
        while True:
            made += 1
            yield b"x" * 100_000

    async def route(request: Request) -> Reply:
        return Streamed(b"text/plain", endless())

    async with server(route=route) as listener:
        with socket.create_connection(listener.getsockname()[:2]) as line:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            line.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            before = -1
            while made != before or made == 0:
                before = made
                await asyncio.sleep(0.05)  # noqa: TID251  # that nothing happens is what is looked for
            assert made < 200


async def test_a_server_that_stops_answers_what_it_serves_and_closes_what_is_idle() -> None:
    begun, held = asyncio.Event(), asyncio.Event()

    async def route(request: Request) -> bytes:
        begun.set()
        await held.wait()
        return b"{}"

    listener = bind(Address("127.0.0.1", 0), "LISTEN")
    servers = Servers([(answers.application(route), listener, Bounds())])
    running = asyncio.create_task(servers.run())
    idle, unused = await asyncio.open_connection(*listener.getsockname()[:2])
    busy, writer = await asyncio.open_connection(*listener.getsockname()[:2])
    writer.write(KEPT % (0, b""))
    await begun.wait()
    servers.stop()
    assert await idle.read() == b""
    assert not running.done()
    held.set()
    answer = await busy.read()
    assert answer.endswith(b"{}")
    assert b"connection: close" in answer
    await running
    unused.close()
    writer.close()


@pytest.mark.parametrize("before", [b"", LAST[:9]], ids=["new", "begun"])
async def test_a_request_that_is_on_its_way_while_a_server_stops_is_answered(
    before: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "COMING_SECONDS", 30.0)
    listener = bind(Address("127.0.0.1", 0), "LISTEN")
    servers = Servers([(answers.application(route), listener, Bounds())])
    running = asyncio.create_task(servers.run())
    reader, writer = await asyncio.open_connection(*listener.getsockname()[:2])
    writer.write(before)
    idle, used = await asyncio.open_connection(*listener.getsockname()[:2])
    used.write(KEPT % (4, b"once"))
    await idle.readuntil(b"}")
    servers.stop()
    assert await idle.read() == b"", "this server has left"
    writer.write(LAST[len(before) :])
    answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer
    used.close()
    writer.close()
    await running
