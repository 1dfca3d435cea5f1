"""Payloads on their way to a store and back: compressed if asked for, and large ones ahead of their operation.

Payloads are JSON texts, which never begin with a zero byte: that marks a compressed one. Reading understands both
kinds, so the setting may change at any time.
"""

import asyncio
import zlib
from collections.abc import Callable

from submodel_gateway.jobs.ids import payload_limit
from submodel_gateway.service.stores import Stores
from submodel_gateway.store import base

COMPRESS_MIN_BYTES = 4_096
"""Below this, compression saves less than it costs."""

THREAD_MIN_BYTES = 65_536
"""Above this it would hold up the event loop."""

_MARK = b"\x00z"


class Payloads:
    """Turns bytes into what operations carry, and back. `compress` with zlib, fastest level."""

    def __init__(self, stores: Stores, *, compress: bool) -> None:
        self._stores = stores
        self._compress = compress

    async def keep(self, endpoint: str, data: bytes) -> base.Payload:
        """What an operation shall carry for `data`; a large payload is durable when this returns.

        Give it to `drop` when the operation is known to have had no effect. Raises `StoreAway`, `StoreFull`.
        """
        if self._compress and len(data) >= COMPRESS_MIN_BYTES:
            data = await _off_the_loop(len(data), compressed, data)
        return data if len(data) <= base.BLOB_BYTES else await self._stores.at(endpoint).stash(data)

    async def drop(self, endpoint: str, payload: base.Payload | None) -> None:
        """Nothing refers to the payload."""
        if isinstance(payload, base.Blob):
            await self._stores.at(endpoint).discard(payload)

    async def finished(self, operation: base.Finish, outcome: base.Outcome) -> bool:
        """Whether this operation ended its job; the output of one that did not is dropped.

        What may have been stored all the same is kept: it is of no use to anybody, or it is the job's.
        """
        used = isinstance(outcome, base.Applied) and outcome.change.ended
        if not used and not (isinstance(outcome, base.Failed) and outcome.unknown):
            await self.drop(operation.endpoint, operation.output)
        return used

    async def load(self, endpoint: str, payload: base.Payload) -> bytes:
        """The bytes that were kept. Raises `OperationFailed` when they are gone with their job."""
        if isinstance(payload, base.Blob):
            payload = await self._stores.at(endpoint).fetch(payload)
        if not payload.startswith(_MARK):
            return payload
        return await _off_the_loop(len(payload), zlib.decompress, payload[len(_MARK) :])


def fetched_bytes_at_most(job: str, input: base.Payload) -> int:
    """How much more memory the job's input may take up once it is loaded; 0 for one that is there as it was sent."""
    if isinstance(input, bytes) and not input.startswith(_MARK):
        return 0
    return payload_limit(job)


def compressed(data: bytes) -> bytes:
    """`data` with a mark in front, or as it is when compression does not make it smaller."""
    packed = _MARK + zlib.compress(data, level=1)
    return packed if len(packed) < len(data) else data


async def _off_the_loop(size: int, function: Callable[[bytes], bytes], data: bytes) -> bytes:
    return function(data) if size < THREAD_MIN_BYTES else await asyncio.to_thread(function, data)
