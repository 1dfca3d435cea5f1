"""The connection as the server writes to it, on the loop that the gateway runs on."""

import asyncio
import socket

import uvloop

from submodel_gateway.http.protocol import Line


async def answer_after_the_end() -> None:
    ours, theirs = socket.socketpair()
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, sock=ours)
    theirs.close()
    line = Line(transport)
    with line.whole_answer():
        line.write(b"HTTP/1.1 200 OK\r\n\r\n")
        transport.abort()
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(lost.set_result, None)
        await lost
    assert transport.is_closing()


def test_an_answer_to_a_client_that_has_gone_away_is_dropped() -> None:
    uvloop.run(answer_after_the_end())
