"""Questions of one kind that travel together."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Batch(Generic[Key, Value]):
    """Joins what is asked for while an earlier question is under way into one question.

    Args:
        fetch: answers many keys; what it does not find is missing from its answer. What it raises, all who asked hear.
        size: keys per question.
    """

    def __init__(self, fetch: Callable[[Sequence[Key]], Awaitable[Mapping[Key, Value]]], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._waiting: dict[Key, asyncio.Future[Value | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def get(self, key: Key) -> Value | None:
        """The value of a key as of a moment not before this call."""
        if key not in self._waiting:
            self._waiting[key] = asyncio.get_running_loop().create_future()
        future = self._waiting[key]
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[: self._size]
            futures = {key: self._waiting.pop(key) for key in keys}
            try:
                found = await self._fetch(keys)
                for key, future in futures.items():
                    future.set_result(found.get(key))
            except Exception as error:
                for future in futures.values():
                    future.set_exception(error)
                    future.exception()  # whoever asked may have gone
            finally:
                for future in futures.values():
                    future.cancel()
