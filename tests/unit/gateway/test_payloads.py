"""Payloads come back as they were, compressed or not, small or large."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodel_gateway.errors import OperationFailed
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service.payloads import COMPRESS_MIN_BYTES, THREAD_MIN_BYTES, Payloads
from submodel_gateway.service.stores import NamedStore, Stores
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.support.gateway_world import ENDPOINT, TestClock

REPETITIVE = b'"' + b"the same again " * 100_000 + b'"'


def payloads(*, compress: bool, store: MemoryStore | None = None) -> Payloads:
    return Payloads(
        Stores([NamedStore("only", store or MemoryStore(), TestClock())], lambda changes: None, Measures()),
        compress=compress,
    )


@pytest.mark.parametrize("compress", [True, False])
@given(size=st.sampled_from([0, 1, COMPRESS_MIN_BYTES, THREAD_MIN_BYTES + 1, base.BLOB_BYTES + 1]), noise=st.booleans())
async def test_what_is_kept_is_loaded_unchanged(compress: bool, size: int, noise: bool) -> None:
    data = b'"' + (os.urandom(size).hex().encode()[:size] if noise else b"x" * size) + b'"'
    kept = payloads(compress=compress)
    assert await kept.load(ENDPOINT, await kept.keep(ENDPOINT, data)) == data


async def test_compression_makes_them_smaller_and_small_ones_stay_as_they_are() -> None:
    kept = payloads(compress=True)
    assert base.size_of(await kept.keep(ENDPOINT, REPETITIVE)) < len(REPETITIVE) / 50
    assert await kept.keep(ENDPOINT, b'"short"') == b'"short"'


async def test_what_was_stored_compressed_is_read_after_the_setting_changed() -> None:
    packed = await payloads(compress=True).keep(ENDPOINT, REPETITIVE)
    assert await payloads(compress=False).load(ENDPOINT, packed) == REPETITIVE


async def test_large_ones_are_stashed_and_dropped_when_nothing_refers_to_them() -> None:
    kept = payloads(compress=False)
    stashed = await kept.keep(ENDPOINT, REPETITIVE)
    assert isinstance(stashed, base.Blob)
    await kept.drop(ENDPOINT, stashed)
    with pytest.raises(OperationFailed):
        await kept.load(ENDPOINT, stashed)
