"""One connection to the gateway: a request at a time, kept alive, that another thread can cut.

Written on a socket: an HTTP client library would cost more memory than the rest of the worker, and a request goes out
here in one write. Used by `exchange` and `legacy_exchange`.
"""

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from submodel.errors import GatewayRefused, GatewayUnavailable
from submodel.serverless.http_reply import Reply, read_reply

CONNECT_SECONDS = 5.0
ANSWER_MARGIN_SECONDS = 10.0
"""Added to the time that the gateway may hold a request."""

MESSAGE_BYTES = 500
"""How much of a refusal's body becomes part of an error text."""

RECEIVE_BYTES = 256 * 1024


class Link:
    """A keep-alive connection to one gateway. One thread sends; any thread may `cut`.

    Args:
        url: of the gateway, http or https; only its origin counts.
        headers: gives the header lines of a request, each with its line end; asked anew for each.
    """

    def __init__(self, url: str, headers: Callable[[], str]) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._netloc = parts.netloc.rpartition("@")[2]
        self._headers = headers
        self._socket: socket.socket | None = None
        self._cut = False

    def arm(self) -> None:
        """Forget an earlier `cut` or `end`; call before `send`, under the lock that also guards those."""
        self._cut = False

    def cut(self) -> None:
        """Make a `send` under way fail now."""
        self._cut = True
        self._shut(socket.SHUT_RDWR)

    def end(self) -> None:
        """Tell the gateway that nobody waits any longer for what is under way; an answer that was sent is read."""
        self._cut = True
        self._shut(socket.SHUT_WR)

    def _shut(self, how: int) -> None:
        connected = self._socket
        if connected is not None:
            try:
                socket.socket.shutdown(connected, how)  # the plain one: that of TLS would read what is left undecrypted
            except OSError:
                return  # it is closed already: what is under way ends without us

    @property
    def was_cut(self) -> bool:
        """Whether `cut` or `end` was called since `arm`."""
        return self._cut

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(
        self,
        method: str,
        target: str,
        body: bytes,
        answer_seconds: float,
        more: str = "",
        again: Callable[[], bytes] | None = None,
    ) -> Reply:
        """Send a request, return its answer, whatever its status.

        Args:
            target: path and query.
            answer_seconds: how long the other side may neither take nor send anything.
            more: header lines of this request.
            again: makes the body for a second try, when a kept connection turns out to be closed.

        Raises:
            GatewayUnavailable: no connection, or no answer.
        """
        reused = self._socket is not None
        try:
            return self._send(method, target, body, answer_seconds, more)
        except TimeoutError as error:
            self.close()
            raise GatewayUnavailable(f"no answer in time from {self._host}:{self._port}") from error
        except OSError as error:
            self.close()
            if reused and not self._cut:  # the gateway closed an idle connection: no reason to wait
                return self.send(method, target, again() if again else body, answer_seconds, more)
            raise GatewayUnavailable(f"{self._host}:{self._port}: {str(error) or type(error).__name__}") from error

    def _send(self, method: str, target: str, body: bytes, answer_seconds: float, more: str) -> Reply:
        connected = self._socket
        if connected is None:
            connected = self._socket = self._connect()
        if self._cut:
            raise ConnectionAbortedError("cut")
        connected.settimeout(answer_seconds)
        length = f"Content-Length: {len(body)}\r\n" if body or method != "GET" else ""
        head = f"{method} {target} HTTP/1.1\r\nHost: {self._netloc}\r\n{self._headers()}{more}{length}\r\n"
        _send_all(connected, head.encode("latin-1") + body)
        reply = read_reply(lambda: connected.recv(RECEIVE_BYTES))
        if not reply.reusable or reply.status >= 300:
            self.close()
        return reply

    def _connect(self) -> socket.socket:
        connected = socket.create_connection((self._host, self._port), timeout=CONNECT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            import ssl  # most workers reach their gateway without, and it takes several megabytes

            return ssl.create_default_context().wrap_socket(connected, server_hostname=self._host)
        return connected


def _send_all(connected: socket.socket, data: bytes) -> None:
    """As `sendall`, but its time is that of each piece: a large result may take long on a slow line."""
    rest = memoryview(data)
    while rest:
        rest = rest[connected.send(rest) :]


def checked(reply: Reply) -> bytes:
    """The body of an answer that must be a 200.

    Raises:
        GatewayUnavailable: a 5xx.
        GatewayRefused: any other status.
    """
    if reply.status == 200:
        return reply.body
    message = reply.body[:MESSAGE_BYTES].decode(errors="replace")
    if reply.status >= 500:
        raise GatewayUnavailable(f"the gateway answered {reply.status}: {message}")
    raise GatewayRefused(reply.status, message)
