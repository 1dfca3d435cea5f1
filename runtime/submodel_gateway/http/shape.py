"""What can be said of a JSON text without parsing it: how deep it is, and how many fields its outermost object has.

Parsers build what they are sent: a million fields of a request are a million objects before anybody counts them. This
looks at brackets and colons only, slice by slice, so that in a thread it never holds up the others for long.
"""

import re
from array import array
from collections.abc import Iterator
from itertools import accumulate, pairwise
from typing import NamedTuple

DEPTH_MAX = 64
"""Most readers of JSON recurse, and so do handlers: a few hundred levels end some of them."""

FIELDS_MAX = 100
SLICE_BYTES = 65_536

_ESCAPE = re.compile(rb"\\.", re.DOTALL)
_COLON, _COMMA = ord(":"), ord(",")
_STEPS = bytes.maketrans(b"[{]}:,", bytes([1, 1, 255, 255, 0, 0]))
"""What each kept sign does to the depth, as signed bytes."""

_BRACKETS = b"[]{}"


class Shape(NamedTuple):
    """`fields` counts every occurrence of a name. Of a text that goes over a limit the rest is not looked at."""

    depth: int
    fields: int

    @property
    def fits(self) -> bool:
        return self.depth <= DEPTH_MAX and self.fields <= FIELDS_MAX


def shape_of(text: bytes) -> Shape:
    """The shape of a JSON text; of anything else, some numbers."""
    depth = deepest = fields = 0
    for outside in _outside_of_texts(text, _BRACKETS + b":"):
        levels = _levels(outside, depth)
        depth, deepest = levels[-1], max(deepest, max(levels))
        if b":" in outside and 1 in levels:
            fields += sum(level == 1 and sign == _COLON for level, sign in zip(levels, outside, strict=False))
        if deepest > DEPTH_MAX or fields > FIELDS_MAX:
            break
    return Shape(deepest, fields)


def has_more_objects(text: bytes, most: int) -> bool:
    """Whether more than `most` items of a JSON list are objects or lists; what these hold is not counted."""
    if text.count(b"{") + text.count(b"[") <= most:
        return False
    depth = found = 0
    for outside in _outside_of_texts(text, _BRACKETS):
        levels = _levels(outside, depth)
        depth = levels[-1]
        if 1 in levels:
            found += sum(before == 1 and after == 2 for before, after in pairwise(levels))
        if found > most:
            return True
    return False


def has_more_items(text: bytes, most: int) -> bool:
    """Whether a JSON list has more than `most` items, of any kind."""
    if text.count(b",") < most:
        return False
    depth, found = 0, 1
    for outside in _outside_of_texts(text, _BRACKETS + b","):
        levels = _levels(outside, depth)
        depth = levels[-1]
        if 1 in levels:
            found += sum(level == 1 and sign == _COMMA for level, sign in zip(levels, outside, strict=False))
        if found > most:
            return True
    return False


def _levels(outside: bytes, depth: int) -> list[int]:
    """The depth before each sign, and the one after the last."""
    return list(accumulate(array("b", outside.translate(_STEPS)), initial=depth))


def _outside_of_texts(text: bytes, kept: bytes) -> Iterator[bytes]:
    """Of each slice of a JSON text the signs in `kept` that are outside of its strings."""
    dropped = bytes(set(range(256)) - set(kept + b'"'))
    quoted, rest = 0, b""
    for start in range(0, len(text), SLICE_BYTES):
        part = rest + text[start : start + SLICE_BYTES]
        rest = b""
        if b"\\" in part:
            part = _ESCAPE.sub(b"", part)
            if part.endswith(b"\\"):
                rest, part = b"\\", part[:-1]
        pieces = part.translate(None, dropped).split(b'"')
        yield b"".join(pieces[quoted::2])
        quoted ^= (len(pieces) - 1) & 1
