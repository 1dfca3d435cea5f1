"""What workers stream, as readers get it: each item once, from an offset, or one after another to the end.

How far readers without an offset have come is remembered here, and where gateways share a store also there.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from submodel.contract.states import JobState
from submodel_gateway.errors import StreamEnded
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.endpoints import Endpoints
from submodel_gateway.service.stores import Stores
from submodel_gateway.service.tails import Place, Tail
from submodel_gateway.service.unread import Shelf
from submodel_gateway.service.waiting import Hangup, Hold, JobWatchers

STREAM_ITEMS = 1_000
"""Streamed items per answer, unless it is the last one."""

CURSORS_MAX = 100_000
"""Jobs whose readers' places are kept, those that were read last: what another gateway forgets is not told here."""

_Start = Callable[[Job], int]
"""The offset at which a reader goes on, given the job as it is now."""

_Claim = Callable[["StreamPart"], Awaitable[bool]]
"""Whether a reader may have these items; else another one was faster."""

_Over = Callable[[Job], bool]
"""Whether the attempt that is being read has ended without an outcome."""


_Heard = Callable[[], "StreamPart | None"]
"""What a reader has been told of; None where only the store knows."""


@dataclass(frozen=True, slots=True)
class StreamPart:
    """Streamed items `offset + 1` to `offset + len(items)` of the current attempt."""

    job: Job
    offset: int
    items: list[bytes]
    restarted: bool = False
    """Whether what the reader has got before is void, because the job runs again."""

    @property
    def size(self) -> int:
        """Bytes of the items."""
        return sum(map(len, self.items))

    @property
    def place(self) -> Place:
        """Where the next read goes on."""
        return Place(self.job.attempt, self.offset + len(self.items))


BEGINNING = Place(0, 0)


class Streams:
    """Reads streams. Where there is a `shelf`, what is read has room on it; `Unavailable` is raised without any.

    Args:
        watchers: woken by the gateway after each commit.
    """

    def __init__(self, stores: Stores, endpoints: Endpoints, watchers: JobWatchers) -> None:
        self._stores = stores
        self._endpoints = endpoints
        self._watchers = watchers
        self._cursors: dict[str, Place] = {}
        self._told_cancelled: dict[str, str] = {}
        """Jobs, with their endpoints: at others there is no such job."""

    async def once(
        self, endpoint: str, id: str, wait_ms: int, hangup: Hangup, shelf: Shelf | None = None
    ) -> StreamPart:
        """The items that no such read has returned before, waiting up to `wait_ms` while the job goes on.

        There is a cursor per job, which starts again when another attempt does. Raises `NotFound`, and `StreamEnded`
        once the end of a cancelled job was told: clients of the hosted platforms would read on for ever.
        """
        if self._told_cancelled.get(id) == endpoint:
            raise StreamEnded(f"job {id} was cancelled and its stream was read to its end; an offset reads it again")

        async def claim(part: StreamPart) -> bool:
            return hangup.done() or await self._claimed(part)

        part = await self._held(endpoint, id, self._cursor, wait_ms, hangup, shelf, claim=claim)
        if part.job.state is JobState.CANCELLED and not part.items and not hangup.done():
            self._told_cancelled[id] = endpoint
        return part

    async def after(
        self, endpoint: str, id: str, offset: int, wait_ms: int, hangup: Hangup, shelf: Shelf | None = None
    ) -> StreamPart:
        """The items after `offset` of the current attempt, waiting as `once`; changes nothing. Raises `NotFound`."""
        return await self._held(endpoint, id, lambda job: offset, wait_ms, hangup, shelf)

    @contextmanager
    def tail(self, endpoint: str, id: str) -> Iterator[Tail]:
        """For who follows a stream for longer: what the next `follow` need not read."""
        tail = Tail()
        self._watchers.add(endpoint, id, tail)
        try:
            yield tail
        finally:
            self._watchers.remove(endpoint, id, tail)

    async def follow(
        self,
        endpoint: str,
        id: str,
        place: Place,
        wait_ms: int,
        hangup: Hangup,
        shelf: Shelf | None = None,
        tail: Tail | None = None,
    ) -> StreamPart:
        """As `after`, from a place in an attempt. Once that attempt is over, returns at once what the next one has."""

        def start(job: Job) -> int:
            return place.offset if job.attempt == place.attempt else 0

        def over(job: Job) -> bool:
            return place != BEGINNING and (job.attempt != place.attempt or job.state is JobState.IN_QUEUE)

        def heard() -> StreamPart | None:
            taken = tail.take(place) if tail is not None else None
            return StreamPart(taken[0], place.offset, taken[1]) if taken is not None else None

        part = await self._held(endpoint, id, start, wait_ms, hangup, shelf, over, heard=heard)
        return replace(part, restarted=True) if over(part.job) else part

    def forget(self, id: str) -> None:
        """The job is gone, and the reader's place in its stream with it."""
        self._cursors.pop(id, None)
        self._told_cancelled.pop(id, None)

    async def _held(
        self,
        endpoint: str,
        id: str,
        start: _Start,
        wait_ms: int,
        hangup: Hangup,
        shelf: Shelf | None,
        over: _Over = lambda job: False,
        claim: _Claim | None = None,
        heard: _Heard = lambda: None,
    ) -> StreamPart:
        self._endpoints.get(endpoint)
        with Hold(wait_ms, hangup) as hold:
            self._watchers.add(endpoint, id, hold)
            try:
                while True:
                    # Who has waited in vain hears from the store that there is nothing.
                    part = (None if hold.ended else heard()) or await self._part(endpoint, id, start)
                    if not (part.items or part.job.state.terminal or hold.ended or over(part.job)):
                        await hold.woken()
                    elif shelf is not None and not shelf.fits(size := part.size):
                        del part
                        await shelf.wait(size)
                    elif claim is None or await claim(part):
                        return part
            finally:
                self._watchers.remove(endpoint, id, hold)

    async def _part(self, endpoint: str, id: str, start: _Start) -> StreamPart:
        part = await self._part_of(await self._stores.job(endpoint, id), start)
        while len(part.items) < min(part.job.chunks - part.offset, STREAM_ITEMS):
            # They went with their attempt, or with the job, after its record was read.
            job = await self._stores.job(endpoint, id)
            if job == part.job:
                break
            part = await self._part_of(job, start)
        return part

    async def _part_of(self, job: Job, start: _Start) -> StreamPart:
        offset = start(job)
        # Clients stop reading at the first final state, so that answer carries everything that is left.
        limit = job.chunks if job.state.terminal else STREAM_ITEMS
        items = await self._stores.at(job.endpoint).chunks(job, offset, limit) if job.chunks > offset else []
        return StreamPart(job, offset, items)

    async def _claimed(self, part: StreamPart) -> bool:
        """Let no other reader without an offset have the items; False when one of them has some already."""
        job, place = part.job, part.place
        if part.items:
            board = self._stores.at(job.endpoint).board
            if board is not None and job.id not in self._cursors:
                self._remember(job.id, Place(*await board.reader(job.id)))
            if self._cursor(job) != part.offset:
                return False
            if board is not None and not await board.read_on(job.id, job.attempt, part.offset, place.offset):
                self._remember(job.id, Place(*await board.reader(job.id)))
                return False
        self._remember(job.id, place)
        return True

    def _remember(self, id: str, place: Place) -> None:
        # One answer may overtake another; what has been read is not read again.
        self._cursors[id] = max(self._cursors.pop(id, place), place)
        if len(self._cursors) > CURSORS_MAX:
            self.forget(next(iter(self._cursors)))

    def _cursor(self, job: Job) -> int:
        place = self._cursors.get(job.id, BEGINNING)
        return place.offset if place.attempt == job.attempt else 0
