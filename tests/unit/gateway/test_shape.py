"""Depth and number of fields of a JSON text, as a parser would find them, whatever is in its strings."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from submodel_gateway.http import shape
from submodel_gateway.http.shape import DEPTH_MAX, FIELDS_MAX, Shape, shape_of

TEXTS = st.text(st.sampled_from('ab"\\{}[]:,é\n'), max_size=8)
VALUES = st.recursive(
    st.none() | st.integers(0, 99) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def depth_of(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth_of, value.values()), default=0)
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@settings(max_examples=50)
@given(st.dictionaries(TEXTS, VALUES, max_size=5), st.sampled_from([None, 1]), st.integers(1, 40))
def test_it_finds_what_a_parser_finds_wherever_the_slices_end(
    value: dict[str, Any], indent: int | None, slice_bytes: int
) -> None:
    text = json.dumps(value, indent=indent).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shape, "SLICE_BYTES", slice_bytes)
        assert shape_of(text) == Shape(depth_of(value), len(value))


@settings(max_examples=50)
@given(st.binary(max_size=200), st.integers(1, 40))
def test_bytes_that_are_no_json_have_a_shape_too(text: bytes, slice_bytes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shape, "SLICE_BYTES", slice_bytes)
        shape_of(text)


def test_a_field_that_is_there_twice_counts_twice() -> None:
    assert shape_of(b'{"a": 1, "a": {"b": 1, "c": 2}}') == Shape(2, 2)


def test_the_limits_are_exact() -> None:
    deep = b"[" * DEPTH_MAX + b"]" * DEPTH_MAX
    assert shape_of(deep).fits
    assert not shape_of(b"[" + deep + b"]").fits
    assert shape_of(json.dumps({str(n): n for n in range(FIELDS_MAX)}).encode()).fits
    assert not shape_of(json.dumps({str(n): n for n in range(FIELDS_MAX + 1)}).encode()).fits


def test_what_goes_over_a_limit_is_not_looked_at_to_its_end() -> None:
    assert shape_of(b"[" * 10_000_000).depth <= shape.SLICE_BYTES
