"""What workers with an SDK of the hosted platforms post, whatever their content type says: JSON, more or less.

Their `json.dumps` writes NaN, Infinity and halves of surrogate pairs, which is no JSON. Refusing it would throw away
finished work, so it is read all the same: the numbers become null, the halves U+FFFD. What cannot be read at all ends
the job, for it would be the same the next time.
"""

import asyncio
import json
from math import isfinite

import msgspec

from submodel_gateway.service.legacy_posts import Progress, Result

THREAD_MIN_BYTES = 65_536
"""Larger bodies would hold up the event loop."""

IN_PROGRESS = "IN_PROGRESS"

_Field = msgspec.Raw | msgspec.UnsetType


class _Body(msgspec.Struct):
    output: _Field = msgspec.UNSET
    error: _Field = msgspec.UNSET
    status: _Field = msgspec.UNSET
    stop_pod: _Field = msgspec.field(default=msgspec.UNSET, name="stopPod")


_BODY = msgspec.json.Decoder(_Body | None)


async def read_result(body: bytes) -> Result | Progress:
    """The meaning of a post to the URL of results."""
    fields = await _read(body)
    if isinstance(fields, Result):
        return fields
    output = None if isinstance(fields.output, msgspec.UnsetType) else bytes(fields.output)
    if _value(fields.status) == IN_PROGRESS:
        return Progress(output or b"null")
    return Result(output, _error_text(fields.error), stop_worker=bool(_value(fields.stop_pod)))


async def read_chunk(body: bytes) -> bytes | Result:
    """The item that a post to the URL of streams carries."""
    fields = await _read(body)
    if isinstance(fields, Result):
        return fields
    return b"null" if isinstance(fields.output, msgspec.UnsetType) else bytes(fields.output)


def unusable(why: str) -> Result:
    """The end of a job whose worker sent what nobody can use."""
    return Result(error=f"the job was ended because what its worker sent {why}", final=True)


def _error_text(field: _Field) -> str | None:
    """What a worker names as error, as text; an empty value is none."""
    value = _value(field)
    if not value:
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _value(field: _Field) -> object:
    """What the field says; the text of a number that is too large to be read."""
    if isinstance(field, msgspec.UnsetType):
        return None
    try:
        return msgspec.json.decode(field)
    except msgspec.DecodeError:
        return bytes(field).decode()


async def _read(body: bytes) -> _Body | Result:
    try:
        return _strict(body) if len(body) < THREAD_MIN_BYTES else await asyncio.to_thread(_strict, body)
    except (ValueError, RecursionError):  # those of msgspec and of UTF-8 among them
        pass
    try:
        sound = _sound(body) if len(body) < THREAD_MIN_BYTES else await asyncio.to_thread(_sound, body)
        return _strict(sound)
    except msgspec.ValidationError:
        return unusable("is not a JSON object")
    except (ValueError, RecursionError) as error:
        return unusable(f"is not JSON: {error}")


def _strict(body: bytes) -> _Body:
    if not body.isascii():
        body.decode()
    return _BODY.decode(body) or _Body()


def _sound(body: bytes) -> bytes:
    """The body as JSON. Raises `ValueError` or `RecursionError` when it is not even nearly that."""
    try:
        text = body.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        text = body.decode("utf-8", "replace")
    value = json.loads(text, parse_constant=lambda name: None, parse_float=_finite)
    written = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return written.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _finite(text: str) -> float | None:
    number = float(text)
    return number if isfinite(number) else None
