"""What workers with an SDK of the hosted platforms post, whatever their content type says: JSON, more or less.

Their `json.dumps` writes NaN, Infinity and halves of surrogate pairs, which is no JSON. Refusing it would throw away
finished work, so it is read all the same: the numbers become null, the halves U+FFFD. What cannot be read at all ends
the job, for it would be the same the next time.
"""

import asyncio
import json
import re
from math import isfinite

import msgspec

from submodel.contract import limits
from submodel_gateway.service.legacy_posts import Progress, Result

THREAD_MIN_BYTES = 65_536
"""Larger bodies would hold up the event loop."""

MENDED_BYTES_MAX = limits.RUNSYNC_BODY_BYTES + 65_536
MENDED_OBJECTS_MAX = 500_000
"""What is no JSON is mended as objects of Python, which take far more memory than their text."""

IN_PROGRESS = "IN_PROGRESS"
_EMPTY = frozenset({b"null", b"false", b"[]", b"{}"})
_ZERO = re.compile(rb"-?0(?:\.0*)?(?:[eE][+-]?[0-9]+)?")

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
    words = sum(
        len(bytes(each)) for each in (fields.status, fields.error, fields.stop_pod) if each is not msgspec.UNSET
    )
    return _meaning(fields) if words < THREAD_MIN_BYTES else await asyncio.to_thread(_meaning, fields)


def _meaning(fields: _Body) -> Result | Progress:
    output = None if isinstance(fields.output, msgspec.UnsetType) else bytes(fields.output)
    if _text_of(fields.status) == IN_PROGRESS:
        return Progress(output or b"null")
    return Result(output, _text_of(fields.error) or None, stop_worker=_text_of(fields.stop_pod) != "")


async def read_chunk(body: bytes) -> bytes | Result:
    """The item that a post to the URL of streams carries."""
    fields = await _read(body)
    if isinstance(fields, Result):
        return fields
    return b"null" if isinstance(fields.output, msgspec.UnsetType) else bytes(fields.output)


def unusable(why: str) -> Result:
    """The end of a job whose worker sent what nobody can use."""
    return Result(error=f"the job was ended because what its worker sent {why}", final=True)


def _text_of(field: _Field) -> str:
    """What a field says, as text; empty for what Python takes for false.

    Only texts are parsed. Of anything else the worker decides how much a parser would build of it.
    """
    if isinstance(field, msgspec.UnsetType):
        return ""
    text = bytes(field)
    if text.startswith(b'"'):
        return msgspec.json.decode(text, type=str)
    written = msgspec.json.format(text, indent=-1)
    return "" if written in _EMPTY or _ZERO.fullmatch(written) else written.decode()


async def _read(body: bytes) -> _Body | Result:
    try:
        return _strict(body) if len(body) < THREAD_MIN_BYTES else await asyncio.to_thread(_strict, body)
    except (ValueError, RecursionError):  # those of msgspec and of UTF-8 among them
        pass
    if len(body) > MENDED_BYTES_MAX or body.count(b"[") + body.count(b"{") > MENDED_OBJECTS_MAX:
        return unusable("is not JSON, and too large to be mended")
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
