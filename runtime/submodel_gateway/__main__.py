"""`python -m submodel_gateway`: the edge where environment, wall clock, signals and sockets are read.

Exit code 0 after SIGTERM or SIGINT, 2 with one sentence on stderr when it cannot start.
"""

import argparse
import asyncio
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from submodel_gateway import settings as names
from submodel_gateway.auth import command
from submodel_gateway.auth.folder import KeyFolder
from submodel_gateway.errors import ConfigurationError, InvalidRequest, StoreError
from submodel_gateway.http.answers import job_answer
from submodel_gateway.http.internal import internal_app
from submodel_gateway.http.public import public_app
from submodel_gateway.ratelimit.figures import figures
from submodel_gateway.service.access import Access, ByKey, Open
from submodel_gateway.service.clock import SteeredClock
from submodel_gateway.service.dispatcher import Outgoing
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.stores import NamedStore
from submodel_gateway.settings import Settings
from submodel_gateway.store.opening import open_store, store_name
from submodel_gateway.webhooks import signing
from submodel_gateway.webhooks.targets import rules

DESCRIPTION: Final = """\
The gateway of SubModel: it takes jobs from clients, keeps them, and hands them to workers. Settings are environment
variables that begin with SUBMODEL_GATEWAY_."""

log = logging.getLogger("submodel_gateway")


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run the gateway until it is told to end, or one of its commands; returns the exit code."""
    parsed = _parser().parse_args(arguments)
    if parsed.command == "key":
        return _make_key(parsed, environ)
    try:
        # Here, because these come with an extra that a worker's installation does without.
        import uvloop

        from submodel_gateway.http import servers  # noqa: F401  # it needs the HTTP server of the extra
        from submodel_gateway.webhooks import sender  # noqa: F401  # and this its HTTP client
    except ModuleNotFoundError as error:
        sys.stderr.write(f"submodel-gateway: {error.name} is missing; install submodel-runtime[gateway]\n")
        return 2
    try:
        settings = Settings.read(environ)
        logging.basicConfig(level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        uvloop.run(_serve(settings))
    except (ConfigurationError, StoreError) as error:
        sys.stderr.write(f"submodel-gateway: {error}\n")
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m submodel_gateway", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="without one it serves; commands")
    command.add_arguments(commands.add_parser("key", help="make an API key", description=command.__doc__))
    return parser


def _make_key(parsed: argparse.Namespace, environ: Mapping[str, str]) -> int:
    try:
        sys.stdout.write(command.new_key(parsed, environ, secrets.token_urlsafe(32), datetime.now(UTC)))
    except (ConfigurationError, InvalidRequest) as error:
        sys.stderr.write(f"submodel-gateway: {error}\n")
        return 2
    return 0


async def _serve(settings: Settings) -> None:
    from submodel_gateway.http.servers import Servers, bind, url
    from submodel_gateway.webhooks.sender import Sender

    public = bind(settings.listen, names.LISTEN)
    internal = bind(settings.internal_listen, names.INTERNAL_LISTEN)
    access = _access(settings)
    allowed = rules(settings.webhook_allow)
    sender = Sender(allowed)
    outgoing = Outgoing(sender.send, job_answer, allowed, signing.keys(settings.webhook_secrets))
    stores = _open_stores(settings)
    gateway = Gateway(
        stores,
        stores[0].clock,
        compress=settings.compress,
        outgoing=outgoing,
        rates=figures(settings.rate_limits),
        queue_limit=settings.queue_limit,
    )
    servers = Servers(
        [(public_app(gateway, access), public), (internal_app(gateway, settings.internal_token), internal)]
    )

    def stop() -> None:
        log.info("going down: held requests are answered, writes are finished")
        gateway.drain()
        servers.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop)
    await gateway.start()
    if settings.keys is None:
        log.warning("%s=%s: whoever reaches the public port may run jobs and read results", names.KEYS, names.EVERYBODY)
    log.info("listening public=%s internal=%s", url(public), url(internal))
    await servers.run()
    await gateway.close()
    await sender.close()


def _access(settings: Settings) -> Access:
    if settings.keys is None:
        return Open()
    return ByKey(KeyFolder(settings.keys, settings.key_pepper), lambda: time.time_ns() // 1_000_000)


def _open_stores(settings: Settings) -> list[NamedStore]:
    urls = {store_name(url): url for url in settings.stores}
    if len(urls) < len(settings.stores):
        raise ConfigurationError(f"{names.STORE} names a store twice; name each one once")
    return [NamedStore(name, open_store(url, settings.quota_bytes), SteeredClock()) for name, url in urls.items()]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
