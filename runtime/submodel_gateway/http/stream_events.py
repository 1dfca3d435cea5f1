"""`stream/{id}` as server-sent events: every item with its place, so that a reader that was cut off goes on from there.

| Event | `id` | `data` |
|---|---|---|
| an item | `<attempt>-<number>` | `{"output": …}` |
| `reset` | `<attempt>-0` | `{"attempt": …}`: the job runs again, what was read before is void |
| `status`, the last one | `<attempt>-end` | the job, as `status` shows it |
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import suppress

from submodel.contract.states import JobState
from submodel.contract.wire import encode
from submodel_gateway.errors import InvalidRequest, NotFound, Unavailable
from submodel_gateway.http import answers, sse
from submodel_gateway.http.messages import Reply, Request, Streamed
from submodel_gateway.http.parameters import OFFSET, STREAM_WAIT
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.clients import Clients
from submodel_gateway.service.streams import BEGINNING, StreamPart, Streams
from submodel_gateway.service.tails import Place
from submodel_gateway.service.unread import Shelf

HEADER = "Last-Event-ID"
QUIET_MS = 15_000
"""How long nothing is sent at most."""

PIECE_BYTES = 65_536
"""What is put together at a time: a part may have many megabytes, and wait for its reader."""

_PLACE = re.compile(r"(\d{1,9})-(?:(\d{1,9})|end)")


def wanted(request: Request) -> bool:
    """Whether the caller asks for events."""
    return "text/event-stream" in request.header(b"accept").lower()


class StreamEvents:
    """Serves them. `closing` says whether the process is going down: readers come back to another one then."""

    def __init__(self, clients: Clients, streams: Streams, closing: Callable[[], bool]) -> None:
        self._clients = clients
        self._streams = streams
        self._closing = closing

    async def serve(self, request: Request, endpoint: str, id: str) -> Reply:
        """All of the stream, from where the reader was. Raises `NotFound`, and `InvalidRequest` for an odd place.

        A reader that has been told the end gets a 204, which tells browsers to stay away.
        """
        if request.query(STREAM_WAIT.name) is not None:
            raise InvalidRequest(f"{STREAM_WAIT.name} does not go with events, which come as long as the job goes on")
        told, hangup = _told(request.header(HEADER.lower().encode())), request.hangup()
        if told is None:
            part = await self._streams.after(endpoint, id, OFFSET.read(request) or 0, 0, hangup, request.shelf)
        else:
            place, ended = told
            part = await self._streams.follow(endpoint, id, place, 0, hangup, request.shelf)
            if ended and part.job.state.terminal and part.job.attempt == place.attempt:
                return None
        return Streamed(sse.CONTENT_TYPE, self._events(request, endpoint, id, part))

    async def _events(self, request: Request, endpoint: str, id: str, part: StreamPart) -> AsyncGenerator[bytes, None]:
        hangup, shelf = request.hangup(), request.shelf
        with suppress(NotFound, Unavailable), self._streams.tail(endpoint, id) as tail:
            # Its retention may pass, or it is retried and forgotten; or a reader comes back for the rest.
            while True:
                for news in _news(part):
                    yield news
                job, place = part.job, part.place
                del part, news  # the next one may take long
                if shelf is not None:
                    shelf.end()
                if job.state.terminal:
                    yield await self._end(job, shelf)
                    return
                if hangup.done() or self._closing():
                    return
                if job.state is JobState.IN_QUEUE:
                    place = BEGINNING  # it has no attempt that could be read on
                part = await self._streams.follow(endpoint, id, place, QUIET_MS, hangup, shelf, tail)

    async def _end(self, job: Job, shelf: Shelf | None) -> bytes:
        """The last event."""
        status = answers.job_answer(await self._clients.status(job.endpoint, job.id, shelf=shelf))
        return sse.event(status, "status", f"{job.attempt}-end")


def _news(part: StreamPart) -> Iterator[bytes]:
    """All of it as events, in pieces that are written one after another."""
    attempt, size = part.job.attempt, 0
    events = [sse.event(encode({"attempt": attempt}), "reset", f"{attempt}-0")] if part.restarted else []
    for number, item in enumerate(part.items, part.offset + 1):
        events.append(sse.event(b'{"output":' + item + b"}", id=f"{attempt}-{number}"))
        size += len(item)
        if size > PIECE_BYTES:
            yield b"".join(events)
            events, size = [], 0
    if events or not part.items:
        yield b"".join(events) or sse.COMMENT


def _told(text: str) -> tuple[Place, bool] | None:
    """What the reader was told last, and whether that was the end; None for a new reader."""
    if not text:
        return None
    if (found := _PLACE.fullmatch(text)) is None:
        raise InvalidRequest(f"{HEADER} is {text[:40]!r}; give the id of an event as it was sent")
    return Place(int(found[1]), int(found[2] or 0)), found[2] is None
