"""A real worker process for tests, started from the text of a handler's file."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

PYTHON = os.environ.get("SUBMODEL_TEST_PYTHON") or sys.executable  # noqa: TID251  # see tests.pythons
EXIT_SECONDS = 60.0
LOOK_SECONDS = 0.01


class WorkerProcess:
    """`python -m submodel.serverless handler.py`, or `python handler.py` with `module=False`; a context manager.

    Args:
        environment: the whole of it; nothing of this process leaks in.
    """

    def __init__(self, folder: Path, source: str, environment: dict[str, str], module: bool = True) -> None:
        self.file = folder / "handler.py"
        self.file.write_text(textwrap.dedent(source))
        self._log = folder / "stderr.txt"
        command = [PYTHON, "-X", "faulthandler", *(["-m", "submodel.serverless"] if module else []), str(self.file)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log)

    def __enter__(self) -> "WorkerProcess":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        code = self._process.poll()
        if code is None:
            # After a failure the worker writes what each of its threads is at.
            self._process.send_signal(signal.SIGABRT if kind else signal.SIGKILL)
        self._process.wait()
        if kind:
            ran = "ran on" if code is None else f"had ended with {code}"
            sys.stdout.write(f"The worker {ran}. It said:\n{self.log}\n")

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self, seconds: float = EXIT_SECONDS) -> int:
        """Wait for the end of the process, at most so long."""
        return self._process.wait(seconds)

    def terminate(self) -> int:
        """SIGTERM, and the exit code it leads to."""
        self.signal(signal.SIGTERM)
        return self.exit_code()

    def wait_log(self, text: str) -> None:
        """Wait until the worker has printed `text`."""
        pause = threading.Event()
        for _ in range(int(EXIT_SECONDS / LOOK_SECONDS)):
            if text in self.log:
                return
            pause.wait(LOOK_SECONDS)
        raise AssertionError(f"the worker never printed {text!r}: {self.log}")

    @property
    def log(self) -> str:
        """What the worker printed so far."""
        return self._log.read_text()
