"""The runtime's log: plain lines on stderr, `LEVEL  | job-id | message`. Never payloads, never secrets.

The logger stands apart from the root logger, which belongs to the handler's author.
"""

import logging
import sys
from typing import Any

logger = logging.getLogger("submodel")

_NAMES = {"WARNING": "WARN"}


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        job = getattr(record, "job", None)
        level = _NAMES.get(record.levelname, record.levelname)
        line = f"{level:<7}| " + (f"{job} | " if job else "") + record.getMessage()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def about(job_id: str) -> dict[str, Any]:
    """The `extra` of a log call that is about one job."""
    return {"job": job_id}


def configure(level: str) -> None:
    """Send the runtime's log to stderr from `level` on (DEBUG, INFO, WARN, ERROR)."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LineFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel("WARNING" if level == "WARN" else level)
    logger.propagate = False
