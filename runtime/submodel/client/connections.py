"""Kept-alive connections to one gateway for any number of threads. The synchronous client's edge.

Written on the standard library, so that whoever imports the client installs nothing.
"""

import contextlib
import http.client
import os
import random
import selectors
import ssl
import threading
import time
import weakref
from urllib.parse import urlsplit

from submodel.client import answers, retry
from submodel.client.answers import Answer, Document, NoAnswer, Outcome
from submodel.client.calls import Call
from submodel.client.limits import try_seconds
from submodel.client.settings import Target
from submodel.errors import ConfigurationError

CONNECT_SECONDS = 5.0
IDLE_MAX = 16
"""Connections that are kept open while nothing is under way."""

_Idle = list[http.client.HTTPConnection]


class Connections:
    """Sends calls; a thread at a time uses a connection. Any thread may call anything."""

    def __init__(self, target: Target) -> None:
        parts = urlsplit(target.base_url)
        self._target = target
        self._host = parts.hostname or ""
        self._port = parts.port
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._base_path = parts.path
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._idle: _Idle = []
        self._process = os.getpid()
        weakref.finalize(self, _close_all, self._idle)

    def ask(self, call: Call, seconds: float) -> Document:
        """The document that answers `call`, which is sent again within `seconds` while that may help.

        Raises what `answers.document` raises, and `ConfigurationError` once the client is closed.
        """
        if self._closed.is_set():
            raise ConfigurationError("this client is closed; make a new one")
        deadline = time.monotonic() + seconds
        tries = 0
        while True:
            tries += 1
            outcome = self.exchange(call, try_seconds(call, deadline - time.monotonic()))
            pause = retry.pause_seconds(call, outcome, tries, random.random())
            if pause is None or time.monotonic() + pause >= deadline or self._closed.wait(pause):
                return answers.document(outcome, self._target.base_url + call.path)

    def exchange(self, call: Call, seconds: float) -> Outcome:
        """One try, which may take that long; a connection that broke is an outcome too."""
        connection = self._take()
        sent = False
        try:
            if connection.sock is None:
                connection.timeout = min(CONNECT_SECONDS, seconds)
                connection.connect()
            connection.sock.settimeout(seconds)
            sent = True
            headers = self._target.headers() | call.headers()
            connection.request(call.method, self._base_path + call.path, call.body, headers)
            with connection.getresponse() as response:
                wait = answers.retry_after_seconds(response.headers["Retry-After"], response.headers["Date"])
                answer = Answer(response.status, response.read(), wait)
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            return NoAnswer(_reason(error), carried_out=sent)
        except BaseException:  # an answer that nobody reads must not be the next call's
            connection.close()
            raise
        self._keep(connection)
        return answer

    def pause(self, seconds: float) -> None:
        """Wait, unless the client is closed."""
        self._closed.wait(seconds)

    def close(self) -> None:
        """Close what is idle and end pauses; calls under way end as they would."""
        self._closed.set()
        with self._lock:
            _close_all(self._idle)

    def _take(self) -> http.client.HTTPConnection:
        with self._lock:
            if self._process != os.getpid():  # forked: these sockets are the parent's
                self._idle.clear()
                self._process = os.getpid()
            while self._idle:
                connection = self._idle.pop()
                if _is_open(connection):
                    return connection
                connection.close()
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port)
        return http.client.HTTPSConnection(self._host, self._port, context=self._tls)

    def _keep(self, connection: http.client.HTTPConnection) -> None:
        with self._lock:
            if connection.sock is not None and len(self._idle) < IDLE_MAX and not self._closed.is_set():
                self._idle.append(connection)
                return
        connection.close()


def _is_open(connection: http.client.HTTPConnection) -> bool:
    """Whether the other side has left an idle connection alone: what arrives on it is its end."""
    with contextlib.suppress(OSError, ValueError), selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return not selector.select(timeout=0)
    return False


def _close_all(idle: _Idle) -> None:
    while idle:
        idle.pop().close()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
