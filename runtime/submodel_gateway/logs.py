"""How a serving process logs: lines of text or of JSON, each with the id of the request that it is about.

Messages are sentences of ours. Payloads and secrets never get into them.
"""

import json
import logging
import re
import secrets
from contextvars import ContextVar
from itertools import count
from typing import Final

JSON: Final = "json"

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The request that is being served; empty outside of one."""

_USABLE = re.compile(rb"[A-Za-z0-9._~:/+=-]{1,128}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_PROCESS = secrets.token_hex(6)
_numbers = count(1)


def id_of(given: bytes) -> str:
    """The caller's own id for its request where it can be used, else one that nobody else has."""
    return given.decode() if _USABLE.fullmatch(given) else f"{_PROCESS}-{next(_numbers):x}"


class TextLines(logging.Formatter):
    """`2026-01-31 12:00:00,000 LEVEL logger message [request]`.

    Names in a message may be callers' own: no line break of theirs begins a line here, and no terminal obeys them.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line, id = _CONTROLS.sub(_escaped, super().formatMessage(record)), request_id.get()
        return f"{line} [{id}]" if id else line


def _escaped(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


class JsonLines(logging.Formatter):
    """One JSON object per line: `time`, `level`, `logger`, `message`, and `request` or `exception` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {"time": self.formatTime(record), "level": record.levelname, "logger": record.name}
        line["message"] = record.getMessage()
        if id := request_id.get():
            line["request"] = id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        # In ASCII: readers differ in which other letters end a line, and terminals in which of them they can write.
        return json.dumps(line)


def configure(level: str, form: str) -> None:
    """Log to standard error from here on."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == JSON else TextLines())
    logging.basicConfig(level=level, handlers=[handler])
