"""A gateway process under attack, seen from a socket: what it answers, what it holds, and whether it still serves."""

import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway_ports import register
from tests.support.live_gateway import LiveGateway

LAST = b"GET /v2/ns.app/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
"""A sound request that ends its connection."""

PATIENCE_SECONDS = 0.3
"""How long an answer is waited for that may never come, because the gateway waits too."""

END_SECONDS = 20


@dataclass(frozen=True)
class Answer:
    """One HTTP answer."""

    status: int
    head: bytes
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Target:
    """The gateway."""

    def __init__(self, gateway: LiveGateway) -> None:
        self.gateway = gateway
        host, _, port = gateway.public.removeprefix("http://").rpartition(":")
        self.address = (host, int(port))

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, timeout=END_SECONDS)

    def answers(self, *sent: bytes) -> list[Answer]:
        """What comes back for these bytes on a connection of their own, until it ends."""
        with self.connect() as line:
            try:
                for part in sent:
                    line.sendall(part)
            except ConnectionError:
                pass  # it was closed before all of it was sent; what it said before is read
            return read_answers(_received(line))

    def serves(self) -> bool:
        """Whether a sound request is answered."""
        return [answer.status for answer in self.answers(LAST)] == [200]

    def peak_mb(self) -> float:
        """The most memory that the serving process has held."""
        for line in Path(f"/proc/{self.gateway.serving_pid()}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise AssertionError("no VmHWM")


@contextmanager
def target(folder: Path, **environ: str) -> Iterator[Target]:
    """A gateway with the endpoint `ns.app`."""
    with LiveGateway(folder, **environ) as gateway:
        register(gateway, "ns.app")
        yield Target(gateway)


def read_answers(received: bytes) -> list[Answer]:
    """The answers in what a connection brought; one that was cut off in its head is left out."""
    found = []
    while b"\r\n\r\n" in received:
        head, _, received = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            continue
        length = next((int(value) for name, value in _headers(head) if name == b"content-length"), 0)
        found.append(Answer(status, head, received[:length]))
        received = received[length:]
    return found


def _headers(head: bytes) -> Iterable[tuple[bytes, bytes]]:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        yield name.lower(), value.strip()


def has_come(line: socket.socket) -> bool:
    """Whether some of an answer is there to be read; it stays there."""
    line.setblocking(False)
    try:
        return bool(line.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False
    finally:
        line.settimeout(END_SECONDS)


def _received(line: socket.socket) -> bytes:
    """Everything up to the end of the connection, which is brought about when the gateway waits for more."""
    parts: list[bytes] = []
    line.settimeout(PATIENCE_SECONDS)
    try:
        while part := line.recv(65_536):
            parts.append(part)
    except TimeoutError:
        line.settimeout(END_SECONDS)
        line.shutdown(socket.SHUT_WR)
        while part := line.recv(65_536):
            parts.append(part)
    except ConnectionError:
        pass  # closed with some of what was sent unread
    return b"".join(parts)
