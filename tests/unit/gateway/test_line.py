"""A connection on the loop that the gateway runs on."""

import asyncio
import socket

import uvloop

from submodel_gateway.http.messages import Request
from submodel_gateway.http.peers import Bounds, Peers
from submodel_gateway.http.protocol import HttpConnection


async def answer_after_the_end() -> None:
    ours, theirs = socket.socketpair()
    answered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def app(request: Request) -> None:
        await request.hangup()
        request.line.answer(200, b"x" * 1_000_000, ())
        answered.set_result(None)

    await asyncio.get_running_loop().create_connection(lambda: HttpConnection(app, Peers(Bounds())), sock=ours)
    theirs.sendall(b"GET / HTTP/1.1\r\n\r\n")
    theirs.close()
    await answered


def test_an_answer_to_a_client_that_has_gone_away_is_dropped() -> None:
    uvloop.run(answer_after_the_end())
