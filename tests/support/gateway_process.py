"""The real gateway as a process that stays in one place, for tests of workers and clients against it."""

from pathlib import Path
from typing import Any

from tests.support.free_ports import free_port
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway

__all__ = ["INTERNAL_TOKEN", "WORKER_TOKEN", "GatewayProcess"]

WORKER_TOKEN = TOKEN


class GatewayProcess:
    """A gateway on a SQLite file in `folder`, and the next ones on the same ports after it was killed."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.port, self.internal_port = free_port(), free_port()
        self._folder = folder
        self._environ = environ
        self._running: LiveGateway | None = None

    def __enter__(self) -> "GatewayProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._running is not None:
            self.kill()

    def start(self) -> None:
        """Returns when the gateway has printed where it listens."""
        places = {
            "SUBMODEL_GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            "SUBMODEL_GATEWAY_INTERNAL_LISTEN": f"127.0.0.1:{self.internal_port}",
        }
        self._running = LiveGateway(self._folder, **places, **self._environ)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._running is not None
        self._running.kill()
        self._running = None

    def register(self, endpoint: str, **fields: Any) -> None:
        """What the operator does: the gateway then knows `endpoint`, whose workers show `WORKER_TOKEN`."""
        assert self._running is not None
        register(self._running, endpoint, **fields)

    def environment(self, endpoint: str, **more: str) -> dict[str, str]:
        """What a worker of `endpoint` is started with."""
        return {
            "SUBMODEL_GATEWAY_URL": f"http://127.0.0.1:{self.port}",
            "SUBMODEL_ENDPOINT_ID": endpoint,
            "SUBMODEL_WORKER_ID": "w-1",
            "SUBMODEL_WORKER_TOKEN": WORKER_TOKEN,
            **more,
        }

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """A client's call of the job API, for example `POST`, `e/run`."""
        with Http(f"http://127.0.0.1:{self.port}", INTERNAL_TOKEN) as client:
            return client.ok(method, f"/v2/{path}", body)
