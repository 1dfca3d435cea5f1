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
"""How long an answer is waited for that may never come, because the gateway waits too; nothing may hang on it."""

END_SECONDS = 30


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
        """What comes back for these bytes on a connection of their own, which the last of them ends."""
        with self._sent(sent) as line:
            return read_answers(b"".join(_parts(line)))

    def answer(self, *sent: bytes) -> Answer:
        """What comes back first for these bytes on a connection of their own, whether that ends or not."""
        received = b""
        with self._sent(sent) as line:
            for part in _parts(line):
                received += part
                if found := read_answers(received):
                    return found[0]
        raise AssertionError(f"no answer: {received!r}")

    def answers_or_waits(self, *sent: bytes) -> list[Answer]:
        """What comes back while the gateway is waited for, which may wait for more: it may have had no time to."""
        with self._sent(sent) as line:
            return read_answers(b"".join(_hung_up(line)))

    @contextmanager
    def _sent(self, parts: Iterable[bytes]) -> Iterator[socket.socket]:
        with self.connect() as line:
            try:
                for part in parts:
                    line.sendall(part)
            except ConnectionError:
                pass  # it was closed before all of it was sent; what it said before is read
            yield line

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
    """The answers in what a connection brought; one that was cut off is left out."""
    found = []
    while b"\r\n\r\n" in received:
        head, _, received = received.partition(b"\r\n\r\n")
        status = int(head.split(b" ", 2)[1])
        if status == 100:
            continue
        length = next((int(value) for name, value in _headers(head) if name == b"content-length"), 0)
        if len(received) < length:
            break
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


def _parts(line: socket.socket) -> Iterator[bytes]:
    """Everything up to the end of the connection."""
    try:
        while part := line.recv(65_536):
            yield part
    except ConnectionError:
        pass  # closed with some of what was sent unread


def _hung_up(line: socket.socket) -> Iterator[bytes]:
    """The same; the end is brought about when nothing comes for a while."""
    line.settimeout(PATIENCE_SECONDS)
    try:
        yield from _parts(line)
    except TimeoutError:
        line.settimeout(END_SECONDS)
        line.shutdown(socket.SHUT_WR)
        yield from _parts(line)
