"""Submits and takes: what is stored, and who gets what, in which order."""

import pytest
from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.errors import StoreError
from submodel_gateway.jobs.record import AGING_MS
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, backlog, error, one, read, refused, running, state, swept, taken
from tests.support.store_operations import (
    ENDPOINT,
    EVER,
    LEASE_MS,
    append,
    cancel,
    finish,
    gone,
    heartbeat,
    lose,
    progress,
    purge,
    release,
    retry,
    submit,
    take,
)


async def test_a_submitted_job_is_readable_and_queued(store: Store) -> None:
    job = applied(store, submit("a", pri=2, retry_errors=True, webhook="https://example.com"))
    assert await store.job(ENDPOINT, "a") == job
    assert (job.state, job.created_at, job.queued_at, job.deadline) == (JobState.IN_QUEUE, NOW, NOW, NOW + 86_400_000)
    assert await store.content(job) == base.Content()
    assert await store.chunks(job, 0, 10) == []
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1)


async def test_a_job_that_nobody_submitted_is_unknown(store: Store) -> None:
    assert await store.job(ENDPOINT, "a") is None
    for operation in (base.Cancel(endpoint=ENDPOINT, id="a"), base.Retry(endpoint=ENDPOINT, id="a")):
        assert one(store, operation) == base.Refused(Reason.UNKNOWN)
    assert store.tally(ENDPOINT) == Tally()


async def test_the_same_id_submitted_again_changes_nothing(store: Store) -> None:
    job = applied(store, submit("a"))
    assert one(store, submit("a", input=b"2"), NOW + 5) == base.Refused(Reason.EXISTS, job)
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1)
    assert await read(store) == job


async def test_every_operation_on_a_job_of_another_endpoint_finds_none(store: Store) -> None:
    mine = running(store, webhook="https://example.com")
    theirs = replace(mine, endpoint="other")
    for operation in (
        heartbeat(theirs),
        progress(theirs, b"1"),
        append(theirs, 1, b"1"),
        finish(theirs),
        release(theirs),
        lose(theirs),
        cancel(theirs),
        retry(theirs),
    ):
        assert one(store, operation) == base.Refused(Reason.UNKNOWN), operation
    assert taken(store, take(endpoint="other")) == []
    assert swept(store, NOW, purge(endpoint="other", running=True)) == []
    gone = base.WorkerGone(endpoint="other", worker="w", reason="-")
    assert swept(store, NOW, gone) == []
    assert await store.job("other", "a") is None
    assert await store.requests("other", None, 10) == base.Page((), None)
    assert await store.held("other", "w") == []
    assert await store.holders("other") == {}
    assert (store.tally("other"), await backlog(store, "other", NOW)) == (Tally(), base.Backlog())
    assert await read(store) == mine


async def test_an_id_that_another_endpoint_has_is_not_taken_over(store: Store) -> None:
    job = applied(store, submit("a"))
    with pytest.raises(StoreError):
        one(store, submit("a", endpoint="other"))
    assert await read(store) == job
    assert (await store.job("other", "a"), store.tally("other")) == (None, Tally())


async def test_jobs_are_taken_in_the_order_of_their_submits(store: Store) -> None:
    store.apply([submit(id) for id in "cab"], NOW)
    assert [job.id for job in taken(store, take(limit=2))] == ["c", "a"]
    assert [job.id for job in taken(store, take(limit=2))] == ["b"]


async def test_a_higher_priority_goes_first(store: Store) -> None:
    store.apply([submit("low", pri=-1), submit("usual"), submit("high", pri=1)], NOW)
    assert [job.id for job in taken(store, take(limit=3))] == ["high", "usual", "low"]


async def test_a_job_that_waited_long_enough_goes_before_a_fresh_one_of_higher_priority(store: Store) -> None:
    applied(store, submit("old"), NOW)
    applied(store, submit("urgent", pri=1), NOW + AGING_MS + 1)
    applied(store, submit("very urgent", pri=2), NOW + AGING_MS + 1)
    later = NOW + AGING_MS + 2
    assert [job.id for job in taken(store, take(limit=3), later)] == ["very urgent", "old", "urgent"]


async def test_jobs_that_are_equally_urgent_go_in_the_order_of_their_submits(store: Store) -> None:
    applied(store, submit("old"), NOW)
    applied(store, submit("urgent", pri=1), NOW + AGING_MS)
    assert [job.id for job in taken(store, take(limit=2), NOW + AGING_MS)] == ["old", "urgent"]


async def test_a_take_says_what_it_changed(store: Store) -> None:
    job = applied(store, submit("a", input=b'{"x" : 1.0}', extra=b'{"s3Config":{}}'))
    outcome = one(store, take(nonce=77), NOW + 5)
    assert isinstance(outcome, base.Taken)
    (lease,), (change,) = outcome.leases, outcome.changes
    assert (change.before, change.after) == (job, lease.job)
    assert (lease.input, lease.extra) == (b'{"x" : 1.0}', b'{"s3Config":{}}')
    assert (lease.job.attempt, lease.job.nonce, lease.job.worker, lease.job.session) == (1, 77, "w", "s")
    assert (lease.job.taken_at, lease.job.lease_until) == (NOW + 5, NOW + 5 + LEASE_MS)
    assert await read(store) == lease.job
    assert store.tally(ENDPOINT) == Tally(in_progress=1, arrived=1)


async def test_a_take_stops_before_its_bytes_but_brings_one_job_at_least(store: Store) -> None:
    store.apply([submit(id, input=b"x" * 60, extra=b"y" * 40) for id in "abc"], NOW)
    for max_bytes, id in ((50, "a"), (199, "b"), (200, "c")):
        few = replace(take(limit=3), max_bytes=max_bytes)
        assert [job.id for job in taken(store, few)] == [id]


async def test_a_take_within_its_bytes_brings_all(store: Store) -> None:
    store.apply([submit(id, input=b"x" * 60, extra=b"y" * 40) for id in "abc"], NOW)
    assert [job.id for job in taken(store, replace(take(limit=3), max_bytes=300))] == ["a", "b", "c"]


async def test_no_two_leases_of_one_take_have_the_same_token(store: Store) -> None:
    store.apply([submit(id) for id in "abc"], NOW)
    jobs = taken(store, take(limit=3, nonce=2**63 - 2))
    assert len({job.token for job in jobs}) == 3
    assert [await read(store, job.id) for job in jobs] == jobs


async def test_a_job_that_is_held_is_not_handed_out_again(store: Store) -> None:
    running(store)
    assert taken(store, take(worker="v", nonce=8)) == []


async def test_a_released_job_is_the_first_again_and_not_charged(store: Store) -> None:
    store.apply([submit("a"), submit("b")], NOW)
    (job,) = taken(store)
    back = applied(store, release(job))
    assert (back.state, back.used, back.attempt, back.worker) == (JobState.IN_QUEUE, 0, 1, None)
    assert [job.id for job in taken(store)] == ["a"]


async def test_the_holder_of_a_job_is_known(store: Store) -> None:
    store.apply([submit(id) for id in "abc"], NOW)
    first, second = taken(store, take(limit=2))
    taken(store, take(worker="v", nonce=8))
    assert await store.held(ENDPOINT, "w") == [first, second]
    assert await store.holders(ENDPOINT) == {"w": 2, "v": 1}
    one(store, finish(first))
    assert await store.holders(ENDPOINT) == {"w": 1, "v": 1}


async def test_the_backlog_knows_its_oldest_and_its_late_jobs(store: Store) -> None:
    for age, id in enumerate("abc"):
        applied(store, submit(id), NOW + age)
    assert await backlog(store, ENDPOINT, NOW + 1) == base.Backlog(oldest_at=NOW, late=2)
    assert await backlog(store, ENDPOINT, NOW - 1) == base.Backlog(oldest_at=NOW, late=0)
    assert await backlog(store, ENDPOINT, None) == base.Backlog(oldest_at=NOW, late=0)
    assert await backlog(store, "other", NOW) == base.Backlog()


async def test_a_queued_job_knows_how_many_go_before_it(store: Store) -> None:
    jobs = {id: applied(store, submit(id, pri=pri)) for id, pri in (("a", 0), ("b", 0), ("c", 1), ("d", -1))}
    applied(store, submit("elsewhere", endpoint="other", pri=9))
    before = {id: await store.ahead(job) for id, job in jobs.items()}
    assert before == {"c": 0, "a": 1, "b": 2, "d": 3}
    taken(store, take(limit=2))
    assert (await store.ahead(jobs["b"]), await store.ahead(jobs["d"])) == (0, 1)


async def test_jobs_that_go_before_are_counted_up_to_a_bound(store: Store) -> None:
    store.apply([submit(f"job-{number}") for number in range(base.AHEAD_MAX + 1)], NOW)
    last = applied(store, submit("last"))
    assert await store.ahead(last) == base.AHEAD_MAX


async def test_the_backlog_counts_late_jobs_up_to_its_bound(store: Store) -> None:
    store.apply([submit(f"job-{number}") for number in range(base.LATE_MAX + 1)], NOW)
    assert await backlog(store, ENDPOINT, NOW) == base.Backlog(oldest_at=NOW, late=base.LATE_MAX)


async def test_queue_numbers_are_given_once(store: Store) -> None:
    store.apply([submit("a"), submit("b")], NOW)
    assert await store.last_seq() == (await read(store, "b")).seq
    one(store, cancel(await read(store, "b")))
    assert applied(store, submit("c")).seq > (await read(store, "b")).seq


async def test_a_purge_cancels_what_is_queued_and_nothing_later(store: Store) -> None:
    running(store, "held")
    store.apply([submit("a"), submit("b")], NOW)
    up_to = await store.last_seq()
    applied(store, submit("later"))
    assert swept(store, NOW, purge(up_to)) == ["a", "b"]
    states = {id: (await state(store, id)).value for id in ("held", "a", "b", "later")}
    assert states == {"held": "IN_PROGRESS", "a": "CANCELLED", "b": "CANCELLED", "later": "IN_QUEUE"}
    assert await error(store, "a") == "the queue was purged"
    assert store.tally(ENDPOINT) == Tally(queued=1, in_progress=1, arrived=4, cancelled=2)


async def test_a_purge_goes_in_batches_in_the_order_of_the_queue(store: Store) -> None:
    store.apply([submit("a"), submit("b"), submit("high", pri=1)], NOW)
    assert swept(store, NOW, purge(limit=2)) == ["high", "a"]
    assert swept(store, NOW, purge(limit=2)) == ["b"]
    assert swept(store, NOW, purge(limit=2)) == []


async def test_a_job_that_was_retried_after_the_purge_began_survives_it(store: Store) -> None:
    job = applied(store, finish(running(store), error="boom"))
    up_to = await store.last_seq()
    applied(store, retry(job))
    assert swept(store, NOW, purge(up_to)) == []


async def test_the_end_of_an_endpoint_cancels_running_jobs_too(store: Store) -> None:
    running(store)
    applied(store, submit("b"))
    applied(store, submit("c", endpoint="other"))
    end = base.Purge(endpoint=ENDPOINT, up_to=EVER, limit=2, running=True, reason="the endpoint was deleted")
    outcome = one(store, end)
    assert [change.stop for change in base.changes(outcome)] == [False, True]
    assert [await state(store, id) for id in "ab"] == [JobState.CANCELLED] * 2
    assert await error(store, "a") == "the endpoint was deleted"
    assert store.tally("other") == Tally(queued=1, arrived=1)


async def test_registrations_are_kept_and_forgotten(store: Store) -> None:
    for endpoint, registration in (("a", b"1"), ("b", b"2"), ("a", b"3")):
        assert one(store, base.PutEndpoint(endpoint=endpoint, registration=registration)) == base.Stored()
    assert one(store, base.DeleteEndpoint(endpoint="b")) == base.Stored()
    assert one(store, base.DeleteEndpoint(endpoint="never")) == base.Stored()
    assert await store.endpoints() == {"a": b"3"}


async def test_a_deleted_endpoint_keeps_its_jobs_until_they_are_purged(store: Store) -> None:
    applied(store, submit("a"))
    one(store, base.DeleteEndpoint(endpoint=ENDPOINT))
    assert refused(store, submit("a")) is Reason.EXISTS
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1)


async def test_the_mark_is_the_instant_of_the_last_commit(store: Store) -> None:
    applied(store, submit("a"), NOW + 7)
    time = await store.time()
    assert time.mark_ms == NOW + 7
    assert time.wall_ms > 0


async def test_the_end_of_one_session_spares_what_the_worker_holds_in_another(store: Store) -> None:
    store.apply([submit("a"), submit("b")], NOW)
    (first,) = taken(store, take(session="s-1"))
    (second,) = taken(store, take(session="s-2"))
    assert swept(store, NOW, gone(only="s-1")) == [first.id]
    assert [job.id for job in await store.held(ENDPOINT, "w")] == [second.id]


async def test_jobs_of_low_priority_are_told_apart_from_those_that_start_workers(store: Store) -> None:
    store.apply([submit("low", low_priority=True), submit("also low", low_priority=True)], NOW)
    assert await backlog(store, ENDPOINT, NOW) == base.Backlog(usual=0)
    applied(store, submit("usual"), NOW + 1)
    assert await backlog(store, ENDPOINT, NOW + 1) == base.Backlog(NOW + 1, 1, usual=1)
    assert store.tally(ENDPOINT) == Tally(queued=3, arrived=3, arrived_low=2)
    assert await backlog(store, "other", NOW) == base.Backlog()


async def test_a_job_of_low_priority_is_taken_in_its_turn_and_counted_while_it_runs(store: Store) -> None:
    store.apply([submit("low", low_priority=True), submit("usual"), submit("last", low_priority=True)], NOW)
    low, usual = taken(store, take(limit=2))
    assert (low.id, low.low_priority, usual.low_priority) == ("low", True, False)
    assert await backlog(store, ENDPOINT, NOW) == base.Backlog(usual=0, running_low=1)
    applied(store, finish(low))
    assert await backlog(store, ENDPOINT, NOW) == base.Backlog(usual=0)
    assert [job.id for job in taken(store)] == ["last"]
    assert await backlog(store, ENDPOINT, NOW) == base.Backlog(running_low=1)
