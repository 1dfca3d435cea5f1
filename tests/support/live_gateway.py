"""A real gateway process for tests: started on free ports, killed or ended by the test, and a plain client for it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

import urllib3

INTERNAL_TOKEN = "operator-secret"

_LISTENING = re.compile(r"listening public=(\S+) internal=(\S+)")


def settings(folder: Path) -> dict[str, str]:
    """What lets a gateway serve on free ports over a SQLite file in `folder`."""
    return {
        "PATH": os.defpath,
        "SUBMODEL_GATEWAY_LISTEN": "127.0.0.1:0",
        "SUBMODEL_GATEWAY_INTERNAL_LISTEN": "127.0.0.1:0",
        "SUBMODEL_GATEWAY_STORE": f"sqlite://{folder / 'jobs.db'}",
        "SUBMODEL_GATEWAY_INTERNAL_TOKEN": INTERNAL_TOKEN,
        "SUBMODEL_GATEWAY_KEYS": "none",
    }


class LiveGateway:
    """`python -m submodel_gateway` over a SQLite file in `folder`; several may follow each other on one file."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "submodel_gateway"],
            env=settings(folder) | environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._ended = False
        self._said: SimpleQueue[str | None] = SimpleQueue()
        Thread(target=self._hear, name="gateway-log", daemon=True).start()
        self.public, self.internal = self._listening()

    def _hear(self) -> None:
        """Take the log off the process's hands: one that nobody reads fills its pipe, and then it stands still."""
        assert self.process.stderr is not None
        with self.process.stderr as lines:
            for line in lines:
                self._said.put(line)
        self._said.put(None)

    def _lines(self) -> Iterator[str]:
        while not self._ended:
            line = self._said.get()
            if line is None:
                self._ended = True
                return
            self.log.append(line)
            yield line

    def _listening(self) -> tuple[str, str]:
        for line in self._lines():
            if found := _LISTENING.search(line):
                return found[1], found[2]
        raise AssertionError(f"the gateway ended with {self.process.wait()}: {''.join(self.log)}")

    def serving_pid(self) -> int:
        """The newest process that serves, or will in a moment; the parent keeps the sockets."""
        while True:
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            if children:
                return max(map(int, children))

    def wait_for(self, text: str) -> None:
        """Read the log up to a line with `text`."""
        for line in self._lines():
            if text in line:
                return
        raise AssertionError(f"the log ended without {text!r}: {''.join(self.log)}")

    def kill(self) -> None:
        """SIGKILL, as a node failure would."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """SIGTERM; returns the exit code."""
        return self._end(signal.SIGTERM)

    def wait(self) -> int:
        """Until it has ended; returns the exit code."""
        for _ in self._lines():
            continue
        return self.process.wait(timeout=20)

    def _end(self, number: signal.Signals) -> int:
        if not self._ended:
            self.process.send_signal(number)
        return self.wait()

    def __enter__(self) -> "LiveGateway":
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()


class Http:
    """JSON over HTTP: `(status, document)` of each call; nothing is retried."""

    def __init__(self, base: str, token: str | None = None) -> None:
        self.base = base
        self.headers = {"authorization": f"Bearer {token}"} if token else {}
        self._pool = urllib3.PoolManager(retries=False, timeout=60, maxsize=8)

    def call(self, method: str, path: str, document: Any = None, *, raw: bytes | None = None) -> tuple[int, Any]:
        body = raw if raw is not None else None if document is None else json.dumps(document).encode()
        answer = self._pool.request(method, self.base + path, body=body, headers=self.headers)
        return answer.status, json.loads(answer.data)

    def raw(self, method: str, path: str, document: Any = None) -> bytes:
        """The bytes of an answer."""
        body = None if document is None else json.dumps(document).encode()
        return self._pool.request(method, self.base + path, body=body, headers=self.headers).data

    def ok(self, method: str, path: str, document: Any = None) -> Any:
        """The document of a 200."""
        status, answer = self.call(method, path, document)
        assert status == 200, (status, answer)
        return answer

    def close(self) -> None:
        self._pool.clear()

    def __enter__(self) -> "Http":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
