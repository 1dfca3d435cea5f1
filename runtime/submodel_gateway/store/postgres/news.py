"""What gateways on one database tell each other.

The tallies are the news: whoever changes something at an endpoint writes its row there, so the rows with a group number
above the last seen one name every endpoint that changed. They are read once a second, and at once when a notification
comes. That is a hint and nothing more: it is sent after the commit, on another connection, at most 50 times a second,
and may be lost.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress

import psycopg
from psycopg import AsyncConnection

from submodel_gateway.errors import StoreError
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.asking import Desk
from submodel_gateway.store.postgres.columns import Count
from submodel_gateway.store.postgres.faults import ConnectionGone
from submodel_gateway.store.postgres.session import connect_async, cut
from submodel_gateway.store.postgres.tallies import Tallies
from submodel_gateway.store.postgres.transaction import Row

CHANNEL = "submodel_jobs"
WORDS = "words"
"""What follows the gateway's id in a notification that is about `board`, not about jobs."""

POLL_SECONDS = 1.0
INTERVAL_SECONDS = 0.02
"""Least time between two notifications of a gateway, and between two of its looks."""

CHECK_SECONDS = 60.0

log = logging.getLogger(__name__)


class News:
    """Looks, listens and tells, on the event loop.

    Args:
        desk: for short statements whose commits need not wait for a disk.
        gateway: id of this gateway's row, which may become another one.
        words: set by notifications that are about the board.
    """

    def __init__(
        self, conninfo: str, desk: Desk, tallies: Tallies, gateway: Callable[[], int], words: asyncio.Event
    ) -> None:
        self._conninfo = conninfo
        self._desk = desk
        self._tallies = tallies
        self._gateway = gateway
        self._words = words
        self._told: Callable[[Iterable[str]], None] = _nobody
        self._seen: dict[int, int] = {}
        self._alone = True
        self._look = asyncio.Event()
        self._changed = asyncio.Event()
        self._closing = asyncio.Event()
        self._ear: AsyncConnection[Row] | None = None
        self.listening = asyncio.Event()
        """Set while notifications come through."""

        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, told: Callable[[Iterable[str]], None], upkeep: Callable[[], Awaitable[None]]) -> None:
        """Learn the present state, then call `told` with the endpoints at which other gateways change something.

        Args:
            upkeep: housekeeping, called once a minute.
        """
        await self.look()
        self._told = told
        work = (self._watch(), self._tell(), self._listen(), self._keep_up(upkeep))
        self._tasks = [asyncio.create_task(each) for each in work]

    async def close(self) -> None:
        # Nothing is cancelled: a driver that is interrupted in the middle of something leaves connections behind.
        for event in (self._closing, self._look, self._changed):
            event.set()
        if self._ear is not None:
            cut(self._ear)
        await asyncio.gather(*self._tasks)

    def changed(self) -> None:
        """This gateway committed something that others may wait for."""
        self._changed.set()

    async def look(self, *, everything: bool = False) -> None:
        """Read what the others have counted since the last look. Raises `StoreError`."""
        seen = {} if everything else self._seen
        rows = await self._desk.fetch(sql.OTHERS, list(seen), list(seen.values()), self._gateway())
        changed: defaultdict[int, dict[str, Count]] = defaultdict(dict)
        fresh: set[str] = set()
        last: dict[int, int] = {}
        for gateway, endpoint, group_no, *count in rows:
            last[gateway] = max(last.get(gateway, self._seen.get(gateway, -1)), group_no or 0)
            if endpoint is not None:
                changed[gateway][endpoint] = tuple(count)
                if group_no > self._seen.get(gateway, -1):
                    fresh.add(endpoint)
        self._seen = last
        self._alone = not last.keys() - {0}
        if news := fresh | self._tallies.learn(set(last), changed):
            self._told(sorted(news))

    async def _watch(self) -> None:
        while not self._closing.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._look.wait(), POLL_SECONDS)
            self._look.clear()
            await self._try(self.look, "other gateways are not heard of")
            await self._rest(INTERVAL_SECONDS)

    async def _tell(self) -> None:
        while not self._closing.is_set():
            await self._changed.wait()
            self._changed.clear()
            if not self._alone:
                # What is lost here is found by the others' next look.
                await self._try(self._notify, "other gateways are not told")
            await self._rest(INTERVAL_SECONDS)

    async def _notify(self) -> None:
        await self._desk.fetch(sql.NOTIFY, CHANNEL, str(self._gateway()))

    async def _listen(self) -> None:
        while not self._closing.is_set():
            await self._try(self._hear_all, "notifications do not come through")
            await self._rest(POLL_SECONDS)

    async def _hear_all(self) -> None:
        """Listen until the connection is lost."""
        self._ear = connection = await connect_async(self._conninfo, relaxed=True)
        try:
            await connection.execute(f"LISTEN {CHANNEL}")
            await connection.execute(sql.ENTER, [sql.PRESENCE])
            if self._closing.is_set():
                return
            self.listening.set()
            self._look.set()
            self._words.set()
            while True:
                await _readable(connection.fileno())
                # Not `notifies()` of the connection: it wakes ten times a second when there is nothing to hear.
                connection.pgconn.consume_input()
                while (hint := connection.pgconn.notifies()) is not None:
                    self._hear(hint.extra.decode())
        finally:
            self._ear = None
            self.listening.clear()
            await connection.close()

    def _hear(self, hint: str) -> None:
        teller, _, kind = hint.partition(" ")
        if teller != str(self._gateway()):
            (self._words if kind == WORDS else self._look).set()

    async def _keep_up(self, upkeep: Callable[[], Awaitable[None]]) -> None:
        async def round() -> None:
            await upkeep()
            # A failover to a standby that was behind takes back what was counted already.
            await self.look(everything=True)

        while not self._closing.is_set():
            await self._try(round, "housekeeping has to wait")
            await self._rest(CHECK_SECONDS)

    async def _try(self, work: Callable[[], Awaitable[None]], otherwise: str) -> None:
        """Do it, or say why not: a loop that ends in silence leaves this gateway deaf for good."""
        try:
            await work()
        except (psycopg.Error, ConnectionGone, StoreError) as error:
            log.debug("%s: %s", otherwise, error)
        except Exception:
            log.exception("%s by a defect; it will be tried again", otherwise)
            await self._rest(POLL_SECONDS)

    async def _rest(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)


async def _readable(socket: int) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(socket, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(socket)


def _nobody(endpoints: Iterable[str]) -> None:
    """Nobody listens yet."""
