"""Service-account tokens of pods, and who judges them: in memory, and as an API server on a port."""

import asyncio
import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from submodel_gateway.auth.pods import Pod
from submodel_gateway.errors import ReviewAway

AUDIENCE = "submodel-gateway.test"
LIFE_SECONDS = 3_600


def pod_token(
    pod: str, *, namespace: str = "ns", audience: str = AUDIENCE, expires_at: int, salt: int = 0, **claims: Any
) -> str:
    """A token as the API server makes them, but for the signature; `salt` tells two of one pod apart."""
    kubernetes = {"namespace": namespace, "pod": {"name": pod, "uid": f"uid-{pod}"}}
    payload = {"aud": [audience], "exp": expires_at, "iat": salt, "kubernetes.io": kubernetes, **claims}
    return ".".join(_part(part) for part in ({"alg": "RS256"}, payload, {"signature": salt}))


def _part(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@dataclass
class Vouching:
    """A reviewer that knows some tokens, and can be away."""

    known: dict[str, Pod] = field(default_factory=dict)
    away: bool = False
    asked: list[str] = field(default_factory=list)
    slow: set[str] = field(default_factory=set)
    """Tokens that it comes to an end with when `released`."""

    released: asyncio.Event = field(default_factory=asyncio.Event)

    audience: str = AUDIENCE

    async def review(self, token: str) -> Pod | None:
        self.asked.append(token)
        if token in self.slow:
            await self.released.wait()
        if self.away:
            raise ReviewAway("the API server is away")
        return self.known.get(token)


class ReviewServer:
    """An API server that answers reviews, `statuses` by token, and remembers what it was asked."""

    def __init__(self) -> None:
        self.statuses: dict[str, dict[str, Any]] = {}
        self.answer: int | None = None
        """The status of every answer, instead of a review."""

        self.dropped = 0
        """So many questions are answered by the end of the connection."""

        self.questions: list[dict[str, Any]] = []
        self.credentials: list[str] = []
        self.url = ""

    def vouch(self, token: str, pod: str, namespace: str = "ns", audience: str = AUDIENCE) -> None:
        """The token is good, and of this pod."""
        extra = {
            "authentication.kubernetes.io/pod-name": [pod],
            "authentication.kubernetes.io/pod-uid": [f"uid-{pod}"],
        }
        user = {"username": f"system:serviceaccount:{namespace}:default", "uid": "u", "extra": extra}
        self.statuses[token] = {"authenticated": True, "user": user, "audiences": [audience]}

    @contextmanager
    def running(self) -> Iterator["ReviewServer"]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                question = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.questions.append({"path": self.path, **question})
                outer.credentials.append(self.headers["authorization"])
                if outer.dropped:
                    outer.dropped -= 1
                    self.close_connection = True
                    return
                status = outer.statuses.get(question["spec"]["token"], {"error": "unknown", "user": {}})
                body = json.dumps({**question, "status": status}).encode()
                self.send_response(outer.answer or 201)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing is written."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_port}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()
