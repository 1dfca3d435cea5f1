"""Opens a URL that somebody else chose, within limits. Used by `rp_download`.

Names are resolved once and the connection goes to an address that was checked, so that a name cannot lead elsewhere
a moment later. Each redirect is checked anew.
"""

import contextlib
import http.client
import socket
import ssl
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from submodel.errors import DownloadFailed, DownloadRefused
from submodel.serverless.utils.rp_ssrf import DownloadLimits

CONNECT_SECONDS = 5.0
SILENCE_SECONDS = 30.0
"""How long nothing may arrive."""

REDIRECTS_MAX = 5
PIECE_BYTES = 256 * 1024
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_HEADERS = {"User-Agent": "submodel-runtime", "Accept": "*/*", "Accept-Encoding": "identity", "Connection": "close"}


@dataclass(frozen=True, slots=True)
class Body:
    """An answer whose body has not been read."""

    url: str
    """Where it came from in the end."""

    headers: http.client.HTTPMessage
    response: http.client.HTTPResponse
    limits: DownloadLimits
    deadline: float

    def pieces(self) -> Iterator[bytes]:
        """The content, piece by piece. Raises `DownloadFailed`, and `DownloadRefused` when it is too large."""
        size = 0
        with _told(self.url):
            for piece in self._decoded():
                size += len(piece)
                if size > self.limits.max_bytes:
                    raise too_large(self.url, self.limits)
                yield piece

    def _decoded(self) -> Iterator[bytes]:
        coding = (self.headers["Content-Encoding"] or "identity").strip().lower()
        if coding == "identity":
            yield from self._raw()
            return
        if coding not in ("gzip", "x-gzip", "deflate"):
            raise DownloadFailed(f"{shown(self.url)}: its coding {coding!r} is not understood")
        decompressor = zlib.decompressobj(wbits=47)  # gzip or zlib, as its head says
        for piece in self._raw():
            while piece:
                yield decompressor.decompress(piece, PIECE_BYTES)
                piece = decompressor.unconsumed_tail
        yield decompressor.flush()

    def _raw(self) -> Iterator[bytes]:
        while piece := self.response.read(PIECE_BYTES):
            if time.monotonic() > self.deadline:
                raise DownloadFailed(f"{shown(self.url)}: not complete after {self.limits.total_seconds:g} seconds")
            yield piece
        if self.response.length:
            raise DownloadFailed(f"{shown(self.url)}: the connection ended before the file did", temporary=True)


@contextlib.contextmanager
def opened(url: str, limits: DownloadLimits) -> Iterator[Body]:
    """GET `url`.

    Raises:
        DownloadRefused: it, or what it redirects to, may not be reached, or declares more than may be fetched.
        DownloadFailed: no answer, or another status than 200; `temporary` when it may be tried again.
    """
    deadline = time.monotonic() + limits.total_seconds
    for _ in range(REDIRECTS_MAX + 1):
        parts = _checked(url)
        with _told(url):
            connection = _connected(parts, limits)
        with contextlib.closing(connection):
            with _told(url):
                connection.request("GET", _target(parts), headers=_HEADERS)
                response = connection.getresponse()
            location = response.headers["Location"]
            if response.status not in _REDIRECTS or not location:
                yield _body(url, response, limits, deadline)
                return
        url = urljoin(url, location)
    raise DownloadRefused(f"{shown(url)}: more than {REDIRECTS_MAX} redirects")


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Errors of the network in this package's words."""
    try:
        yield
    except (OSError, http.client.HTTPException, zlib.error) as error:
        raise DownloadFailed(f"{shown(url)}: {str(error) or type(error).__name__}", temporary=True) from error


def shown(url: str) -> str:
    """`url` for people and logs: a query may hold a signature."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def too_large(url: str, limits: DownloadLimits) -> DownloadRefused:
    """The error of more than `limits.max_bytes`."""
    return DownloadRefused(f"{shown(url)}: more than {limits.max_bytes} bytes; see SUBMODEL_MAX_DOWNLOAD_BYTES")


def _body(url: str, response: http.client.HTTPResponse, limits: DownloadLimits, deadline: float) -> Body:
    if response.status != 200:
        raise DownloadFailed(f"{shown(url)}: status {response.status}", temporary=response.status in TEMPORARY)
    if response.length is not None and response.length > limits.max_bytes:
        raise too_large(url, limits)
    return Body(url, response.headers, response, limits, deadline)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(_host(parts)) and parts.port != 0
    except ValueError as error:
        raise DownloadRefused(f"{url[:200]!r} is not a URL: {error}") from error
    if not usable:
        raise DownloadRefused(f"{shown(url)[:200]!r}: only http and https URLs with a host are fetched")
    return parts


def _target(parts: SplitResult) -> str:
    path, query = (quote(text, safe="/%:@!$&'()*+,;=~?") for text in (parts.path, parts.query))
    return f"{path or '/'}?{query}" if query else path or "/"


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return host if host.isascii() else host.encode("idna").decode()


def _connected(parts: SplitResult, limits: DownloadLimits) -> http.client.HTTPConnection:
    host = _host(parts)
    tls = parts.scheme == "https"
    port = parts.port or (443 if tls else 80)
    connected = _socket(host, port, limits)
    if not tls:
        connection = http.client.HTTPConnection(host, port)
        connection.sock = connected
        return connection
    context = ssl.create_default_context()
    secure = http.client.HTTPSConnection(host, port, context=context)
    try:
        secure.sock = context.wrap_socket(connected, server_hostname=host)
    except BaseException:
        connected.close()
        raise
    return secure


def _socket(host: str, port: int, limits: DownloadLimits) -> socket.socket:
    """A connection to the first address of `host` that answers. All of them must be allowed: a name that leads to
    public and private ones is not an accident."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = list(dict.fromkeys(str(info[4][0]) for info in found))
    for address in addresses:
        if not limits.allows(address):
            raise DownloadRefused(
                f"{host} leads to {address}, which is not public; SUBMODEL_ALLOW_PRIVATE_DOWNLOAD_URLS=true allows it"
            )
    failure: OSError = OSError(f"{host} has no address")
    for address in addresses:
        try:
            connected = socket.create_connection((address, port), CONNECT_SECONDS)
        except OSError as error:
            failure = error
        else:
            connected.settimeout(SILENCE_SECONDS)
            return connected
    raise failure
