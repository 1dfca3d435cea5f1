"""What the holder of a job writes, what clients end, and what nobody else can."""

import asyncio

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import attempt_token
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.jobs.transition import CHUNKS_MAX, Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, one, read, refused, running, state, taken
from tests.support.store_operations import (
    ENDPOINT,
    RETENTION_MS,
    append,
    cancel,
    finish,
    gone,
    heartbeat,
    lose,
    progress,
    release,
    submit,
    take,
)


async def test_a_result_is_published_once(store: Store) -> None:
    job = running(store)
    done = applied(store, finish(job, b'"first"'), NOW + 10)
    assert (done.state, done.result_attempt, done.keep_until) == (JobState.COMPLETED, 1, NOW + 10 + RETENTION_MS)
    again = one(store, finish(job, b'"second"', "boom"), NOW + 20)
    assert isinstance(again, base.Applied)
    assert again.change.duplicate
    assert again.change.after == done
    assert await read(store) == done
    assert await store.content(done) == base.Content(b'"first"')
    assert store.tally(ENDPOINT) == Tally(arrived=1, completed=1)


async def test_an_error_with_partial_output_fails_the_job_and_keeps_both(store: Store) -> None:
    done = applied(store, finish(running(store), b"[1]", "boom"))
    assert done.state is JobState.FAILED
    assert await store.content(done) == base.Content(b"[1]", "boom")


async def test_what_the_worker_measured_is_kept(store: Store) -> None:
    job = running(store)
    outcome = base.Finish(endpoint=ENDPOINT, id="a", token=job.token, output=b"1", execution_ms=1_234)
    assert applied(store, outcome).execution_ms == 1_234
    assert (await read(store)).execution_ms == 1_234


async def test_every_write_with_another_token_is_refused(store: Store) -> None:
    job = running(store)
    for other in ("1-0000000000000000", "2-0000000000000007", "1@v", "2@w", ""):
        for write in (
            heartbeat(job, other),
            progress(job, b"1", other),
            append(job, 1, b"1", token=other),
            finish(job, token=other),
            release(job, other),
            lose(job, token=other),
        ):
            assert one(store, write) == base.Refused(Reason.STALE, job), write
    assert await read(store) == job
    assert await store.content(job) == base.Content()
    assert await store.chunks(job, 0, 10) == []


async def test_a_worker_without_lease_tokens_names_attempt_and_itself(store: Store) -> None:
    mine = attempt_token(1, "w")
    job = running(store)
    applied(store, heartbeat(job, mine))
    applied(store, append(job, 1, b"1", token=mine))
    assert applied(store, finish(job, token=mine)).state is JobState.COMPLETED
    again = one(store, finish(job, b"2", token=mine))
    assert isinstance(again, base.Applied)
    assert again.change.duplicate


async def test_the_first_worker_cannot_finish_what_a_second_one_holds(store: Store) -> None:
    first = running(store)
    one(store, release(first))
    (second,) = taken(store, take(worker="v", nonce=9))
    for write in (finish(first), finish(first, token=attempt_token(1, "w")), heartbeat(first), release(first)):
        assert refused(store, write) is Reason.STALE
    assert applied(store, finish(second)).state is JobState.COMPLETED
    assert refused(store, finish(first)) is Reason.STALE


async def test_a_queued_job_takes_no_writes(store: Store) -> None:
    job = running(store)
    one(store, release(job))
    for write in (finish(job), heartbeat(job), append(job, 1, b"1"), progress(job, b"1"), finish(job, token="")):
        assert refused(store, write) is Reason.STALE
    assert await store.content(await read(store)) == base.Content()


async def test_chunks_are_kept_in_order_without_duplicates(store: Store) -> None:
    job = running(store)
    applied(store, append(job, 1, b"1", b"2"))
    applied(store, append(job, 2, b"2", b"3"))
    again = one(store, append(job, 1, b"1", b"2", b"3"))
    assert isinstance(again, base.Applied)
    assert again.change.duplicate
    assert await store.chunks(job, 0, 10) == [b"1", b"2", b"3"]
    assert await store.chunks(job, 1, 1) == [b"2"]
    assert await store.chunks(job, 3, 10) == []
    assert (await read(store)).chunk_bytes == 3


async def test_who_read_chunks_at_the_same_time_get_their_own_however_many_and_large(store: Store) -> None:
    long, large, short = (running(store, id) for id in "abc")
    many = [b"%d" % number for number in range(200)]
    wide = [bytes([number]) * 30_000 for number in range(5)]
    for job, items in ((long, many), (large, wide), (short, [b"1", b"2"])):
        applied(store, append(job, 1, *items))
    long, large, short = [await read(store, job.id) for job in (long, large, short)]
    asked = [(short, 0, 9), (long, 0, 300), (long, 190, 300), (long, 150, 7), (large, 0, 9), (large, 3, 9)]
    found = await asyncio.gather(*(store.chunks(*each) for each in asked))
    assert found == [[b"1", b"2"], many, many[190:], many[150:157], wide, wide[3:]]


async def test_a_hole_in_the_chunks_is_refused(store: Store) -> None:
    job = running(store)
    assert refused(store, append(job, 2, b"2")) is Reason.GAP
    applied(store, append(job, 1, b"1"))
    assert refused(store, append(job, 3, b"3")) is Reason.GAP
    assert await store.chunks(job, 0, 10) == [b"1"]


async def test_more_chunks_than_an_attempt_may_leave_are_refused(store: Store) -> None:
    job = running(store)
    applied(store, append(job, 1, *[b"x"] * CHUNKS_MAX))
    assert refused(store, append(job, CHUNKS_MAX + 1, b"x")) is Reason.TOO_LARGE
    assert len(await store.chunks(job, 0, CHUNKS_MAX + 1)) == CHUNKS_MAX


async def test_chunks_of_an_attempt_without_outcome_are_void(store: Store) -> None:
    job = running(store)
    applied(store, append(job, 1, b"old", b"old"))
    one(store, release(job))
    assert await store.chunks(await read(store), 0, 10) == []
    (second,) = taken(store, take(nonce=8))
    applied(store, append(second, 1, b"new"))
    applied(store, finish(second))
    assert await store.chunks(second, 0, 10) == [b"new"]


async def test_chunks_stay_with_the_outcome_however_it_came(store: Store) -> None:
    for id, end in (("a", finish), ("b", cancel)):
        job = running(store, id)
        one(store, append(job, 1, b"1"))
        applied(store, end(job))
        assert await store.chunks(job, 0, 10) == [b"1"]


async def test_progress_is_the_output_until_the_end(store: Store) -> None:
    job = running(store)
    store.apply([progress(job, b"1"), progress(job, b"2")], NOW)
    assert await store.content(job) == base.Content(b"2")
    done = applied(store, finish(job, output=None))
    assert await store.content(done) == base.Content()


async def test_progress_of_a_cancelled_job_is_not_its_output(store: Store) -> None:
    job = running(store)
    one(store, progress(job, b"1"))
    assert await store.content(applied(store, cancel(job))) == base.Content()


async def test_progress_of_a_lost_attempt_is_not_shown_by_the_next(store: Store) -> None:
    job = running(store)
    one(store, progress(job, b"1"))
    one(store, gone())
    assert await store.content(await read(store)) == base.Content()
    (second,) = taken(store)
    assert await store.content(second) == base.Content()


async def test_cancelling_ends_a_queued_and_a_running_job(store: Store) -> None:
    job = running(store)
    applied(store, submit("b"))
    ended = one(store, cancel(job))
    assert isinstance(ended, base.Applied)
    assert ended.change.stop
    assert applied(store, base.Cancel(endpoint=ENDPOINT, id="b")).state is JobState.CANCELLED
    for write in (finish(job), heartbeat(job), append(job, 1, b"1"), release(job), lose(job)):
        assert refused(store, write) is Reason.STALE
    assert taken(store) == []
    assert await store.content(await read(store)) == base.Content()
    assert store.tally(ENDPOINT) == Tally(arrived=2, cancelled=2)


async def test_cancelling_a_finished_job_shows_how_it_ended(store: Store) -> None:
    done = applied(store, finish(running(store)))
    assert one(store, cancel(done)) == base.Refused(Reason.FINISHED, done)


async def test_a_job_that_loses_every_worker_fails_and_says_so(store: Store) -> None:
    applied(store, submit("a", max_attempts=2))
    for _ in range(2):
        (job,) = taken(store)
        one(store, lose(job))
    assert await state(store) is JobState.FAILED
    content = await store.content(await read(store))
    assert content == base.Content(None, "worker lost 2 times; the last one: it was evicted")
    assert store.tally(ENDPOINT) == Tally(arrived=1, failed=1, retried=1)


async def test_a_loss_that_is_not_charged_never_fails_the_job(store: Store) -> None:
    applied(store, submit("a", max_attempts=1))
    for loss in (gone(charged=False), gone(charged=False), None):
        (job,) = taken(store)
        one(store, loss or lose(job, charged=False))
    assert await state(store) is JobState.IN_QUEUE


async def test_a_job_that_lost_two_workers_waits_before_it_goes_again(store: Store) -> None:
    applied(store, submit("a"))
    for _ in range(2):
        taken(store)
        one(store, gone())
    assert taken(store) == []
    due = await store.next_due()
    assert due == (await read(store)).run_at
    assert due is not None
    assert taken(store, now=due - 1) == []
    assert [job.id for job in taken(store, now=due)] == ["a"]


async def test_only_the_named_worker_loses_its_jobs(store: Store) -> None:
    store.apply([submit(id) for id in "abcd"], NOW)
    taken(store, take(worker="w", session="old"))
    taken(store, take(worker="w", session="new"))
    taken(store, take(worker="v"))
    taken(store, take(worker="w", session="old"))
    outcome = one(store, gone("w", keep="new"))
    assert [change.before.id for change in base.changes(outcome) if change.before] == ["a", "d"]
    assert [(await state(store, id)).value[:4] for id in "abcd"] == ["IN_Q", "IN_P", "IN_P", "IN_Q"]
    assert [job.id for job in await store.held(ENDPOINT, "w")] == ["b"]
    assert await store.holders(ENDPOINT) == {"w": 1, "v": 1}


async def test_returns_to_the_queue_are_counted(store: Store) -> None:
    one(store, release(running(store)))
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1, retried=1)
