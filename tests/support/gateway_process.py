"""The real gateway as a process, for tests of workers and clients against it."""

import hashlib
import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

INTERNAL_TOKEN = "internal"
WORKER_TOKEN = "worker-secret"
END_SECONDS = 20.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class GatewayProcess:
    """`python -m submodel_gateway` on a SQLite file in `folder`; can be killed and started again on the same ports."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self._folder = folder
        self._environ = environ
        self.port = free_port()
        self.internal_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "GatewayProcess":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self.kill()

    def start(self) -> None:
        """Returns when the gateway has printed where it listens."""
        environment = {
            "SUBMODEL_GATEWAY_LISTEN": f"127.0.0.1:{self.port}",
            "SUBMODEL_GATEWAY_INTERNAL_LISTEN": f"127.0.0.1:{self.internal_port}",
            "SUBMODEL_GATEWAY_STORE": f"sqlite://{self._folder}/jobs.db",
            "SUBMODEL_GATEWAY_INTERNAL_TOKEN": INTERNAL_TOKEN,
            "SUBMODEL_GATEWAY_KEYS": "none",
            **self._environ,
        }
        command = [sys.executable, "-m", "submodel_gateway"]
        self._process = subprocess.Popen(command, env=environment, cwd=self._folder, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        seen = b""
        while b"listening" not in seen:
            line = self._process.stderr.readline()
            assert line, f"the gateway did not start: {seen.decode()}"
            seen += line

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(END_SECONDS)
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._process = None

    def register(self, endpoint: str, **fields: Any) -> None:
        token = {"revision": "1", "sha256": hashlib.sha256(WORKER_TOKEN.encode()).hexdigest()}
        registration = {"endpointId": endpoint, "epoch": "e", "generation": 1, "workerTokens": [token], **fields}
        self._call(self.internal_port, "PUT", f"/internal/v1/endpoints/{endpoint}", registration)

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
        return self._call(self.port, method, f"/v2/{path}", body)

    def _call(self, port: int, method: str, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {INTERNAL_TOKEN}"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=END_SECONDS) as response:
                return json.loads(response.read())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{method} {path}: {error.code} {error.read().decode()}") from error
