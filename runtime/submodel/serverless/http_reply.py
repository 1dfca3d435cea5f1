"""Reads one HTTP/1.1 answer from a connection. Pure but for the function that receives bytes; used by `link`.

The standard library's parser makes a mail message of every head: that costs more time than the rest of an exchange, and
more memory than the rest of the worker.
"""

from collections.abc import Callable
from dataclasses import dataclass

HEAD_BYTES_MAX = 64 * 1024
_BODILESS = (204, 304)


class BrokenReply(ConnectionError):
    """The connection ended in the middle of an answer, or what came is not HTTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, and whether its connection can carry another one."""

    status: int
    body: bytes
    reusable: bool = True


def read_reply(receive: Callable[[], bytes]) -> Reply:
    """The next answer; `receive` waits for bytes and gives none at the end of the connection.

    Raises `BrokenReply`, and what `receive` raises.
    """
    stream = _Stream(receive)
    status, fields, version = _head(stream)
    while 100 <= status < 200:
        status, fields, version = _head(stream)
    reusable = _keeps(fields, version)
    if status in _BODILESS:
        body = b""
    elif b"chunked" in fields.get(b"transfer-encoding", b"").lower():
        body = _chunked(stream)
    elif (length := fields.get(b"content-length")) is not None:
        body = stream.exactly(_number(length, 10))
    else:
        body, reusable = stream.everything(), False
    return Reply(status, body, reusable and not stream.rest)


class _Stream:
    """What has come and was not read yet is `rest`."""

    def __init__(self, receive: Callable[[], bytes]) -> None:
        self._receive = receive
        self.rest = b""

    def _more(self) -> None:
        received = self._receive()
        if not received:
            raise BrokenReply("the connection ended before the answer did")
        self.rest += received

    def until(self, mark: bytes) -> bytes:
        while (end := self.rest.find(mark)) < 0:
            if len(self.rest) > HEAD_BYTES_MAX:
                raise BrokenReply("the answer's head has no end")
            self._more()
        found, self.rest = self.rest[:end], self.rest[end + len(mark) :]
        return found

    def exactly(self, size: int) -> bytes:
        if len(self.rest) < size:
            parts, have = [self.rest], len(self.rest)
            self.rest = b""
            while have < size:
                self._more()
                parts.append(self.rest)
                have += len(self.rest)
                self.rest = b""
            self.rest = b"".join(parts)
        found, self.rest = self.rest[:size], self.rest[size:]
        return found

    def everything(self) -> bytes:
        parts = [self.rest]
        while received := self._receive():
            parts.append(received)
        self.rest = b""
        return b"".join(parts)


def _head(stream: _Stream) -> tuple[int, dict[bytes, bytes], bytes]:
    first, *lines = stream.until(b"\r\n\r\n").split(b"\r\n")
    version, _, after = first.partition(b" ")
    if not version.startswith(b"HTTP/1.") or not after[:3].isdigit():
        raise BrokenReply("what answered does not speak HTTP/1.1")
    fields = {}
    for line in lines:
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    return int(after[:3]), fields, version


def _keeps(fields: dict[bytes, bytes], version: bytes) -> bool:
    wish = fields.get(b"connection", b"").lower()
    return b"keep-alive" in wish if version == b"HTTP/1.0" else b"close" not in wish


def _chunked(stream: _Stream) -> bytes:
    parts = []
    while size := _number(stream.until(b"\r\n").partition(b";")[0], 16):
        parts.append(stream.exactly(size))
        stream.until(b"\r\n")
    while stream.until(b"\r\n"):
        pass  # trailers
    return b"".join(parts)


def _number(text: bytes, base: int) -> int:
    try:
        number = int(text, base)
    except ValueError:
        number = -1
    if number < 0:
        raise BrokenReply("the length of the answer cannot be read")
    return number
