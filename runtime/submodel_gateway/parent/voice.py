"""The parent's log, in the form of the serving processes'; the library would cost a tenth of the parent's memory."""

import sys
import time

NAME = "submodel_gateway.parent"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class Voice:
    """Writes to standard error what is at least of `level`; `form` is `text` or `json`."""

    def __init__(self, level: str, form: str) -> None:
        self._json = form == "json"
        self._spoken = _LEVELS[_LEVELS.index(level) :]

    def info(self, text: str) -> None:
        self._say("INFO", text)

    def warning(self, text: str) -> None:
        self._say("WARNING", text)

    def _line(self, at: str, level: str, text: str) -> str:
        if not self._json:
            return f"{at} {level} {NAME} {text}\n"
        import json  # only where it is used: see above

        return json.dumps({"time": at, "level": level, "logger": NAME, "message": text}) + "\n"

    def _say(self, level: str, text: str) -> None:
        if level in self._spoken:
            now_ms = time.time_ns() // 1_000_000
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now_ms / 1000))
            sys.stderr.write(self._line(f"{at},{now_ms % 1000:03d}", level, text))
            sys.stderr.flush()
