"""Values of a handler as JSON text, or a sentence that says which part of them cannot be sent. Pure.

The standard library's encoder is used because handlers written for the hosted platforms rely on its choices (tuples
are lists, `True` as a key is "true"), and because it never encodes bytes silently. The encoder runs once at C speed;
only when it stumbles is the value walked to mend NaN and to find the path of what cannot be sent.
"""

import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import os
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec


class Unencodable(TypeError):
    """A value cannot be sent as JSON; the text names the path and what to do."""


def encode(value: object, root: str) -> bytes:
    """The JSON text of `value`; NaN and infinities become null, lone surrogates U+FFFD.

    Args:
        root: how error texts call the value: `output`, `stream[3]`, `progress`.

    Raises:
        Unencodable: with the path of the first part that JSON cannot hold.
    """
    try:
        return _utf8(_FAST.encode(value))
    except Exception:  # also whatever `tolist` or `model_dump` of the user's objects raises
        return _utf8(_FAST.encode(_mended(value, root)))


def sound(text: str) -> str:
    """`text` with surrogate pairs joined and lone surrogates replaced, so that it is UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        return sound(text).encode()


def _simpler(value: Any) -> Any:
    """One step from a known type towards JSON; raises `TypeError` when there is none."""
    if isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{type(value).__name__} cannot be sent as JSON; encode it, for example with base64")
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, uuid.UUID | decimal.Decimal):
        return str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set | Sequence):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, msgspec.Struct):
        return msgspec.to_builtins(value)
    if inspect.isawaitable(value):
        raise TypeError(f"{_type_name(value)} cannot be sent as JSON; await it in an `async def` handler")
    if not isinstance(value, type):
        if callable(dump := getattr(value, "model_dump", None)):  # pydantic
            return dump(mode="json")
        if callable(plain := getattr(value, "tolist", None)):  # numpy, torch
            return plain()
    raise TypeError(f"{_type_name(value)} cannot be sent as JSON; return dict, list, str and numbers")


_FAST = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_simpler)


def _mended(value: object, root: str) -> Any:
    try:
        return _plain(value, root, ())
    except RecursionError:
        raise Unencodable(f"{root}: nested too deeply to be sent as JSON") from None


def _plain(value: Any, path: str, above: tuple[int, ...]) -> Any:
    """A copy of `value` made of JSON's own types; `above` are the ids of the containers around it."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return _number(value, path)
    if isinstance(value, float):
        return value if value - value == 0 else None
    if id(value) in above:
        raise Unencodable(f"{path}: the value contains itself and cannot be sent as JSON")
    inside = (*above, id(value))
    if isinstance(value, dict):
        return {_key(key, path): _plain(item, _below(path, key), inside) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{index}]", inside) for index, item in enumerate(value)]
    try:
        simpler = _simpler(value)
    except Exception as error:
        raise Unencodable(f"{path}: {error}") from None
    return _plain(simpler, path, inside)


def _number(value: int, path: str) -> int:
    try:
        int.__repr__(value)
    except ValueError:  # of a number with thousands of digits, which Python turns into no text
        raise Unencodable(f"{path}: the number has too many digits to be sent as JSON; return it as hex(…)") from None
    return value


def _key(key: Any, path: str) -> Any:
    if key is None or isinstance(key, str | int | float):
        return key
    try:
        simpler = _simpler(key)
    except TypeError:
        simpler = None
    if isinstance(simpler, str | int):
        return simpler
    raise Unencodable(f"{path}: a key is of type {_type_name(key)}; JSON keys are strings")


def _below(path: str, key: object) -> str:
    return f"{path}.{key}" if isinstance(key, str) and key.isidentifier() else f"{path}[{key!r:.60}]"


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
