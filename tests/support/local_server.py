"""A handler's own server as a process, for tests: `python handler.py --rp_serve_api`, or realtime."""

import http.client
import json
import re
import signal
import subprocess
import textwrap
import threading
from pathlib import Path
from typing import Any

from tests.support.worker_process import PYTHON

WAIT_SECONDS = 60.0


class LocalServer:
    """A context manager; returns from `__enter__` when the server listens."""

    def __init__(
        self, folder: Path, source: str, *line: str, environment: dict[str, str] | None = None, module: str = ""
    ) -> None:
        self.file = folder / "handler.py"
        self.file.write_text(textwrap.dedent(source))
        self._changed = threading.Condition()
        self._log = ""
        self._ended = False
        self._process = subprocess.Popen(
            [PYTHON, "-u", *(("-m", module) if module else ()), str(self.file), *line],
            env=environment or {},
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self.port = 0

    def __enter__(self) -> "LocalServer":
        self._reader.start()
        try:
            printed = self.wait_for_log("Serving the handler at")
        except BaseException:
            self.__exit__()
            raise
        found = re.search(r"Serving the handler at http://localhost:(\d+)", printed)
        assert found
        self.port = int(found[1])
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._changed:
                self._log += line
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def log(self) -> str:
        """What was printed so far."""
        with self._changed:
            return self._log

    def wait_for_log(self, text: str, times: int = 1) -> str:
        """Wait until `text` was printed so many times; all that was printed then."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._log.count(text) >= times, WAIT_SECONDS)
            assert self._log.count(text) >= times, self._log
            return self._log

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal; the exit code."""
        self._process.send_signal(number)
        return self.exit_code()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self) -> int:
        """Wait for the end of the process."""
        return self._process.wait(WAIT_SECONDS)

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and document of one request; `body` is JSON, or bytes as they are."""
        status, _, text = self.raw(method, path, body, **headers)
        return status, json.loads(text)

    def raw(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, http.client.HTTPMessage, bytes]:
        """Status, headers and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_SECONDS)
        try:
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def run(self, job_input: Any, **more: Any) -> str:
        """Submit a job; its id."""
        status, found = self.ask("POST", "/run", {"input": job_input, **more})
        assert status == 200, found
        return str(found["id"])

    def job(self, job_id: str) -> Any:
        """A job, once it is final."""
        return self.ask("GET", f"/status-sync/{job_id}")[1]
