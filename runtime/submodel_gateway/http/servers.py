"""Two uvicorn servers in one event loop, on sockets that were bound before and may outlive this process."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

from submodel_gateway.http.messages import Asgi
from submodel_gateway.http.protocol import BoundedProtocol, Bounds, protocol
from submodel_gateway.sockets import BACKLOG

KEEP_ALIVE_SECONDS = 75
SHUTDOWN_SECONDS = 25
"""How long requests that are under way may take when the process goes down."""


class Servers:
    """One application per bound socket; `run` serves until `stop`."""

    def __init__(self, apps: list[tuple[Asgi, socket.socket, Bounds]]) -> None:
        self._servers = [(_Server(_config(app, protocol(bounds))), listener) for app, listener, bounds in apps]

    async def run(self) -> None:
        await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in self._servers))

    def stop(self) -> None:
        """Accept nothing more; `run` returns when what is open has been answered."""
        for server, _ in self._servers:
            server.should_exit = True


class _Server(uvicorn.Server):
    """Signals are the business of `__main__`: it has more than one server to stop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _config(app: Asgi, bounded: type[BoundedProtocol]) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=bounded,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        backlog=BACKLOG,
    )
