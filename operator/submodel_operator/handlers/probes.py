"""The probe server: `/livez` says that the event loop turns, `/readyz` that everything the operator needs is there,
`/metrics` what it counts."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from submodel_operator.errors import UsageError
from submodel_operator.metrics import CONTENT_TYPE, Metrics

Readiness = Callable[[], str]
"""Empty when ready, else what is missing, as a phrase."""


@asynccontextmanager
async def serve_probes(listen: str, missing: Readiness, metrics: Metrics) -> AsyncIterator[str]:
    """Serve on `listen` (`host:port`, port 0 picks a free one) for the time of the context; yields the address."""

    async def live(request: web.Request) -> web.Response:
        return _answer(200, "the event loop turns")

    async def ready(request: web.Request) -> web.Response:
        phrase = missing()
        return _answer(503, f"not ready: {phrase}") if phrase else _answer(200, "ready")

    async def numbers(request: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    app = web.Application()
    app.add_routes([web.get("/livez", live), web.get("/readyz", ready), web.get("/metrics", numbers)])
    runner = web.AppRunner(app, access_log=None, handle_signals=False)
    await runner.setup()
    try:
        host, _, port = listen.rpartition(":")
        try:
            await web.TCPSite(runner, host.strip("[]"), int(port)).start()
        except OSError as error:
            words = f"cannot listen on {listen} ({error.strerror}); free the port or choose another"
            raise UsageError(f"SUBMODEL_OPERATOR_PROBE_LISTEN: {words}") from error
        bound = runner.addresses[0]
        yield f"{bound[0]}:{bound[1]}"
    finally:
        await runner.cleanup()


def _answer(status: int, text: str) -> web.Response:
    response = web.Response(status=status, text=f"{text}\n")
    response.force_close()  # a probe that keeps its connection would hold up the end of the process
    return response
