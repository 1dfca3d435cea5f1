"""The parent's log, in the form of the serving processes'; the library would cost a tenth of the parent's memory."""

import sys
import time

NAME = "submodel_gateway.parent"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class Voice:
    """Writes to standard error what is at least of `level`."""

    def __init__(self, level: str) -> None:
        self._spoken = _LEVELS[_LEVELS.index(level) :]

    def info(self, text: str) -> None:
        self._say("INFO", text)

    def warning(self, text: str) -> None:
        self._say("WARNING", text)

    def _say(self, level: str, text: str) -> None:
        if level in self._spoken:
            now_ms = time.time_ns() // 1_000_000
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now_ms / 1000))
            sys.stderr.write(f"{at},{now_ms % 1000:03d} {level} {NAME} {text}\n")
            sys.stderr.flush()
