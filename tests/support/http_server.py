"""A server on a free port of this machine, for the time of a context."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web


@asynccontextmanager
async def serving(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]], client_max_size: int = 1 << 20
) -> AsyncIterator[str]:
    """Let `handle` answer every request; yields the server's URL.

    Args:
        client_max_size: bytes that a body may have.
    """
    app = web.Application(client_max_size=client_max_size)
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
