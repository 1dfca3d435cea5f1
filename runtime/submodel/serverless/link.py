"""One connection to the gateway: a POST at a time, kept alive, that another thread can cut. Used by `exchange`.

Written on a socket and the standard library's response parser: an HTTP client library would cost more memory than the
rest of the worker, and a request goes out here in one write.
"""

import socket
import ssl
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from urllib.parse import urlsplit

from submodel.errors import GatewayRefused, GatewayUnavailable

CONNECT_SECONDS = 5.0
ANSWER_MARGIN_SECONDS = 10.0
"""Added to the time that the gateway may hold a request."""

MESSAGE_BYTES = 500
"""How much of a refusal's body becomes part of an error text."""


class Link:
    """A keep-alive connection that posts to one URL. One thread posts; any thread may `cut`.

    Args:
        url: absolute, http or https.
        authorization: gives the value of the Authorization header for each new connection.
    """

    def __init__(self, url: str, authorization: Callable[[], str]) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = parts.scheme == "https"
        self._port = parts.port or (443 if self._tls else 80)
        self._head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        self._authorization = authorization
        self._socket: socket.socket | None = None
        self._preamble = b""
        self._cut = False

    def arm(self) -> None:
        """Forget an earlier `cut`; call before `post`, under the lock that also guards `cut`."""
        self._cut = False

    def cut(self) -> None:
        """Make a `post` under way fail now."""
        self._cut = True
        connected = self._socket
        if connected is not None:
            try:
                connected.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it is closed already: the post ends without us

    @property
    def was_cut(self) -> bool:
        """Whether `cut` was called since `arm`."""
        return self._cut

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def post(self, body: bytes, hold_seconds: float) -> bytes:
        """Send `body`, return the answer's body.

        Raises:
            GatewayUnavailable: no connection, no answer, or a 5xx.
            GatewayRefused: any other status than 200.
        """
        reused = self._socket is not None
        try:
            return self._post(body, hold_seconds)
        except TimeoutError as error:
            self.close()
            raise GatewayUnavailable(f"no answer in time from {self._host}:{self._port}") from error
        except (OSError, HTTPException) as error:
            self.close()
            if reused and not self._cut:  # the gateway closed an idle connection: no reason to wait
                return self.post(body, hold_seconds)
            raise GatewayUnavailable(f"{self._host}:{self._port}: {str(error) or type(error).__name__}") from error

    def _post(self, body: bytes, hold_seconds: float) -> bytes:
        if self._socket is None:
            self._socket = self._connect()
            self._preamble = f"{self._head}Authorization: {self._authorization()}\r\nContent-Length: ".encode("latin-1")
        if self._cut:
            raise ConnectionAbortedError("cut")
        self._socket.settimeout(hold_seconds + ANSWER_MARGIN_SECONDS)
        self._socket.sendall(b"%s%d\r\n\r\n%s" % (self._preamble, len(body), body))
        response = HTTPResponse(self._socket, method="POST")
        try:
            response.begin()
            answer = response.read()
            closing = response.will_close
        finally:
            response.close()
        if closing or response.status != 200:
            self.close()
        return _checked(response.status, answer)

    def _connect(self) -> socket.socket:
        connected = socket.create_connection((self._host, self._port), timeout=CONNECT_SECONDS)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            return ssl.create_default_context().wrap_socket(connected, server_hostname=self._host)
        return connected


def _checked(status: int, answer: bytes) -> bytes:
    if status == 200:
        return answer
    message = answer[:MESSAGE_BYTES].decode(errors="replace")
    if status >= 500:
        raise GatewayUnavailable(f"the gateway answered {status}: {message}")
    raise GatewayRefused(status, message)
