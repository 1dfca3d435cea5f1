"""Large payloads: written in parts, in a transaction of their own, before the operation that refers to them."""

import logging
import uuid
from typing import Any

from psycopg import AsyncConnection

from submodel_gateway.errors import OperationFailed, StoreError
from submodel_gateway.store import base
from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.asking import Desk

PART_BYTES = 256 * 1024
PARTS_TOGETHER = 8
"""Parts per statement that reads: what one answer keeps the event loop busy with."""

ORPHAN_SECONDS = 3_600
"""Older parts that no job refers to were left behind by a gateway that ended in between."""

log = logging.getLogger(__name__)


class Blobs:
    """On a connection of its own: 20 MB must not stand before the reads of everybody else."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def stash(self, data: bytes) -> base.Blob:
        async def write(connection: AsyncConnection[Any]) -> str:
            # A name per try: what became of one whose answer is missing does not matter.
            name = uuid.uuid4().hex
            async with connection.transaction(), connection.cursor() as cursor:
                parts = ((name, start // PART_BYTES, data[start : start + PART_BYTES]) for start in starts)
                await cursor.executemany(sql.PUT_PART, parts)
            return name

        starts = range(0, len(data), PART_BYTES)
        return base.Blob(await self._desk.run(write), len(data))

    async def fetch(self, blob: base.Blob) -> bytes:
        data = bytearray()
        for first in range(0, -(-blob.size // PART_BYTES), PARTS_TOGETHER):
            for (part,) in await self._desk.fetch(sql.PARTS, blob.name, first, first + PARTS_TOGETHER):
                data += part
        if len(data) != blob.size:
            raise OperationFailed("the payload is gone with its job")
        return bytes(data)

    async def discard(self, blob: base.Blob) -> None:
        try:
            await self._desk.fetch(sql.DISCARD, blob.name)
        except StoreError as error:
            log.info("a payload that nobody needs stays until its age removes it: %s", error)

    async def drop_orphans(self) -> None:
        """Remove what is left behind, some of it."""
        await self._desk.fetch(sql.DROP_ORPHANS, ORPHAN_SECONDS)
