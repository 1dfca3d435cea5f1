"""The base of every wire model and the JSON coding of them.

Unknown fields are ignored in both directions, so that either side may be newer. Payloads (`input`, `output`, chunk
items) are `msgspec.Raw`: the envelope is parsed, the payload stays the bytes it was.
"""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class Message(msgspec.Struct, rename="camel", kw_only=True, omit_defaults=True):
    """A JSON object whose field names are the Python names in camelCase."""


def encode(message: object) -> bytes:
    """The JSON text of `message`, UTF-8."""
    return msgspec.json.encode(message)


def decode(body: bytes, kind: type[T]) -> T:
    """Read `body` as `kind`.

    For one thread: where several read the same kind, a `msgspec.json.Decoder` is made before they start.

    Raises `msgspec.DecodeError` (its text names the field path) when the body is not JSON or does not fit.
    """
    return msgspec.json.decode(body, type=kind)
