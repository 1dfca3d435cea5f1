"""Sends one webhook: the only module that opens connections to where clients say.

A name is resolved once, by `_Addresses`, and the connection goes to exactly the addresses that were checked, while
certificate and `Host` stay those of the name. No redirect is followed, no proxy and no credential is taken from the
environment, no cookie is kept, no connection is used twice.
"""

import asyncio
import io
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv6Address

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from submodel_gateway.settings import WEBHOOK_ALLOW
from submodel_gateway.webhooks import answer
from submodel_gateway.webhooks.answer import Answer
from submodel_gateway.webhooks.lookup import Lookup
from submodel_gateway.webhooks.targets import Address, Rules, Target

READ_BYTES_MAX = 65_536
"""What is read of an answer's body, to let its sender finish; it is thrown away."""

_HEADERS = {"content-type": "application/json", "user-agent": "SubModel-Webhook", "accept-encoding": "identity"}

log = logging.getLogger(__name__)


class Sender:
    """Used in one event loop; `close` it there.

    Args:
        lookup: the addresses of a name; raises `OSError`.
        timeout_seconds: for everything together, from the lookup to the answer.
    """

    def __init__(
        self,
        rules: Rules,
        lookup: Callable[[str], Awaitable[list[Address]]] | None = None,
        timeout_seconds: float = answer.TIMEOUT_SECONDS,
    ) -> None:
        self._rules = rules
        self._lookup = lookup
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context()
        self._tls.set_alpn_protocols(["http/1.1"])
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        """POST the body once. Never raises for what the other side does."""
        came: Answer | None = None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                async with self._open().post(
                    URL(target.url, encoded=True),
                    data=io.BytesIO(body),
                    headers={**_HEADERS, **headers},
                    allow_redirects=False,
                ) as response:
                    came = answer.of_status(response.status)
                    await _read(response.content)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return came or _answer(error)
        return came

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Addresses(self._rules, self._lookup or Lookup()),
                    use_dns_cache=False,
                    ssl=self._tls,
                    force_close=True,
                    limit=0,
                ),
                trust_env=False,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
            )
        return self._session


class _Addresses(AbstractResolver):
    """Resolves names for the connector, and lets only those through whose addresses may all be reached."""

    def __init__(self, rules: Rules, lookup: Callable[[str], Awaitable[list[Address]]]) -> None:
        self._rules = rules
        self._lookup = lookup

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = list(dict.fromkeys(await self._lookup(host)))
        if not self._rules.admits(host, addresses):
            shown = ", ".join(map(str, addresses))
            log.warning("webhook host %s is at %s, where none may go; see %s", host, shown, WEBHOOK_ALLOW)
            raise OSError("not every address of the host may be reached")
        return [_resolved(host, port, address) for address in addresses]

    async def close(self) -> None:
        """Nothing is kept."""


def _resolved(host: str, port: int, address: Address) -> ResolveResult:
    family = socket.AF_INET6 if isinstance(address, IPv6Address) else socket.AF_INET
    return ResolveResult(
        hostname=host,
        host=str(address),
        port=port,
        family=family,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
    )


async def _read(content: aiohttp.StreamReader) -> None:
    size = 0
    while size < READ_BYTES_MAX and (part := await content.readany()):
        size += len(part)


def _answer(error: Exception) -> Answer:
    """What an error of the library means; its own text may hold addresses and URLs and is not used."""
    kinds: tuple[tuple[type[Exception], Answer], ...] = (
        (aiohttp.ClientConnectorDNSError, answer.NO_ADDRESS),
        (aiohttp.ClientConnectorCertificateError, answer.NO_TRUST),
        (aiohttp.ClientSSLError, answer.NO_TLS),
        (aiohttp.ClientConnectorError, answer.NO_CONNECTION),
        (TimeoutError, answer.NO_ANSWER),
        (aiohttp.ServerDisconnectedError, answer.BROKEN),
        (aiohttp.ClientOSError, answer.BROKEN),
        (aiohttp.ClientError, answer.NO_HTTP),
        (OSError, answer.NO_CONNECTION),
    )
    return next(meaning for kind, meaning in kinds if isinstance(error, kind))
