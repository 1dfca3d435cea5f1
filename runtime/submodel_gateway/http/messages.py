"""One HTTP request and its answer, as routes see them: bounded bodies, typed query values, JSON out.

A framework would cost several times as much per request as everything else here together.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterable
from dataclasses import dataclass
from urllib.parse import parse_qs

from submodel.contract.wire import encode
from submodel_gateway.errors import InvalidRequest, TooLarge, Unsupported
from submodel_gateway.service.admission import Pass
from submodel_gateway.service.bodies import Stay
from submodel_gateway.service.unread import FREE_BYTES, Shelf, Unread
from submodel_gateway.service.waiting import Hangup

Header = tuple[bytes, bytes]
ErrorBody = Callable[[int, str, str], bytes]
"""The JSON text of an error, from its status, its sentence, and the id of the job that there may be all the same."""

Grow = Callable[[int], Awaitable[None]]

WHOLE_MAX = 9_999_999_999


@dataclass(frozen=True, slots=True)
class Answer:
    """JSON text with a status of its own."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Streamed:
    """An answer of status 200 that is written while it comes into being. `parts` is closed when the client is gone."""

    content_type: bytes
    parts: AsyncGenerator[bytes, None]


Reply = bytes | Answer | Streamed | None
"""What a route returns: the JSON text of a 200, more than that, or None for a 204."""


def sentence(status: int, text: str, job: str = "") -> bytes:
    """An error as most callers read it."""
    return encode({"error": text, "id": job} if job else {"error": text})


class Line(ABC):
    """What a request can know of its client, and how the client gets its answer; made by the server.

    It tells of the client's end: a task per held request that waits for one would cost as much as all else that is
    done for it.
    """

    __slots__ = ("_hangup", "_lost")

    def __init__(self) -> None:
        self._lost = False
        self._hangup: Hangup | None = None

    def hangup(self) -> Hangup:
        """A future that is done as soon as the client has gone away."""
        if self._hangup is None:
            self._hangup = asyncio.get_running_loop().create_future()
            if self._lost:
                self._hangup.set_result(None)
        return self._hangup

    def lose(self) -> None:
        """The client has gone away."""
        self._lost = True
        if self._hangup is not None and not self._hangup.done():
            self._hangup.set_result(None)

    @abstractmethod
    async def body(self, limit: int, grow: Grow | None) -> bytes:
        """The whole body. Raises `too_large`, and `InvalidRequest` when the client goes away in the middle of it.

        `grow` hears how large it is so far, and is waited for before more of it is read. Raises what that raises.
        """

    @abstractmethod
    def answer(self, status: int, body: bytes | None, headers: Iterable[Header]) -> None:
        """Write the whole answer: a body of JSON text, or None for no content. Whoever is gone does not get it."""

    @abstractmethod
    async def read(self) -> None:
        """Wait until the client has read what was written, or is gone."""

    @abstractmethod
    async def stream(self, answer: Streamed, headers: Iterable[Header]) -> None:
        """Write the parts of an answer as they come. Raises what they raise; the connection breaks off then."""


class Request:
    """A request as the routes see it.

    Args:
        path: decoded; kept as its segments, without the leading slash.
        headers: names in lower case.
    """

    __slots__ = (
        "_headers",
        "_query",
        "_shelf",
        "account",
        "admitted",
        "error_body",
        "line",
        "method",
        "operation",
        "path",
        "principal",
        "stay",
        "unread",
    )

    def __init__(self, method: str, path: str, query: bytes, headers: list[Header], line: Line) -> None:
        self.method = method
        self.principal = ""
        """Who sent it, once it was let in."""

        self.account: Hashable = ""
        """Whose limits count."""

        self.admitted: Pass | None = None
        """It is under way until its answer is there."""

        self.stay: Stay | None = None
        """The room for its body, where that is bounded."""

        self.unread: Unread | None = None
        """What its answer counts in until it is read, where that is bounded."""

        self._shelf: Shelf | None = None

        self.operation = "none"
        """What the metrics call it; `none` where nothing is."""

        self.error_body: ErrorBody = sentence
        """How this caller reads errors."""

        self.path = path.strip("/").split("/")
        self._query = query
        # The first of a name counts.
        self._headers: dict[bytes, bytes] = dict(reversed(headers))
        self.line = line

    def header(self, name: bytes) -> str:
        """The first header of that (lower-case) name, or an empty text."""
        return self._headers.get(name, b"").decode("latin-1")

    @property
    def id(self) -> bytes:
        """What the caller calls its request; empty when it does not say."""
        return self._headers.get(b"x-request-id", b"")

    def bearer(self) -> str:
        """The bearer token, or an empty text."""
        scheme, _, token = self.header(b"authorization").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else ""

    def credential(self) -> str:
        """What the caller shows, or an empty text. Clients of the hosted platforms send it in three ways."""
        authorization = self.header(b"authorization")
        if not authorization:
            return (self.header(b"x-apikey") or self.header(b"x-api-key")).strip()
        return self.bearer() or authorization.strip()

    def query(self, name: str) -> str | None:
        """The first value of a query parameter."""
        if not self._query:
            return None
        try:
            values = parse_qs(self._query.decode(), keep_blank_values=True)
        except UnicodeDecodeError as error:
            raise InvalidRequest("the query string is not UTF-8") from error
        return values[name][0] if name in values else None

    def whole(self, name: str, least: int = 0, largest: int = WHOLE_MAX) -> int | None:
        """A query parameter that is a whole number between these two. Raises `InvalidRequest`."""
        text = self.query(name)
        if text is None:
            return None
        digits = text.isascii() and text.isdigit() and len(text) <= len(str(largest))
        if not digits or not least <= int(text) <= largest:
            raise InvalidRequest(
                f"query parameter {name} is {text[:40]!r}; give a whole number from {least} to {largest}"
            )
        return int(text)

    async def body(self, limit: int) -> bytes:
        """The whole body. Raises `TooLarge` as soon as it is known to exceed `limit` bytes.

        Also `Overloaded` and `Unavailable`, when too much of others' is in memory.
        """
        if self.header(b"content-encoding").lower() not in ("", "identity"):
            raise Unsupported("compressed bodies are not taken; send the body as it is, without Content-Encoding")
        length = self.header(b"content-length")
        known = length.isdigit()
        if known and int(length) > limit:
            raise too_large(limit)
        if self.stay is None:
            return await self.line.body(limit, None)
        if known:
            await self.stay.begin(int(length))
        return await self.line.body(limit, None if known else self.stay.grow)

    def forget_body(self) -> None:
        """What the body held is somewhere else by now: its room is free, though the answer takes time."""
        if self.stay is not None:
            self.stay.end()

    def hangup(self) -> Hangup:
        """A future that is done when the client goes away."""
        return self.line.hangup()

    @property
    def shelf(self) -> Shelf | None:
        """The room for its answer, where that is bounded."""
        # Most requests have small answers, and need none.
        if self._shelf is None and self.unread is not None:
            self._shelf = Shelf(self.unread, self.account, self.hangup)
        return self._shelf

    def counts(self, size: int) -> bool:
        """Whether an answer of this size, which is on its way, takes room until it is read. It does from now on."""
        if size <= FREE_BYTES and self._shelf is None:
            return False
        return (shelf := self.shelf) is not None and shelf.hold(size)

    def forget_answer(self) -> None:
        """The answer has been read, or nobody is there to read it."""
        if self._shelf is not None:
            self._shelf.end()

    def close(self) -> None:
        """The answer is on its way."""
        self.forget_body()
        if self.admitted is not None:
            self.admitted.end()


App = Callable[[Request], Awaitable[None]]
"""Serves a request, and sees to it that it is answered."""


def too_large(limit: int) -> TooLarge:
    """What is said of a body beyond `limit`."""
    return TooLarge(f"the body is larger than {limit} bytes; send less, or pass a reference to the data")
