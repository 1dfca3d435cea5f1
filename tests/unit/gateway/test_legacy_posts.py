"""What workers of the legacy dialect deliver: results, progress, streams; and what if nobody can store them."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from submodel.contract import limits
from submodel.contract.states import JobState
from submodel_gateway.jobs.transition import CHUNKS_MAX
from submodel_gateway.service.clients import NewJob
from submodel_gateway.service.legacy_memory import REPEAT_MS
from submodel_gateway.service.legacy_posts import DRAIN_MS, INSIST_MS, Result
from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.gateway_world import (
    ENDPOINT,
    LARGE_OUTPUT,
    TOKEN,
    FailingStore,
    UnsureStore,
    World,
    here,
    settle,
    world,
)
from tests.support.legacy_worker import Answer, Call, LegacyWorker, at_work

Outcome = tuple[JobState, Any, str | None]


async def outcome(w: World, id: str) -> Outcome:
    seen = await w.status(id)
    return seen.job.state, None if seen.output is None else json.loads(seen.output), seen.error


async def streamed(w: World, id: str) -> list[Any]:
    part = await w.gateway.streams.after(ENDPOINT, id, 0, 0, here())
    return [json.loads(item) for item in part.items]


async def send_unheard(w: World, id: str, item: bytes) -> None:
    """A chunk whose sender is gone before it is answered."""
    gone = here()
    gone.set_result(None)
    await w.gateway.legacy_posts.chunk(ENDPOINT, "w-1", TOKEN, id, item, gone)


async def send_result_in_vain(store: FailingStore, worker: LegacyWorker, id: str) -> Call:
    """A result on its way to a store that takes none."""
    store.refused = {base.Finish}
    call = worker.send_done(id, {"output": 1})
    await settle()
    return call


@pytest.mark.requirement("worker.result.bodies", "worker.result.lenient")
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"output": {"a": 1}}', (JobState.COMPLETED, {"a": 1}, None)),
        (b'{"output": null}', (JobState.COMPLETED, None, None)),
        (b'{"output": []}', (JobState.COMPLETED, [], None)),
        (b"{}", (JobState.COMPLETED, None, None)),
        (b"null", (JobState.COMPLETED, None, None)),
        (b'{"output": 1, "error": ""}', (JobState.COMPLETED, 1, None)),
        (b'{"error": "it broke"}', (JobState.FAILED, None, "it broke")),
        (b'{"error": {"code": 7}}', (JobState.FAILED, None, '{"code":7}')),
        (b'{"output": 1, "error": "in part"}', (JobState.FAILED, 1, "in part")),
        (b'{"output": [NaN, Infinity, -Infinity, 1e999, 0.5]}', (JobState.COMPLETED, [None] * 4 + [0.5], None)),
        (b'{"output": "a\\ud800b"}', (JobState.COMPLETED, "a\ufffdb", None)),
        ('{"output": "é漢"}'.encode(), (JobState.COMPLETED, "é漢", None)),
        (b'{"output": "a\xed\xa0\x80b\xff"}', (JobState.COMPLETED, "a\ufffd\ufffd\ufffdb\ufffd", None)),
        (b'{"error": 1e999}', (JobState.FAILED, None, "1e999")),
        (b'{"error": ' + b"9" * 5_000 + b"}", (JobState.FAILED, None, "9" * 5_000)),
        (b'{"status": 1e999, "output": 7}', (JobState.COMPLETED, 7, None)),
    ],
)
async def test_a_result_is_what_the_sdk_meant(body: bytes, expected: Outcome) -> None:
    async with at_work() as (w, worker, id):
        assert (await worker.done(id, body)).status == 200
        assert await outcome(w, id) == expected


@pytest.mark.requirement("worker.result.unreadable")
@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"output=1", "is not JSON: "),
        (b"", "is not JSON: "),
        (b"[1]", "is not a JSON object"),
        (b'"text"', "is not a JSON object"),
        (b'{"output": ' + b"[" * 100_000, "is not JSON: "),
        (b'{"output": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", "is not JSON: "),
    ],
)
async def test_a_result_that_nobody_can_read_ends_the_job(body: bytes, why: str) -> None:
    async with at_work() as (w, worker, id):
        assert (await worker.done(id, body)).status == 200
        state, _, error = await outcome(w, id)
        assert state is JobState.FAILED
        assert f"what its worker sent {why}" in (error or "")


@pytest.mark.requirement("worker.result.lenient")
async def test_a_large_result_that_is_nearly_json_is_read_too() -> None:
    async with at_work() as (w, worker, id):
        await worker.done(id, b'{"output": [' + b"NaN, " * 200_000 + b"1]}")
        state, output, _ = await outcome(w, id)
        assert (state, len(output), output[-1]) == (JobState.COMPLETED, 200_001, 1)


@pytest.mark.requirement("worker.result.size", "worker.result.accepted", "platform.sizes")
@pytest.mark.parametrize("field", ["output", "error"])
@pytest.mark.parametrize("sync", [False, True])
async def test_a_result_above_its_limit_fails_the_job_and_is_answered_all_the_same(sync: bool, field: str) -> None:
    async with world() as w:
        limit = limits.RUNSYNC_BODY_BYTES if sync else limits.RUN_BODY_BYTES
        id = (await w.gateway.clients.submit(ENDPOINT, NewJob(input=b"1"), sync=sync)).id
        worker = LegacyWorker(w)
        await worker.take()
        assert (await worker.done(id, {field: "x" * (limit + 1)})).status == 200
        state, _, error = await outcome(w, id)
        assert (state, f"the limit is {limit}" in (error or "")) == (JobState.FAILED, True)


@pytest.mark.requirement("worker.result.size", "worker.result.accepted")
@pytest.mark.parametrize("send", [LegacyWorker.done, LegacyWorker.chunk])
async def test_a_body_beyond_all_limits_fails_the_job_unread(
    send: Callable[[LegacyWorker, str, Any], Awaitable[Answer]],
) -> None:
    async with at_work() as (w, worker, id):
        worker.headers["content-length"] = str(65 * 1024 * 1024)
        assert (await send(worker, id, {"output": 1})).status == 200
        assert (await outcome(w, id))[0] is JobState.FAILED


@pytest.mark.requirement("worker.result.late")
async def test_a_result_of_an_attempt_that_was_given_up_changes_nothing_while_the_job_waits() -> None:
    async with at_work() as (w, worker, id):
        await w.pass_time(limits.LEASE_MS + 1_000)
        assert (await worker.done(id, {"output": "late"})).status == 200
        assert (await outcome(w, id))[0] is JobState.IN_QUEUE


@pytest.mark.requirement("worker.result.final", "worker.result.late", "worker.job.attempt")
async def test_a_late_result_of_an_attempt_that_is_over_changes_nothing() -> None:
    async with world() as w:
        id = await w.submit()
        first, second = LegacyWorker(w, "w-1"), LegacyWorker(w, "w-2")
        await first.take()
        await w.pass_time(limits.LEASE_MS + 1_000)
        job = await second.take()
        assert (await first.done(id, {"output": "late"})).status == 200
        assert (await outcome(w, id))[0] is JobState.IN_PROGRESS
        await second.done(job["id"], {"output": "right"})
        await first.done(id, {"output": "later"})
        assert await outcome(w, id) == (JobState.COMPLETED, "right", None)


async def test_a_result_of_a_worker_that_does_not_have_the_job_changes_nothing() -> None:
    async with world() as w:
        id = await w.submit()
        await LegacyWorker(w).take()
        assert (await LegacyWorker(w, "w-2").done(id, {"output": 1})).status == 200
        assert (await outcome(w, id))[0] is JobState.IN_PROGRESS


async def test_nothing_is_left_of_a_large_result_that_came_too_late() -> None:
    store = MemoryStore()
    async with at_work(store) as (w, worker, id):
        await w.gateway.clients.cancel(ENDPOINT, id)
        assert (await worker.done(id, {"output": "x" * 2 * base.BLOB_BYTES})).status == 200
        assert store._rows.blobs == {}


@pytest.mark.requirement("worker.result.accepted", "worker.result.final")
async def test_a_result_comes_twice_and_counts_once() -> None:
    async with at_work() as (w, worker, id):
        for output in (1, 2):
            assert (await worker.done(id, {"output": output})).status == 200
        assert await outcome(w, id) == (JobState.COMPLETED, 1, None)


@pytest.mark.requirement("worker.result.accepted")
async def test_a_job_that_is_not_there_is_answered_all_the_same_whoever_has_it() -> None:
    async with world() as w:
        await w.register("ns.other")
        id = (await w.gateway.clients.submit("ns.other", NewJob(input=b"1"))).id
        worker = LegacyWorker(w)
        for answer in (await worker.done(id, {"output": 1}), await worker.chunk(id, 1), await worker.done("x", {})):
            assert (answer.status, answer.json) == (200, {})
        assert (await w.gateway.clients.status("ns.other", id)).job.state is JobState.IN_QUEUE


@pytest.mark.parametrize("operation", ["job-done", "job-stream"])
async def test_a_wrong_key_is_refused_before_the_body_is_read(operation: str) -> None:
    async with world() as w:
        call = LegacyWorker(w, key="wrong").call("POST", f"{operation}/w-1/x?sdk=x", b"{}")
        assert (await call.answer()).status == 401
        assert call.unread


@pytest.mark.requirement("worker.progress", "worker.result.final")
async def test_progress_is_seen_until_the_result_and_not_after_it() -> None:
    async with at_work() as (w, worker, id):
        await worker.done(id, {"status": "IN_PROGRESS", "output": "half"})
        assert await outcome(w, id) == (JobState.IN_PROGRESS, "half", None)
        await worker.done(id, {"output": "all"})
        assert (await worker.done(id, {"status": "IN_PROGRESS", "output": "99 %"})).status == 200
        assert await outcome(w, id) == (JobState.COMPLETED, "all", None)


@pytest.mark.requirement("worker.refresh")
async def test_a_result_that_asks_for_a_fresh_worker_gets_this_one_replaced() -> None:
    async with world() as w:
        id = await w.submit()
        worker = LegacyWorker(w)
        call = worker.ask_stops()
        await worker.take()
        await worker.done(id, {"output": 1, "stopPod": True})
        assert (await call.answer()).status == 204
        assert await outcome(w, id) == (JobState.COMPLETED, 1, None)
        (view,) = (await w.snapshot()).workers
        assert (view.replace, view.draining, view.running) == (True, True, 0)
        await w.submit()
        again = worker.ask()
        await settle()
        assert not again.done


@pytest.mark.requirement("worker.stream.order")
async def test_streamed_items_are_numbered_in_the_order_in_which_they_come() -> None:
    async with at_work() as (w, worker, id):
        for item in ("a", "a", {"b": 1}, None):
            assert (await worker.chunk(id, item)).status == 200
        assert await streamed(w, id) == ["a", "a", {"b": 1}, None]


async def test_a_stream_goes_on_at_a_gateway_that_was_started_anew() -> None:
    async with world() as before:
        id = await before.submit()
        worker = LegacyWorker(before)
        await worker.take()
        await worker.chunk(id, 1)
        after = World(before.store)
        after.clock.ms = before.clock.ms
        await after.gateway.start()
        await LegacyWorker(after).chunk(id, 2)
        assert await streamed(after, id) == [1, 2]
        await after.gateway.close()


@pytest.mark.requirement("worker.stream.repeated")
async def test_a_chunk_whose_answer_failed_is_recognised_when_it_comes_again() -> None:
    async with at_work() as (w, worker, id):
        await send_unheard(w, id, b'"a"')
        await worker.chunk(id, "a")
        assert await streamed(w, id) == ["a"]
        await worker.chunk(id, "a")
        assert await streamed(w, id) == ["a", "a"]


async def test_another_chunk_after_a_failed_answer_is_a_new_one() -> None:
    async with at_work() as (w, worker, id):
        await send_unheard(w, id, b'"a"')
        await worker.chunk(id, "b")
        await worker.chunk(id, "a")
        assert await streamed(w, id) == ["a", "b", "a"]


async def test_the_same_chunk_long_after_a_failed_answer_is_a_new_one() -> None:
    async with at_work() as (w, worker, id):
        await send_unheard(w, id, b'"a"')
        w.clock.ms += REPEAT_MS
        await worker.chunk(id, "a")
        assert await streamed(w, id) == ["a", "a"]


async def test_a_chunk_that_was_never_stored_is_stored_when_it_comes_again() -> None:
    store = FailingStore()
    async with at_work(store) as (w, worker, id):
        store.refused = {base.AppendChunk}
        call = worker.send_chunk(id, "a")
        await settle()
        w.clock.ms += INSIST_MS
        assert (await call.answer()).status == 503
        store.refused = set()
        await worker.chunk(id, "a")
        assert await streamed(w, id) == ["a"]


async def test_the_stream_of_an_attempt_that_is_over_is_dropped() -> None:
    async with at_work() as (w, worker, id):
        await w.gateway.clients.cancel(ENDPOINT, id)
        assert (await worker.chunk(id, 1)).status == 200
        assert await streamed(w, id) == []
        (view,) = (await w.snapshot()).workers
        assert view.running == 0


@pytest.mark.requirement("platform.sizes", "worker.result.accepted")
async def test_an_item_above_its_limit_ends_the_job() -> None:
    async with at_work() as (w, worker, id):
        assert (await worker.chunk(id, "x" * limits.CHUNK_BYTES)).status == 200
        state, _, error = await outcome(w, id)
        assert (state, "a streamed item is larger" in (error or "")) == (JobState.FAILED, True)


async def test_a_stream_above_its_limit_ends_the_job() -> None:
    async with at_work() as (w, worker, id):
        job = (await w.status(id)).job
        append = base.AppendChunk(endpoint=ENDPOINT, id=id, token=job.token, seq=1, items=(b"1",) * CHUNKS_MAX)
        await w.gateway._stores.of(ENDPOINT).one(append)
        assert (await worker.chunk(id, 1)).status == 200
        assert "it streamed more than one attempt may" in ((await outcome(w, id))[2] or "")


async def test_an_item_that_nobody_can_read_ends_the_job() -> None:
    async with at_work() as (w, worker, id):
        assert (await worker.call("POST", f"job-stream/w-1/{id}?sdk=x", b"nothing").answer()).status == 200
        assert (await outcome(w, id))[0] is JobState.FAILED


@pytest.mark.requirement("worker.result.insists")
async def test_a_result_is_held_until_the_store_takes_it() -> None:
    store = FailingStore()
    async with at_work(store) as (w, worker, id):
        call = await send_result_in_vain(store, worker, id)
        call.hang_up()
        await settle()
        assert not call.done
        store.refused = set()
        assert (await call.answer()).status == 200
        assert await outcome(w, id) == (JobState.COMPLETED, 1, None)


@pytest.mark.requirement("worker.result.insists")
async def test_a_result_that_the_store_does_not_take_for_long_is_sent_back() -> None:
    store = FailingStore()
    async with at_work(store) as (w, worker, id):
        call = await send_result_in_vain(store, worker, id)
        w.clock.ms += INSIST_MS
        answer = await call.answer()
        assert (answer.status, "send it again" in answer.json["error"]) == (503, True)


async def test_a_gateway_that_goes_down_goes_on_asking_the_store_for_a_while() -> None:
    store = FailingStore()
    async with at_work(store) as (w, worker, id):
        call = await send_result_in_vain(store, worker, id)
        w.gateway.drain()
        await settle()
        assert not call.done
        store.refused = set()
        assert (await call.answer()).status == 200
        assert (await outcome(w, id))[0] is JobState.COMPLETED


async def test_a_gateway_that_goes_down_waits_for_no_store_in_the_end() -> None:
    store = FailingStore()
    async with at_work(store) as (w, worker, id):
        call = await send_result_in_vain(store, worker, id)
        w.gateway.drain()
        w.clock.ms += DRAIN_MS
        assert (await call.answer()).status == 503


@pytest.mark.parametrize(
    ("body", "state"),
    [
        (b'{"error": "broken"}', JobState.IN_QUEUE),
        (b"no JSON", JobState.FAILED),
        (b'{"output": "' + b"x" * limits.RUN_BODY_BYTES + b'"}', JobState.FAILED),
    ],
)
async def test_where_errors_are_retried_what_would_be_the_same_again_is_not(body: bytes, state: JobState) -> None:
    async with world() as w:
        submit = base.Submit(
            id="j",
            endpoint=ENDPOINT,
            input=b"1",
            max_attempts=3,
            execution_timeout_ms=0,
            ttl_ms=86_400_000,
            retention_ms=60_000,
            retry_errors=True,
        )
        await w.gateway._stores.of(ENDPOINT).one(submit)
        worker = LegacyWorker(w)
        await worker.take()
        await worker.done("j", body)
        assert (await outcome(w, "j"))[0] is state


async def test_a_large_output_of_which_nobody_knows_whether_it_was_stored_is_kept() -> None:
    store = UnsureStore()
    async with at_work(store) as (w, worker, id):
        call = worker.send_done(id, b'{"output": ' + LARGE_OUTPUT + b"}")
        await settle()
        store.arrives()
        assert (await call.answer()).status == 200
        assert await outcome(w, id) == (JobState.COMPLETED, json.loads(LARGE_OUTPUT), None)
        assert len(store._rows.blobs) == 1, "that of the second try is not kept"


async def test_a_large_output_on_its_way_to_the_store_is_kept_when_its_request_is_given_up(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "jobs.db")
    async with at_work(store) as (w, _, id):
        posts, group = w.gateway.legacy_posts, w.gateway._stores.of(ENDPOINT)
        with store._writing:  # the disk is slow
            posting = asyncio.ensure_future(posts.result(ENDPOINT, "w-1", TOKEN, id, Result(output=LARGE_OUTPUT)))
            while not group._busy:
                await settle(1)
            posting.cancel()
            await asyncio.wait({posting})
        await w.submit()
        assert await outcome(w, id) == (JobState.COMPLETED, json.loads(LARGE_OUTPUT), None)
