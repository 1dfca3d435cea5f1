"""The logger of handlers: `RunPodLogger().info("…", job["id"])`. Lines on stdout, as on the hosted platforms.

In a worker each line is a JSON object `{"requestId", "message", "level"}`, elsewhere `LEVEL  | job | message`.
"""

import json
import sys
from typing import Any

from submodel.serverless.environment import variable

__all__ = ["LOG_LEVELS", "MAX_MESSAGE_LENGTH", "RunPodLogger", "SubModelLogger"]

LOG_LEVELS = ["NOTSET", "TRACE", "DEBUG", "INFO", "WARN", "ERROR"]
MAX_MESSAGE_LENGTH = 4096
SECRET_LENGTH_MIN = 4
"""Shorter secrets are shown as stars only."""


class RunPodLogger:
    """One logger per process: every call of the class gives the same object."""

    level: str
    """What is less than this is left out; `NOTSET` leaves out everything."""

    _instance: "RunPodLogger | None" = None

    def __new__(cls) -> "RunPodLogger":
        if RunPodLogger._instance is None:
            RunPodLogger._instance = object.__new__(cls)
            RunPodLogger._instance._read_level()
        return RunPodLogger._instance

    def _read_level(self) -> None:
        asked = variable("LOG_LEVEL") or variable("DEBUG_LEVEL") or "DEBUG"
        try:
            self.level = _level(asked)
        except ValueError as error:  # a spelling mistake must not end a worker
            self.level = "DEBUG"
            self.warn(f"{error}; logging everything")

    def set_level(self, new_level: str | int) -> None:
        """Set the level by its name or its place in `LOG_LEVELS`. Raises `ValueError`."""
        self.level = _level(new_level)
        self.info(f"Log level set to {self.level}")

    def log(self, message: object, message_level: str = "INFO", job_id: str | None = None) -> None:
        """Write a line when its level is not below the logger's; a `TIP` is written at any."""
        if self.level == "NOTSET":
            return
        if message_level != "TIP" and LOG_LEVELS.index(_level(message_level)) < LOG_LEVELS.index(self.level):
            return
        sys.stdout.write(_line(_bounded(str(message)), message_level, job_id))
        sys.stdout.flush()

    def secret(self, secret_name: str, secret: object) -> None:
        """Write that a secret is there: its first and last character, and its length."""
        text = str(secret)
        shown = text if len(text) >= SECRET_LENGTH_MIN else "*" * SECRET_LENGTH_MIN
        self.info(f"{secret_name}: {shown[0]}{'*' * (len(shown) - 2)}{shown[-1]}")

    def debug(self, message: object, request_id: str | None = None) -> None:
        """What helps to find a defect."""
        self.log(message, "DEBUG", request_id)

    def info(self, message: object, request_id: str | None = None) -> None:
        """What is worth a line."""
        self.log(message, "INFO", request_id)

    def warn(self, message: object, request_id: str | None = None) -> None:
        """What may go wrong."""
        self.log(message, "WARN", request_id)

    warning = warn

    def error(self, message: object, request_id: str | None = None) -> None:
        """What went wrong."""
        self.log(message, "ERROR", request_id)

    def tip(self, message: object) -> None:
        """What the reader could do better."""
        self.log(message, "TIP")

    def trace(self, message: object, request_id: str | None = None) -> None:
        """The finest level of all."""
        self.log(message, "TRACE", request_id)


SubModelLogger = RunPodLogger


def _level(level: Any) -> str:
    if isinstance(level, str):
        name = {"WARNING": "WARN"}.get(level.upper(), level.upper())
        if name in LOG_LEVELS:
            return name
    elif isinstance(level, int) and 0 <= level < len(LOG_LEVELS):
        return LOG_LEVELS[level]
    raise ValueError(f"Invalid debug level: {level}; use one of {', '.join(LOG_LEVELS)}")


def _bounded(message: str) -> str:
    """`message`, without its middle when it is too long."""
    beyond = len(message) - MAX_MESSAGE_LENGTH
    if beyond <= 0:
        return message
    half = MAX_MESSAGE_LENGTH // 2
    return f"{message[:half]}\n...TRUNCATED {beyond} CHARACTERS...\n{message[-half:]}"


def _line(message: str, level: str, job_id: str | None) -> str:
    if variable("ENDPOINT_ID"):
        return json.dumps({"requestId": job_id, "message": message, "level": level}) + "\n"
    about = f"{job_id} | " if job_id else ""
    return f"{level:<7}| {about}{message}\n"
