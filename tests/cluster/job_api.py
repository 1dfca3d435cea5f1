"""The job API through `kubectl port-forward`, as a client on a laptop reaches it; opened again when its pod goes."""

import json
import re
import subprocess
import urllib.error
import urllib.request
from typing import Any

ANSWER_SECONDS = 30
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


class JobApi:
    """Requests to the gateway's public port."""

    def __init__(self, namespace: str, service: str, key: str) -> None:
        self._headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        self._target = ("-n", namespace, f"service/{service}")
        self._forward: subprocess.Popen[str] | None = None
        self._base = ""

    def close(self) -> None:
        """End the forwarding."""
        if self._forward:
            end(self._forward)
            self._forward = None

    def call(self, path: str, body: object = None, raw: bytes | None = None) -> tuple[int, dict[str, Any]]:
        """Status and JSON of one request; a lost connection is opened again, and told as status 0."""
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._open()}{path}", data, self._headers)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as response:
                return response.status, json.load(response)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (OSError, ValueError):
            self.close()
            return 0, {}

    def ok(self, path: str, body: object = None) -> dict[str, Any]:
        """The answer of a request that must succeed; asks again while the connection is lost."""
        for _ in range(60):
            status, answer = self.call(path, body)
            if status == 200:
                return answer
            assert status == 0 or status >= 500, f"{path}: {status} {answer}"
        raise AssertionError(f"{path}: no connection")

    def run(self, endpoint: str, input: object = None, **options: object) -> str:
        """Submit a job; returns its id."""
        job: str = self.ok(f"/v2/{endpoint}/run", {"input": input or {}, **options})["id"]
        return job

    def finished(self, endpoint: str, job: str) -> dict[str, Any]:
        """Hold on until the job is final."""
        while (answer := self.ok(f"/v2/{endpoint}/status-sync/{job}?wait=20000"))["status"] not in FINAL:
            pass
        return answer

    def _open(self) -> str:
        if self._forward is None or self._forward.poll() is not None:
            self.close()
            self._connect()
        return self._base

    def _connect(self) -> None:
        for _ in range(60):
            forward = subprocess.Popen(
                ["kubectl", "port-forward", *self._target, ":8000"],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            line = forward.stdout.readline() if forward.stdout else ""
            if found := re.search(r"127\.0\.0\.1:(\d+)", line):
                self._forward, self._base = forward, f"http://127.0.0.1:{found[1]}"
                return
            end(forward)
        raise AssertionError(f"kubectl port-forward {' '.join(self._target)}: {line}")


def end(process: "subprocess.Popen[str]") -> None:
    """End a process and close its pipe."""
    process.terminate()
    process.wait()
    if process.stdout:
        process.stdout.close()
