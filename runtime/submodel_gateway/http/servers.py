"""HTTP servers in one event loop, on sockets that were bound before and may outlive this process."""

import asyncio
import socket
from functools import partial

from submodel_gateway.http.messages import App
from submodel_gateway.http.peers import Bounds, Peers
from submodel_gateway.http.protocol import HttpConnection
from submodel_gateway.sockets import BACKLOG

SHUTDOWN_SECONDS = 25
"""How long requests that are under way may take when the process goes down."""


class Servers:
    """One application per bound socket; `run` serves until `stop`."""

    def __init__(self, apps: list[tuple[App, socket.socket, Bounds]]) -> None:
        self._apps = [(app, listener, Peers(bounds)) for app, listener, bounds in apps]
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        serving = [
            await loop.create_server(partial(HttpConnection, app, peers), sock=sock, backlog=BACKLOG)
            for app, sock, peers in self._apps
        ]
        await self._stopping.wait()
        for server in serving:
            server.close()
        await asyncio.gather(*(peers.leave(SHUTDOWN_SECONDS) for _, _, peers in self._apps))

    def part(self) -> None:
        """Serve on, but let each answer be the last one of its connection: clients open the next one elsewhere.

        A client never learns whether a request was read that meets the end of its connection; it may not send that
        again. One that is told beforehand sends nothing into it.
        """
        for _, _, peers in self._apps:
            peers.part()

    def stop(self) -> None:
        """Accept nothing more; `run` returns when what is open has been answered."""
        self.part()
        self._stopping.set()
