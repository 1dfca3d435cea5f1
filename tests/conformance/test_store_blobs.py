"""Large payloads: durable ahead of the operation that refers to them, and gone with their job."""

import pytest
from msgspec.structs import replace

from submodel_gateway.errors import StoreError
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, one, read, running, swept, taken
from tests.support.store_operations import RETENTION_MS, cancel, finish, retry, submit, take

LARGE = bytes(range(256)) * 5_000
"""More than one part, and not a multiple of one."""


async def gone(store: Store, blob: base.Blob) -> bool:
    try:
        await store.fetch(blob)
    except StoreError:
        return True
    return False


async def test_a_stashed_payload_is_read_back(store: Store) -> None:
    blob = await store.stash(LARGE)
    assert blob.size == len(LARGE)
    assert await store.fetch(blob) == LARGE
    assert await store.fetch(await store.stash(b"")) == b""


async def test_equal_payloads_are_kept_apart(store: Store) -> None:
    first, second = await store.stash(LARGE), await store.stash(LARGE)
    assert first.name != second.name
    await store.discard(first)
    assert await store.fetch(second) == LARGE


async def test_a_lease_carries_the_stashed_input(store: Store) -> None:
    blob = await store.stash(LARGE)
    applied(store, submit("a", input=blob, extra=b"{}"))
    outcome = one(store, take())
    assert isinstance(outcome, base.Taken)
    assert outcome.leases[0].input == blob
    assert await store.fetch(blob) == LARGE


async def test_stashed_inputs_count_for_the_bytes_of_a_take(store: Store) -> None:
    for id in "ab":
        applied(store, submit(id, input=await store.stash(LARGE)))
    few = replace(take(limit=2), max_bytes=len(LARGE) + 1_000)
    assert [job.id for job in taken(store, few)] == ["a"]


async def test_a_stashed_output_is_the_content(store: Store) -> None:
    job = running(store)
    blob = await store.stash(LARGE)
    done = applied(store, finish(job, blob))
    assert await store.content(done) == base.Content(blob)
    assert await store.fetch(blob) == LARGE


async def test_payloads_are_gone_with_their_job(store: Store) -> None:
    input, output = await store.stash(LARGE), await store.stash(LARGE)
    job = running(store, input=input)
    applied(store, finish(job, output))
    assert not await gone(store, input)
    assert swept(store, NOW + RETENTION_MS) == ["a"]
    assert await gone(store, input)
    assert await gone(store, output)


async def test_a_retry_keeps_the_input_and_drops_the_output(store: Store) -> None:
    input, output = await store.stash(LARGE), await store.stash(LARGE)
    failed = applied(store, finish(running(store, input=input), output, "boom"))
    assert await store.content(failed) == base.Content(output, "boom")
    applied(store, retry(failed))
    assert await gone(store, output)
    outcome = one(store, take(nonce=8))
    assert isinstance(outcome, base.Taken)
    assert outcome.leases[0].input == input
    assert await store.fetch(input) == LARGE


async def test_a_discarded_payload_is_gone_and_may_be_discarded_again(store: Store) -> None:
    blob = await store.stash(LARGE)
    await store.discard(blob)
    await store.discard(blob)
    with pytest.raises(StoreError, match="gone"):
        await store.fetch(blob)


async def test_discarding_what_a_refused_result_brought_keeps_the_published_one(store: Store) -> None:
    job = running(store)
    first, second = await store.stash(LARGE), await store.stash(b"x" + LARGE)
    done = applied(store, finish(job, first))
    again = one(store, finish(job, second))
    assert isinstance(again, base.Applied)
    assert again.change.duplicate
    await store.discard(second)
    assert await store.content(await read(store)) == base.Content(first)
    assert await store.fetch(first) == LARGE
    assert await gone(store, second)
    assert done == await read(store)


async def test_a_cancelled_job_keeps_its_input_until_it_is_forgotten(store: Store) -> None:
    blob = await store.stash(LARGE)
    applied(store, cancel(applied(store, submit("a", input=blob))))
    assert not await gone(store, blob)
    swept(store, NOW + RETENTION_MS)
    assert await gone(store, blob)


async def test_a_small_result_may_follow_a_large_one_in_the_next_generation(store: Store) -> None:
    output = await store.stash(LARGE)
    applied(store, retry(applied(store, finish(running(store), output, "boom"))))
    (job,) = taken(store, take(nonce=8))
    done = applied(store, finish(job, b"small"))
    assert await store.content(done) == base.Content(b"small")
    assert await gone(store, output)
