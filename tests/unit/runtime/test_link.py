"""One connection to the gateway, over a real socket."""

import contextlib
import socket
import threading

import pytest

from submodel.serverless.link import Link

BODY = b"x" * 2**25
PIECE_BYTES = 2**17
SILENCE_SECONDS = 1.0


class SlowReader(threading.Thread):
    """Takes one request in pieces with pauses between them, and answers it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"

    def run(self) -> None:
        pause = threading.Event()
        with self._server, self._server.accept()[0] as connected:
            rest = len(BODY)
            while rest > 0:
                rest -= len(connected.recv(PIECE_BYTES, socket.MSG_WAITALL))
                pause.wait(0.01)
            connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")


@pytest.mark.slow
def test_a_large_result_may_take_longer_than_the_gateway_may_be_silent() -> None:
    reader = SlowReader()
    reader.start()
    with contextlib.closing(Link(reader.url, lambda: "")) as link:
        reply = link.send("POST", "/", BODY, SILENCE_SECONDS)
    assert (reply.status, reply.body) == (200, b"{}")
