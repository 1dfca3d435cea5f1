"""Job ids are UUIDv7 with a suffix, in the order of their instants; delivery ids carry the attempt."""

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodel_gateway.jobs.ids import delivery_id, from_delivery_id, is_sync, job_id

instants = st.integers(0, 2**48 - 1)
bits = st.integers(0, 2**74 - 1)


@given(instants, bits, st.booleans())
def test_an_id_is_a_version_7_uuid_with_prefix_and_suffix(now_ms: int, random_bits: int, sync: bool) -> None:
    id = job_id(now_ms, random_bits, sync=sync)
    assert id.endswith("-u1")
    assert id.startswith("sync-") == is_sync(id) == sync
    parsed = uuid.UUID(id.removeprefix("sync-").removesuffix("-u1"))
    assert (parsed.version, parsed.variant, parsed.int >> 80) == (7, uuid.RFC_4122, now_ms)


@given(st.lists(instants, unique=True), bits)
def test_later_ids_sort_later(times: list[int], random_bits: int) -> None:
    assert [job_id(now, random_bits) for now in sorted(times)] == sorted(job_id(now, random_bits) for now in times)


@given(instants, st.lists(bits, unique=True, min_size=2, max_size=5))
def test_ids_of_one_instant_differ(now_ms: int, random: list[int]) -> None:
    assert len({job_id(now_ms, each) for each in random}) == len(random)


@given(instants, bits, st.booleans(), st.integers(1, 10**9 - 1))
def test_a_delivery_id_leads_back_to_the_job_and_the_attempt(
    now_ms: int, random_bits: int, sync: bool, attempt: int
) -> None:
    id = job_id(now_ms, random_bits, sync=sync)
    assert from_delivery_id(delivery_id(id, attempt)) == (id, attempt)


def test_the_first_delivery_goes_under_the_id_of_the_job() -> None:
    assert (delivery_id("x-u1", 1), delivery_id("x-u1", 2)) == ("x-u1", "x-u1-a2")


@pytest.mark.parametrize(
    "text", ["x-u1", "x-u1-a", "x-u1-a0", "x-u1-a1", "x-u1-a01", "x-u1-a-2", "x-u1-a2 ", "x-u1-a1234567890", "-a2", ""]
)
def test_what_is_no_delivery_id_of_a_later_attempt_is_taken_for_a_first_one(text: str) -> None:
    assert from_delivery_id(text) == (text, 1)
