"""What came of a request, as a value, and what it means: a document or a typed error. Pure."""

import json
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from submodel.errors import (
    ConfigurationError,
    Conflict,
    GatewayRefused,
    GatewayUnavailable,
    InvalidRequest,
    NotFound,
    Unauthorized,
)

COME_BACK = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed: too many requests, or a gateway that is away for now."""

MESSAGE_CHARACTERS = 500

_REFUSALS: dict[int, type[GatewayRefused]] = {
    400: InvalidRequest,
    401: Unauthorized,
    403: Unauthorized,
    404: NotFound,
    409: Conflict,
    413: InvalidRequest,
    415: InvalidRequest,
    422: InvalidRequest,
}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer as it came. `retry_after_seconds` is None when the gateway named no time."""

    status: int
    body: bytes
    retry_after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A request without an answer. `carried_out` False says that it certainly had no effect."""

    reason: str
    carried_out: bool = True


Outcome = Answer | NoAnswer


def retry_after_seconds(value: str | None, date: str | None) -> float | None:
    """A `Retry-After` header as seconds; its form with a date is read against the answer's own `Date`."""
    if not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value)
    try:
        return max(0.0, (parsedate_to_datetime(value) - parsedate_to_datetime(date or "")).total_seconds())
    except (TypeError, ValueError):
        return None


def document(outcome: Outcome, url: str) -> Document:
    """The JSON object of a successful answer.

    Raises:
        GatewayUnavailable: no answer, or one that asks to come back later.
        GatewayRefused: a refusal, by its kind.
        ConfigurationError: something else than the job API answers at `url`.
    """
    if isinstance(outcome, NoAnswer):
        raise GatewayUnavailable(f"{url}: {outcome.reason}")
    found = _parsed(outcome.body)
    if 200 <= outcome.status < 300:
        if isinstance(found, dict):
            return found
        raise ConfigurationError(f"{url} answers, but not like a job API; is the base URL right?")
    if outcome.status in COME_BACK or outcome.status >= 500:
        raise GatewayUnavailable(f"{url}: status {outcome.status}: {_sentence(found, outcome.body)}")
    if 300 <= outcome.status < 400:
        raise ConfigurationError(f"{url} leads elsewhere (status {outcome.status}); is the base URL right?")
    refusal = _REFUSALS.get(outcome.status, GatewayRefused)
    raise refusal(outcome.status, _sentence(found, outcome.body))


def field(found: Document, name: str, url: str) -> str:
    """A text that every answer of its kind has. Raises `ConfigurationError`."""
    value = found.get(name)
    if not isinstance(value, str):
        raise ConfigurationError(f"{url} answers without {name!r}; is the base URL that of a job API?")
    return value


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _sentence(found: Any, body: bytes) -> str:
    if isinstance(found, dict) and isinstance(found.get("error"), str):
        return str(found["error"])[:MESSAGE_CHARACTERS]
    return body[:MESSAGE_CHARACTERS].decode(errors="replace").strip() or "no reason given"
