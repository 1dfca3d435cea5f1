"""A process whose lines a test waits for: an event, not a pause."""

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from queue import Empty, Queue

LINE_SECONDS = 60


class Following:
    """A running process; its output is read line by line."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None, cwd: str | None = None) -> None:
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},  # noqa: TID251 # a child inherits it
        )
        self._lines: Queue[str] = Queue()
        self.seen: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Following":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(LINE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The next line that matches `pattern`."""
        while True:
            try:
                line = self._lines.get(timeout=LINE_SECONDS)
            except Empty:
                raise AssertionError(f"no line like {pattern!r} in:\n{''.join(self.seen)}") from None
            if not line:
                raise AssertionError(f"ended before a line like {pattern!r}:\n{''.join(self.seen)}")
            if found := re.search(pattern, line):
                return found

    def interrupt(self) -> None:
        """What Ctrl-C sends."""
        self.process.send_signal(signal.SIGINT)

    def ended(self) -> int:
        """Exit code, once it has ended."""
        return self.process.wait(LINE_SECONDS)

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.seen.append(line)
            self._lines.put(line)
        self._lines.put("")
