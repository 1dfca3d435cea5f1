"""Job ids are UUIDv7 with a suffix, in the order of their instants."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from submodel_gateway.jobs.ids import is_sync, job_id

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
