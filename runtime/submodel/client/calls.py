"""The requests of the job API as values. Pure; both clients send them."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

HOLD_SECONDS = 20.0
"""Longest time a request asks to be held: well below what proxies allow."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    `path` is below the base URL. A call that is not `repeatable` is not sent again when it may have been carried out.
    """

    method: str
    path: str
    body: bytes | None = None
    idempotency_key: str = ""
    hold_seconds: float = 0.0
    """How long the gateway may hold it."""

    repeatable: bool = True

    def headers(self) -> dict[str, str]:
        """What this request carries beside the target's headers."""
        found = {} if self.body is None else {"Content-Type": "application/json"}
        return found | ({"Idempotency-Key": self.idempotency_key} if self.idempotency_key else {})


def run(endpoint: str, request_input: Any, key: str) -> Call:
    """Submit a job. `key` makes it one job, however often the call is sent. Raises `TypeError`."""
    return Call("POST", _path(endpoint, "run"), encoded(request_input), key)


def runsync(endpoint: str, request_input: Any, key: str, seconds: float) -> Call:
    """Submit a job and wait up to `seconds` for its end. Raises `TypeError`."""
    hold = held(seconds)
    path = f"{_path(endpoint, 'runsync')}?wait={_ms(hold)}"
    return Call("POST", path, encoded(request_input), key, hold_seconds=hold)


def status(endpoint: str, job: str) -> Call:
    """The job's status as it is now."""
    return Call("GET", _path(endpoint, "status", job))


def status_sync(endpoint: str, job: str, seconds: float) -> Call:
    """The job's status, once it is final or up to `seconds` have passed."""
    hold = held(seconds)
    return Call("GET", f"{_path(endpoint, 'status-sync', job)}?wait={_ms(hold)}", hold_seconds=hold)


def stream(endpoint: str, job: str, offset: int) -> Call:
    """Streamed items after `offset`, waiting for one."""
    path = f"{_path(endpoint, 'stream', job)}?wait={_ms(HOLD_SECONDS)}&offset={offset}"
    return Call("GET", path, hold_seconds=HOLD_SECONDS)


def cancel(endpoint: str, job: str) -> Call:
    """End a job that is not final."""
    return Call("POST", _path(endpoint, "cancel", job), b"{}")


def health(endpoint: str) -> Call:
    """Counts of jobs and workers."""
    return Call("GET", _path(endpoint, "health"))


def purge_queue(endpoint: str) -> Call:
    """Sent a second time it would also remove what was queued in between."""
    return Call("POST", _path(endpoint, "purge-queue"), b"{}", repeatable=False)


def encoded(request_input: Any) -> bytes:
    """A request's body: a dict with the key `input` is a whole request, anything else becomes its input.

    Raises `TypeError` when it cannot be sent as JSON.
    """
    whole = isinstance(request_input, dict) and "input" in request_input
    document = request_input if whole else {"input": request_input}
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise TypeError(f"the input cannot be sent as JSON: {error}; pass plain JSON values") from error


def held(seconds: float) -> float:
    """How long to ask to be held when there are `seconds` left."""
    return min(HOLD_SECONDS, max(0.0, seconds))


def _path(*parts: str) -> str:
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
