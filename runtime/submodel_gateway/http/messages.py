"""One HTTP request and its answer on raw ASGI: bounded bodies, typed query values, JSON out.

A framework would cost several times as much per request as everything else here together.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from submodel.contract.wire import encode
from submodel_gateway.errors import InvalidRequest, TooLarge, Unsupported
from submodel_gateway.service.admission import Pass
from submodel_gateway.service.bodies import Stay
from submodel_gateway.service.waiting import Hangup

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

Header = tuple[bytes, bytes]
ErrorBody = Callable[[int, str], bytes]
"""The JSON text of an error, from its status and its sentence."""

_JSON = (b"content-type", b"application/json")
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


def sentence(status: int, text: str) -> bytes:
    """An error as most callers read it."""
    return encode({"error": text})


class Connection:
    """What a request can know of its client's connection beyond ASGI; the server puts it into the scope.

    It tells of its end: a task per held request that waits for one would cost as much as all else that is done for it.
    """

    SCOPE_KEY = "submodel.connection"

    def __init__(self) -> None:
        self._lost = False
        self._hangups: set[Hangup] = set()

    def watch(self) -> Hangup:
        """A future that is done as soon as the connection is lost."""
        hangup: Hangup = asyncio.get_running_loop().create_future()
        if self._lost:
            hangup.set_result(None)
        else:
            self._hangups.add(hangup)
        return hangup

    def forget(self, hangup: Hangup) -> None:
        self._hangups.discard(hangup)

    def whole_answer(self) -> AbstractContextManager[None]:
        """Within it an answer is sent from its head to its end, so that the server may write it at once."""
        return nullcontext()

    def lose(self) -> None:
        """The client has gone away."""
        self._lost = True
        for hangup in self._hangups:
            if not hangup.done():
                hangup.set_result(None)
        self._hangups.clear()


class Request:
    """A request as the routes see it. `path` holds the decoded segments, without the leading slash."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.principal = ""
        """Who sent it, once it was let in."""

        self.account = ""
        """Whose limits count."""

        self.admitted: Pass | None = None
        """It is under way until its answer is there."""

        self.stay: Stay | None = None
        """The room for its body, where that is bounded."""

        self.operation = "none"
        """What the metrics call it; `none` where nothing is."""

        self.error_body: ErrorBody = sentence
        """How this caller reads errors."""

        self.path: list[str] = scope["path"].strip("/").split("/")
        self._query: bytes = scope["query_string"]
        # The first of a name counts.
        self._headers: dict[bytes, bytes] = dict(reversed(scope["headers"]))
        self._receive = receive
        self.connection: Connection = scope[Connection.SCOPE_KEY]
        self._hangup: Hangup | None = None

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

    def whole(self, name: str) -> int | None:
        """A query parameter that is a whole number, not negative. Raises `InvalidRequest`."""
        text = self.query(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdigit() and len(text) <= len(str(WHOLE_MAX))) or int(text) > WHOLE_MAX:
            raise InvalidRequest(f"query parameter {name} is {text[:40]!r}; give a whole number from 0 to {WHOLE_MAX}")
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
            raise _too_large(limit)
        if known and self.stay is not None:
            await self.stay.begin(int(length))
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise InvalidRequest("the body ended before its time")
            part = message.get("body", b"")
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            if not known and self.stay is not None:
                await self.stay.grow(size)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts) if len(parts) > 1 else part

    def forget_body(self) -> None:
        """What the body held is somewhere else by now: its room is free, though the answer takes time."""
        if self.stay is not None:
            self.stay.end()

    def hangup(self) -> Hangup:
        """A future that is done when the client goes away."""
        self._hangup = self.connection.watch()
        return self._hangup

    def close(self) -> None:
        """The answer is on its way; nobody watches the client any more."""
        self.forget_body()
        if self._hangup is not None:
            self.connection.forget(self._hangup)
        if self.admitted is not None:
            self.admitted.end()


async def send_json(send: Send, status: int, body: bytes, headers: Iterable[Header] = ()) -> None:
    """Write an answer whose body is JSON text."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_nothing(send: Send, headers: Iterable[Header] = ()) -> None:
    """Write a 204."""
    await send({"type": "http.response.start", "status": 204, "headers": list(headers)})
    await send({"type": "http.response.body"})


async def send_stream(send: Send, answer: Streamed, headers: Iterable[Header] = ()) -> None:
    """Write the parts as they come. Raises what `parts` raises: the server breaks the connection off then."""
    kind = [(b"content-type", answer.content_type), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": 200, "headers": [*kind, *headers]})
    async with aclosing(answer.parts) as parts:
        async for part in parts:
            await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body"})


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit} bytes; send less, or pass a reference to the data")
