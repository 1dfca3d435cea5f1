"""A program on a terminal: what it writes to a pseudo-terminal of a given size, as the frames that a person sees."""

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
from collections.abc import Callable, Mapping, Sequence

SECONDS = 30

HOME, LEAVE = "\x1b[H", "\x1b[?1049l"
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class Terminal:
    """Runs `command` on a terminal of its own."""

    def __init__(self, command: Sequence[str], columns: int = 80, rows: int = 24, **env: str) -> None:
        self._end, theirs = os.openpty()
        self.resize(columns, rows)
        # LINES and COLUMNS, which pytest-xdist sets for its workers, would count for more than the terminal's size.
        inherited = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}  # noqa: TID251 # a child inherits it
        environment: Mapping[str, str] = {**inherited, "TERM": "xterm", **env}
        self.process = subprocess.Popen(
            command,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # Ctrl-C reaches only whoever it belongs to
        )
        os.close(theirs)
        self.written = ""

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *exc_info: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self._end)

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """What a person types."""
        os.write(self._end, keys)

    def frame(self) -> list[str]:
        """The lines of the newest whole frame."""
        whole = [each for each in self.written.split(HOME)[1:] if "\x1b[J" in each]
        newest = whole[-1].partition("\x1b[J")[0] if whole else ""
        return [_ESCAPE.sub("", line) for line in newest.split("\r\n")]

    def wait_for(self, holds: "Callable[[list[str]], object]") -> list[str]:
        """The first frame of which it holds."""
        while not holds(self.frame()):
            if not self._read():
                raise AssertionError(
                    f"no such frame; the last one:\n{chr(10).join(self.frame())}\n{self.written[-2000:]}"
                )
        return self.frame()

    def rest(self) -> str:
        """What it wrote after it gave the screen back, once it has ended."""
        while self._read():
            pass
        return self.written.rpartition(LEAVE)[2]

    def _read(self) -> bool:
        if not select.select([self._end], [], [], SECONDS)[0]:
            return False
        try:
            data = os.read(self._end, 65_536)
        except OSError:  # the other end is closed
            return False
        self.written += data.decode("utf-8", "replace")
        return bool(data)
