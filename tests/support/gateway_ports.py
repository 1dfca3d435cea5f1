"""What lets callers into a gateway of the tests, and a client for each kind of them.

A gateway knows no endpoint by itself: the operator registers each, with the digests of the tokens of its workers.
"""

import hashlib
import itertools
from typing import Any

from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway

TOKEN = "worker-token"

_sessions = itertools.count(1)


def registration(endpoint: str, **fields: Any) -> dict[str, Any]:
    """What the operator tells a gateway of `endpoint`, whose workers show `TOKEN`."""
    token = {"revision": "r1", "sha256": hashlib.sha256(TOKEN.encode()).hexdigest()}
    return {"endpointId": endpoint, "epoch": "uid", "generation": 1, "workerTokens": [token], **fields}


def register(gateway: LiveGateway, endpoint: str = "e", **fields: Any) -> None:
    with Http(gateway.internal, INTERNAL_TOKEN) as operator:
        operator.ok("PUT", f"/internal/v1/endpoints/{endpoint}", registration(endpoint, **fields))


class Ports:
    """A gateway with the endpoint `ns.app`, and clients for each kind of caller."""

    def __init__(self, gateway: LiveGateway) -> None:
        self.gateway = gateway
        self.client = Http(gateway.public)
        self.worker = Http(gateway.public, TOKEN)
        self.operator = Http(gateway.internal, INTERNAL_TOKEN)
        self.operator.ok("PUT", "/internal/v1/endpoints/ns.app", registration("ns.app"))
        self._session = f"session-{next(_sessions)}"
        self._request = 0

    def exchange(self, **fields: Any) -> Any:
        self._request += 1
        message = {"session": self._session, "request": self._request, "phase": "ready", **fields}
        return self.worker.ok("POST", "/v2/ns.app/workers/w-1/exchange", message)

    def close(self) -> None:
        for http in (self.client, self.worker, self.operator):
            http.close()
