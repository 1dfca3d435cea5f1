"""What gateways on one database tell each other beside jobs: see `base.Board`.

Rows carry a version, so that a look that finds nothing new reads no documents. Registrations have none of their own:
gateways of the version before write them too, so their digests are compared.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping

from submodel_gateway.jobs.record import Job
from submodel_gateway.store import base
from submodel_gateway.store.postgres import news
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.asking import Desk
from submodel_gateway.store.postgres.columns import document, job_of

OPERATOR = 0


class PostgresBoard:
    """Short statements on `desk`; `gateway` is the id of this gateway's row, which may become another one."""

    def __init__(self, desk: Desk, gateway: Callable[[], int]) -> None:
        self._desk = desk
        self._gateway = gateway
        self._digests: dict[str, str] = {}
        self._versions: dict[tuple[str, int], int] = {}
        self._words: defaultdict[str, dict[int, bytes]] = defaultdict(dict)
        self._turn = asyncio.Lock()
        self.hinted = asyncio.Event()

    async def news(self) -> base.BoardNews:
        async with self._turn:
            digests: dict[str, str] = dict(await self._desk.fetch(sql.DIGESTS))
            present = {
                (endpoint, teller): version
                for endpoint, teller, version in await self._desk.fetch(sql.WORDS, self._gateway())
            }
            other = [place for place, version in present.items() if self._versions.get(place) != version]
            read = await self._read(other) if other else {}
            registered = {id for id, _ in digests.items() ^ self._digests.items()}
            orders = {endpoint: said for (endpoint, teller), said in read.items() if teller == OPERATOR}
            changed = self._learn(present, read)
            self._digests = digests
        words = {endpoint: dict(self._words.get(endpoint, {})) for endpoint in changed}
        return base.BoardNews(registrations=frozenset(registered), orders=orders, words=words)

    async def tell(self, words: Mapping[str, bytes], *, hint: bool = True) -> None:
        rows = [{"endpoint": endpoint, "document": word.decode()} for endpoint, word in words.items() if word]
        if rows:
            await self._desk.fetch(sql.TELL, self._gateway(), document(rows))
        if silent := [endpoint for endpoint, word in words.items() if not word]:
            await self._desk.fetch(sql.UNTELL, self._gateway(), silent)
        if hint:
            await self._hint()

    async def order(self, endpoint: str, known: int, document: bytes) -> int | None:
        if known:
            rows = await self._desk.fetch(sql.ORDER_NEXT, document, endpoint, known)
        else:
            rows = await self._desk.fetch(sql.ORDER_FIRST, endpoint, document)
        await self._hint()
        return int(rows[0][0]) if rows else None

    async def forget(self, endpoint: str) -> None:
        await self._desk.fetch(sql.FORGET_WORDS, endpoint)
        await self._hint()

    async def registration(self, endpoint: str) -> bytes | None:
        rows = await self._desk.fetch(sql.READ_REGISTRATION, endpoint)
        return bytes(rows[0][0]) if rows else None

    async def running(self, endpoint: str) -> list[Job]:
        return [job_of(row) for row in await self._desk.fetch(sql.READ_RUNNING, endpoint)]

    async def reader(self, job: str) -> tuple[int, int]:
        rows = await self._desk.fetch(sql.READER, job)
        return (rows[0][0], rows[0][1]) if rows else (0, 0)

    async def read_on(self, job: str, attempt: int, after: int, to: int) -> bool:
        return bool(await self._desk.fetch(sql.READ_ON, job, attempt, to, after))

    async def _hint(self) -> None:
        await self._desk.fetch(sql.NOTIFY, news.CHANNEL, f"{self._gateway()} {news.WORDS}")

    async def _read(self, places: list[tuple[str, int]]) -> dict[tuple[str, int], base.Posting]:
        endpoints, tellers = [endpoint for endpoint, _ in places], [teller for _, teller in places]
        rows = await self._desk.fetch(sql.READ_WORDS, endpoints, tellers)
        return {(endpoint, teller): base.Posting(version, bytes(said)) for endpoint, teller, version, said in rows}

    def _learn(self, present: Mapping[tuple[str, int], int], read: Mapping[tuple[str, int], base.Posting]) -> set[str]:
        """Remember what was read, forget what is void; returns the endpoints of which something else is said."""
        gone = self._versions.keys() - present.keys()
        for endpoint, teller in gone:
            self._words[endpoint].pop(teller, None)
        for (endpoint, teller), said in read.items():
            if teller != OPERATOR:
                self._words[endpoint][teller] = said.document
        kept = {place: version for place, version in self._versions.items() if place in present}
        self._versions = kept | {place: said.version for place, said in read.items()}
        return {endpoint for endpoint, teller in gone | read.keys() if teller != OPERATOR}
