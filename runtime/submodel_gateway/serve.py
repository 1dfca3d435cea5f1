"""The process that serves: the edge where wall clock, signals and inherited sockets are read.

The process that keeps the sockets starts it, hears that it is ready, and tells it to end; see `parent`. It dies with
its parent: nobody else would start it again, and the next parent may want its store.

Exit code 0 when it was told to end, 2 with one sentence on stderr when it cannot start.
"""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from threading import Thread

import uvloop

from submodel_gateway import logs
from submodel_gateway import settings as names
from submodel_gateway.auth.folder import KeyFolder
from submodel_gateway.errors import ConfigurationError, StoreError
from submodel_gateway.http.answers import job_answer
from submodel_gateway.http.internal import internal_app
from submodel_gateway.http.peers import CONNECTIONS, Bounds, room_for
from submodel_gateway.http.public import public_app
from submodel_gateway.http.servers import Servers
from submodel_gateway.parent.handover import READY, READY_ALONE, Handover
from submodel_gateway.parent.keeper import LEAVE
from submodel_gateway.ratelimit.figures import figures
from submodel_gateway.service import bodies, unread
from submodel_gateway.service.access import Access, ByKey, Open
from submodel_gateway.service.clock import SteeredClock
from submodel_gateway.service.dispatcher import Outgoing
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.stores import NamedStore
from submodel_gateway.settings import Settings
from submodel_gateway.sockets import on_loopback, url
from submodel_gateway.store.opening import open_store, store_name
from submodel_gateway.tokenreview import TokenReview
from submodel_gateway.tracing.opening import open_spans
from submodel_gateway.tracing.spans import Spans
from submodel_gateway.webhooks import signing
from submodel_gateway.webhooks.sender import Sender
from submodel_gateway.webhooks.targets import rules

COLLECT_AFTER = 20_000, 20, 20
"""Thresholds of the garbage collector; its own of 700 objects cost a tenth of the processor under load."""

log = logging.getLogger("submodel_gateway")


def main(inherited: Handover, environ: Mapping[str, str]) -> int:
    """Serve until told to end; returns the exit code."""
    # A terminal sends it to the parent too, which passes on what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    public, internal, line = (_taken(number) for number in (inherited.public, inherited.internal, inherited.line))
    Thread(target=_die_with_parent, args=(line,), name="parent", daemon=True).start()
    try:
        settings = Settings.read(environ)
        logs.configure(settings.log_level, settings.log_format)
        spans = open_spans(environ)
        uvloop.run(_serve(settings, spans, public, internal, line))
        spans.close()
    except (ConfigurationError, StoreError) as error:
        sys.stderr.write(f"submodel-gateway: {error}\n")
        return 2
    return 0


def _taken(number: int) -> socket.socket:
    """An inherited socket, which no child of ours inherits."""
    taken = socket.socket(fileno=number)
    taken.set_inheritable(False)
    return taken


async def _serve(
    settings: Settings, spans: Spans, public: socket.socket, internal: socket.socket, line: socket.socket
) -> None:
    loop = asyncio.get_running_loop()
    folder = _folder(settings)
    allowed = rules(settings.webhook_allow)
    sender = Sender(allowed)
    outgoing = Outgoing(sender.send, job_answer, allowed, signing.keys(settings.webhook_secrets), spans)
    review = settings.review
    reviewer = TokenReview(review.url, review.credentials, review.audience) if review else None
    stores = _open_stores(settings)
    gateway = _gateway(settings, stores, outgoing, reviewer, spans)
    gateway.endpoints.expect(settings.expected)
    access = _access(folder, gateway)
    bounds = Bounds(connections=room_for(CONNECTIONS), connections_per_address=settings.connections_per_address)
    servers = Servers(
        [
            (public_app(gateway, access), public, bounds),
            (internal_app(gateway, settings.internal_token), internal, Bounds()),
        ]
    )

    def leave() -> None:
        log.info("going down: held requests are answered, writes are finished")
        gateway.drain()
        servers.stop()

    def end() -> None:
        if gateway.ready:
            log.info("not ready any more; serving on for %g s", settings.linger_seconds)
            gateway.ready = False
            servers.part()
            loop.call_later(settings.linger_seconds, leave)

    await gateway.start()
    await gateway.fly_canaries()
    _ease_the_collector()
    loop.add_signal_handler(signal.SIGTERM, end)
    loop.add_signal_handler(LEAVE, leave)
    if settings.keys is None and not on_loopback(public):
        log.warning("%s=%s: whoever reaches the public port may run jobs and read results", names.KEYS, names.EVERYBODY)
    log.info("listening public=%s internal=%s", url(public), url(internal))
    line.send(READY if all(each.store.shared for each in stores) else READY_ALONE)
    await servers.run()
    await gateway.close()
    await sender.close()
    if reviewer is not None:
        await reviewer.close()


def _gateway(
    settings: Settings, stores: Sequence[NamedStore], outgoing: Outgoing, reviewer: TokenReview | None, spans: Spans
) -> Gateway:
    return Gateway(
        stores,
        min(stores, key=lambda each: each.name).clock,
        compress=settings.compress,
        outgoing=outgoing,
        rates=figures(settings.rate_limits),
        queue_limit=settings.queue_limit,
        reviewer=reviewer,
        body_bytes=settings.body_bytes or bodies.TOTAL_BYTES,
        answer_bytes=settings.answer_bytes or unread.TOTAL_BYTES,
        spans=spans,
    )


def _ease_the_collector() -> None:
    """What is there by now stays. Requests make little that only the collector could free: it may look more rarely."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _die_with_parent(line: socket.socket) -> None:
    """The line's end means that the parent was killed; it says nothing else.

    In a thread: the end comes as an error where the parent had not read yet, and an event loop takes that for a defect
    of the socket and watches it no more.
    """
    with suppress(OSError):
        while line.recv(16):
            continue
    os._exit(1)


def _folder(settings: Settings) -> KeyFolder | None:
    return None if settings.keys is None else KeyFolder(settings.keys, settings.key_pepper)


def _access(folder: KeyFolder | None, gateway: Gateway) -> Access:
    if folder is None:
        return Open()
    return ByKey(folder, gateway.endpoints, lambda: time.time_ns() // 1_000_000)


def _open_stores(settings: Settings) -> list[NamedStore]:
    urls = {store_name(url): url for url in (each.removeprefix(names.CLOSED) for each in settings.stores)}
    closed = {store_name(url.removeprefix(names.CLOSED)) for url in settings.stores if url.startswith(names.CLOSED)}
    if len(urls) < len(settings.stores):
        raise ConfigurationError(f"{names.STORE} names a store twice; name each one once")
    return [
        NamedStore(name, open_store(url, settings.quota_bytes), SteeredClock(), closed=name in closed)
        for name, url in urls.items()
    ]
