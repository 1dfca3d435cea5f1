"""Names to addresses, by the system's resolver, in threads that nobody has to wait for.

A lookup cannot be interrupted, and whoever owns a name decides how long it takes: in the pools of the event loop it
would hold up the gateway and its end. A thread that hangs keeps its place, so there are never more than a few.
"""

import asyncio
import contextlib
import socket
import threading
from ipaddress import ip_address

from submodel_gateway.webhooks.targets import Address

THREADS_MAX = 8


class Lookup:
    """Call it with a name. Lives in one event loop."""

    def __init__(self) -> None:
        self._places = asyncio.Semaphore(THREADS_MAX)

    async def __call__(self, host: str) -> list[Address]:
        """All addresses of a name, in the system's order of preference. Raises `OSError` when there are none."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Address]] = loop.create_future()

        def tell(addresses: list[Address], error: Exception | None) -> None:
            self._places.release()
            if found.done():
                return
            if error is None:
                found.set_result(addresses)
            else:
                found.set_exception(error)

        def run() -> None:
            addresses, error = _addresses(host)
            with contextlib.suppress(RuntimeError):  # the loop is closed, nobody asks any more
                loop.call_soon_threadsafe(tell, addresses, error)

        threading.Thread(target=run, name="webhook-lookup", daemon=True).start()
        return await found


def _addresses(host: str) -> tuple[list[Address], Exception | None]:
    try:
        entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        return [ip_address(entry[4][0]) for entry in entries], None
    except (OSError, ValueError) as error:
        return [], OSError(f"{type(error).__name__}: {error}")
