"""What a worker says, measured before it is parsed: a worker runs the code of others, and others share its gateway.

A parser makes an object of every item before anybody counts them, and every entry is work for the job store, which
the jobs of all endpoints wait for. `public` hands over the bodies.
"""

import msgspec
from msgspec.structs import replace

from submodel.contract.exchange import ExchangeRequest, Startup
from submodel.contract.wire import Message, encode
from submodel_gateway.errors import InvalidRequest, TooLarge
from submodel_gateway.http import envelope
from submodel_gateway.http.shape import has_more_items, has_more_objects

ENTRIES_MAX = 10_000
"""Jobs, results, progress values and parts of streams in one request: a worker runs a thousand jobs at most."""

ITEMS_MAX = 100_000
"""Streamed items in one request: ten attempts may not stream more."""

UNANSWERED_MAX = 64
SESSION_LENGTH_MAX = 256
REASON_LENGTH_MAX = 1_000
"""Of a longer one the end is kept, which says what it comes to."""

MS_MAX = 2**53

_UNSAID = msgspec.UNSET
_Field = msgspec.Raw | msgspec.UnsetType


class _Sent(Message):
    """The fields of a request, unparsed. Of one that is there twice the last is left, as a parser would have it."""

    session: _Field = _UNSAID
    request: _Field = _UNSAID
    phase: _Field = _UNSAID
    unanswered: _Field = _UNSAID
    repeated: _Field = _UNSAID
    reason: _Field = _UNSAID
    capacity: _Field = _UNSAID
    wait_ms: _Field = _UNSAID
    running: _Field = _UNSAID
    results: _Field = _UNSAID
    chunks: _Field = _UNSAID
    progress: _Field = _UNSAID
    released: _Field = _UNSAID
    startup: _Field = _UNSAID


class _Part(Message):
    """The same of a part of a stream."""

    id: _Field = _UNSAID
    token: _Field = _UNSAID
    seq: _Field = _UNSAID
    items: _Field = _UNSAID


_SENT = msgspec.json.Decoder(_Sent)
_PARTS = msgspec.json.Decoder(list[_Part])
_REQUEST = msgspec.json.Decoder(ExchangeRequest)


def read(body: bytes) -> ExchangeRequest:
    """The request. Raises `InvalidRequest`, and `TooLarge` for more than anybody has to say at once.

    Call it in a thread for bodies above `envelope.LARGE_BYTES`.
    """
    measured = _measured(body) if len(body) > envelope.LARGE_BYTES else body
    return _checked(envelope.parse(measured, _REQUEST))


def _measured(body: bytes) -> bytes:
    """The same request, with each field once."""
    sent = envelope.parse(body, _SENT)
    if has_more_items(_text(sent.unanswered), UNANSWERED_MAX):
        raise _too_many("unanswered", UNANSWERED_MAX)
    for entries in (sent.running, sent.results, sent.chunks, sent.progress, sent.released):
        if has_more_objects(_text(entries), ENTRIES_MAX):
            raise _too_many("entries", ENTRIES_MAX)
    parts = envelope.parse(_text(sent.chunks), _PARTS)
    for part in parts:
        if has_more_items(_text(part.items), ITEMS_MAX):
            raise _too_many("streamed items", ITEMS_MAX)
    return encode(replace(sent, chunks=msgspec.Raw(encode(parts))))


def _text(field: _Field) -> bytes:
    return b"[]" if isinstance(field, msgspec.UnsetType) else bytes(field)


def _checked(request: ExchangeRequest) -> ExchangeRequest:
    if request.capacity < 0 or request.wait_ms < 0:
        raise InvalidRequest("capacity and waitMs must not be below 0")
    if len(request.session) > SESSION_LENGTH_MAX:
        raise InvalidRequest(f"session has {len(request.session)} characters; use at most {SESSION_LENGTH_MAX}")
    if len(request.unanswered) > UNANSWERED_MAX:
        raise _too_many("unanswered", UNANSWERED_MAX)
    loads = len(request.results) + len(request.chunks) + len(request.progress)
    if loads + len(request.running) + len(request.released) > ENTRIES_MAX:
        raise _too_many("entries", ENTRIES_MAX)
    if sum(len(part.items) for part in request.chunks) > ITEMS_MAX:
        raise _too_many("streamed items", ITEMS_MAX)
    if len(request.reason) > REASON_LENGTH_MAX:
        request = replace(request, reason=request.reason[-REASON_LENGTH_MAX:])
    return request if request.startup is None else replace(request, startup=_bounded(request.startup))


def _bounded(startup: Startup) -> Startup:
    """Numbers that every reader can use: whatever it says of its start, a worker that came up is let in."""

    def within(number: int | None) -> int | None:
        return None if number is None else max(0, min(number, MS_MAX))

    return Startup(
        import_ms=within(startup.import_ms),
        load_ms=within(startup.load_ms) or 0,
        check_ms=within(startup.check_ms) or 0,
        process_at_ms=within(startup.process_at_ms),
    )


def _too_many(what: str, most: int) -> TooLarge:
    return TooLarge(f"the request has more than {most} {what}; send several requests")
