"""The operator's port: registry, presence, drains and snapshots under `/internal/v1`, and the probes.

Everything but the probes needs the bearer token of this port.
"""

import asyncio
import hmac
from collections.abc import AsyncGenerator

import msgspec

from submodel.contract.internal import EndpointRegistration, WorkerNames, WorkersGone, WorkersPush
from submodel.contract.wire import encode
from submodel_gateway.errors import NotFound, Unauthorized, Unavailable
from submodel_gateway.http import answers, envelope
from submodel_gateway.http.messages import App, Reply, Request, Streamed
from submodel_gateway.metrics import exposition
from submodel_gateway.service.canary import Canary
from submodel_gateway.service.gateway import Gateway

BODY_BYTES = 16 * 1024 * 1024
SNAPSHOT_WAIT_MS_MAX = 60_000
VERSION_MAX = 2**53
"""Where gateways share their stores, a version of the snapshots is an instant in milliseconds since 1970."""

_REGISTRATION = msgspec.json.Decoder(EndpointRegistration)
_PUSH = msgspec.json.Decoder(WorkersPush)
_NAMES = msgspec.json.Decoder(WorkerNames)
_GONE = msgspec.json.Decoder(WorkersGone)
_DONE = encode({})


def internal_app(gateway: Gateway, token: str) -> App:
    """The application of the internal port; `token` is what the operator must present."""
    return answers.application(_Internal(gateway, token).route, gateway.measures)


class _Internal:
    def __init__(self, gateway: Gateway, token: str) -> None:
        self._gateway = gateway
        self._registry = gateway.registry
        self._token = token.encode()

    async def route(self, request: Request) -> Reply:
        """Serve one request. Raises what `answers.application` turns into an answer."""
        request.operation = "internal"
        match request.path:
            case ["metrics"]:
                gauges = await self._gateway.gauges.read(ready=not self._gateway.unready())
                # Two megabytes of text are a third of a second, in which nobody would be served.
                text = await asyncio.to_thread(exposition.text, self._gateway.measures.copy(), gauges)
                return Streamed(exposition.CONTENT_TYPE, _once(text))
            case ["livez" | "healthz"]:
                return encode({"status": "alive", "version": self._gateway.gauges.version})
            case ["readyz"]:
                if reason := self._gateway.unready():
                    raise Unavailable(f"not ready: {reason}")
                return encode({"status": "ready", "stores": [_sight(each) for each in self._gateway.canaries]})
            case ["internal", "v1", *path]:
                if not hmac.compare_digest(request.bearer().encode(), self._token):
                    raise Unauthorized("the internal token is missing or wrong; send `Authorization: Bearer <token>`")
                return await self._operator(request, path)
        raise _no_path()

    async def _operator(self, request: Request, path: list[str]) -> bytes:
        match request.method, path:
            case "GET", ["snapshots"]:
                return await self._snapshots(request)
            case "GET", ["endpoints", endpoint, "record"]:
                return encode(await self._gateway.record(endpoint))
            case "PUT", ["endpoints", endpoint]:
                body = await request.body(BODY_BYTES)
                await self._registry.put(endpoint, envelope.parse(body, _REGISTRATION), body)
            case "DELETE", ["endpoints", endpoint]:
                await self._registry.delete(endpoint, request.query("epoch"))
            case "PUT", ["endpoints", endpoint, "workers"]:
                began_ms = self._gateway.clock.now_ms()
                push = envelope.parse(await request.body(BODY_BYTES), _PUSH)
                await self._registry.put_workers(endpoint, push.workers, began_ms)
            case "POST", ["endpoints", endpoint, "workers", "gone"]:
                gone = envelope.parse(await request.body(BODY_BYTES), _GONE)
                await self._registry.gone(endpoint, gone.workers)
            case "POST", ["endpoints", endpoint, "drain"]:
                names = envelope.parse(await request.body(BODY_BYTES), _NAMES)
                await self._registry.drain(endpoint, names.workers)
            case "POST", ["endpoints", endpoint, "undrain"]:
                names = envelope.parse(await request.body(BODY_BYTES), _NAMES)
                await self._registry.undrain(endpoint, names.workers)
            case _:
                raise _no_path()
        return _DONE

    async def _snapshots(self, request: Request) -> bytes:
        since = request.whole("since", largest=VERSION_MAX) or 0
        wait_ms = min(request.whole("waitMs") or 0, SNAPSHOT_WAIT_MS_MAX)
        boot = request.query("boot")
        await request.body(BODY_BYTES)
        return encode(await self._gateway.snapshots.read(since, boot, wait_ms, request.hangup()))


def _sight(canary: Canary) -> dict[str, object]:
    """How the store's canary fared."""
    seen = canary.sight()
    shown: dict[str, object] = {"store": seen.store, "movedAtMs": seen.moved_at}
    if seen.took_seconds is not None:
        shown["tookMs"] = round(seen.took_seconds * 1_000, 1)
    if seen.trouble:
        shown["trouble"] = seen.trouble
    return shown


async def _once(text: bytes) -> AsyncGenerator[bytes, None]:
    yield text


def _no_path() -> NotFound:
    return NotFound("there is nothing at this path and method; the internal API is at /internal/v1")
