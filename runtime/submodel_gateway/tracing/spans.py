"""What the gateway says of a job's way, and how a job carries its trace. `Spans` itself says nothing, at no cost.

A trace context is the text of a W3C `traceparent` header, empty where there is none.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from submodel.contract.states import JobState
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job

FIELD = "$traceparent"
"""Beside the input; workers are given it apart, handlers never see it."""

_MARK = "#traceparent="
_EXTRA = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NOWHERE: Mapping[str, str] = {}


class Spans:
    """No traces. Callers that would have to prepare something ask for `on` before."""

    on = False

    def arrive(self, traceparent: str) -> None:
        """A request comes in: what is said in its task belongs to this trace."""

    @contextmanager
    def submit(self, endpoint: str, job: str) -> Iterator[str]:
        """Around the storing of a job; gives the context that it is to carry."""
        yield ""

    def handed_out(self, trace: str, job: Job) -> str:
        """A worker gets the job: it has waited, and was taken. Returns the context for the worker."""
        return ""

    def result(self, trace: str, endpoint: str, job: str) -> "Callable[[JobState], None]":
        """A worker delivers a job's outcome; call what is returned when it is stored, or never."""
        return _nothing

    def webhook(self, trace: str, webhook: Webhook) -> "tuple[Mapping[str, str], Callable[[bool], None]]":
        """A webhook is sent: the headers to add, and what to call with whether it was delivered."""
        return _NOWHERE, _nothing

    def close(self) -> None:
        """Export what is left. Blocks for seconds at most."""


def _nothing(said: object) -> None:
    """Nobody listens."""


def carried(extra: bytes, trace: str) -> bytes:
    """The JSON object `extra` with the context in it."""
    if not trace:
        return extra
    return msgspec.json.encode({**_EXTRA.decode(extra), FIELD: trace})


def of_extra(extra: bytes) -> str:
    """The context that `carried` put there."""
    return _text(_EXTRA.decode(extra).get(FIELD)) if FIELD.encode() in extra else ""


def taken_from(fields: dict[str, msgspec.Raw]) -> str:
    """The same, taken out of fields that were decoded."""
    return _text(fields.pop(FIELD, None))


def behind_url(url: str, trace: str) -> str:
    """A webhook's URL with the context behind it. Fragments are never sent: readers that do not know it lose it."""
    return f"{url}{_MARK}{trace}" if trace else url


def of_url(url: str) -> tuple[str, str]:
    """The two again."""
    bare, _, trace = url.partition(_MARK)
    return bare, trace


def _text(raw: msgspec.Raw | None) -> str:
    if raw is None:
        return ""
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        return ""  # a client's own field of this name
