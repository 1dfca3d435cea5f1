"""What every store engine promises; see `submodel_gateway.store.base`."""

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_operations import (
    ENDPOINT,
    LEASE_MS,
    append,
    cancel,
    finish,
    gone,
    heartbeat,
    progress,
    release,
    submit,
    take,
)

NOW = 1_700_000_000_000


def one(store: Store, operation: base.Operation, now: int = NOW) -> base.Outcome:
    (outcome,) = store.apply([operation], now)
    return outcome


def applied(store: Store, operation: base.Operation, now: int = NOW) -> Job:
    outcome = one(store, operation, now)
    assert isinstance(outcome, base.Applied), outcome
    assert outcome.change.after is not None
    return outcome.change.after


def refused(store: Store, operation: base.Operation, now: int = NOW) -> Reason:
    outcome = one(store, operation, now)
    assert isinstance(outcome, base.Refused), outcome
    return outcome.reason


def taken(store: Store, operation: base.Take | None = None, now: int = NOW) -> list[Job]:
    outcome = one(store, operation or take(), now)
    assert isinstance(outcome, base.Taken), outcome
    return [lease.job for lease in outcome.leases]


def running(store: Store, id: str = "a", now: int = NOW) -> Job:
    """A job that worker `w` holds."""
    applied(store, submit(id), now)
    (job,) = taken(store, now=now)
    return job


def state(store: Store, id: str = "a") -> JobState:
    job = store.job(ENDPOINT, id)
    assert job is not None
    return job.state


def test_a_submitted_job_is_readable_and_queued(store: Store) -> None:
    applied(store, submit("a"))
    job = store.job(ENDPOINT, "a")
    assert job is not None
    assert (job.state, job.created_at, job.deadline) == (JobState.IN_QUEUE, NOW, NOW + 86_400_000)
    assert store.content(job) == base.Content()


def test_the_same_id_submitted_again_changes_nothing(store: Store) -> None:
    applied(store, submit("a"))
    assert refused(store, submit("a", input=b"2"), NOW + 5) is Reason.EXISTS
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1)


def test_a_job_is_invisible_under_another_endpoint(store: Store) -> None:
    job = running(store)
    assert store.job("other", "a") is None
    other = base.Finish(endpoint="other", id="a", token=job.token, output=b"1")
    assert refused(store, other) is Reason.UNKNOWN
    assert taken(store, take(endpoint="other")) == []


def test_jobs_are_taken_in_the_order_of_their_submits(store: Store) -> None:
    store.apply([submit(id) for id in "cab"], NOW)
    assert [job.id for job in taken(store, take(limit=2))] == ["c", "a"]
    assert [job.id for job in taken(store, take(limit=2))] == ["b"]


def test_a_higher_priority_goes_first(store: Store) -> None:
    store.apply([submit("low"), submit("high", pri=1)], NOW)
    assert [job.id for job in taken(store, take(limit=2))] == ["high", "low"]


def test_a_take_brings_the_payload_byte_for_byte(store: Store) -> None:
    one(store, submit("a", input=b'{"x" : 1.0}', extra=b'{"s3Config":{}}'))
    outcome = one(store, take())
    assert isinstance(outcome, base.Taken)
    assert (outcome.leases[0].input, outcome.leases[0].extra) == (b'{"x" : 1.0}', b'{"s3Config":{}}')


def test_a_take_stops_before_its_bytes_but_brings_one_job_at_least(store: Store) -> None:
    store.apply([submit(id, input=b"x" * 60) for id in "abc"], NOW)
    small = base.Take(endpoint=ENDPOINT, worker="w", session="s", limit=3, nonce=1, lease_ms=LEASE_MS, max_bytes=50)
    assert [job.id for job in taken(store, small)] == ["a"]


def test_no_two_leases_of_one_take_have_the_same_token(store: Store) -> None:
    store.apply([submit(id) for id in "abc"], NOW)
    jobs = taken(store, take(limit=3, nonce=2**63 - 2))
    assert len({job.token for job in jobs}) == 3


def test_submit_and_take_in_one_group_see_each_other(store: Store) -> None:
    outcomes = store.apply([submit("a"), take()], NOW)
    assert isinstance(outcomes[1], base.Taken)
    assert [lease.job.id for lease in outcomes[1].leases] == ["a"]


def test_a_result_is_published_once(store: Store) -> None:
    job = running(store)
    done = applied(store, finish(job, b'"first"'), NOW + 10)
    assert (done.state, done.result_attempt, done.keep_until) == (JobState.COMPLETED, 1, NOW + 10 + 60_000)
    again = one(store, finish(job, b'"second"'), NOW + 20)
    assert isinstance(again, base.Applied)
    assert again.change.duplicate
    assert store.content(done) == base.Content(b'"first"')
    assert store.tally(ENDPOINT) == Tally(arrived=1, completed=1)


def test_an_error_with_partial_output_fails_the_job_and_keeps_both(store: Store) -> None:
    done = applied(store, finish(running(store), b"[1]", "boom"))
    assert done.state is JobState.FAILED
    assert store.content(done) == base.Content(b"[1]", "boom")


def test_every_write_with_another_token_is_refused(store: Store) -> None:
    job = running(store)
    other = "1-0000000000000000"
    for write in (
        heartbeat(job, other),
        progress(job, b"1", other),
        append(job, 1, b"1", token=other),
        finish(job, token=other),
        release(job, other),
        base.Lose(endpoint=ENDPOINT, id="a", token=other, reason="-"),
    ):
        assert refused(store, write) is Reason.STALE, write
    assert store.job(ENDPOINT, "a") == job


def test_the_first_worker_cannot_finish_what_a_second_one_holds(store: Store) -> None:
    first = running(store)
    one(store, release(first))
    (second,) = taken(store, take(worker="v", nonce=9))
    assert refused(store, finish(first)) is Reason.STALE
    assert applied(store, finish(second)).state is JobState.COMPLETED


def test_a_released_job_is_the_first_again_and_not_charged(store: Store) -> None:
    store.apply([submit("a"), submit("b")], NOW)
    (job,) = taken(store)
    back = applied(store, release(job))
    assert (back.state, back.used, back.attempt, back.worker) == (JobState.IN_QUEUE, 0, 1, None)
    assert [job.id for job in taken(store)] == ["a"]


def test_chunks_are_kept_in_order_without_duplicates(store: Store) -> None:
    job = running(store)
    applied(store, append(job, 1, b"1", b"2"))
    applied(store, append(job, 2, b"2", b"3"))
    again = one(store, append(job, 1, b"1", b"2", b"3"))
    assert isinstance(again, base.Applied)
    assert again.change.duplicate
    assert store.chunks(job, 0, 10) == [b"1", b"2", b"3"]
    assert store.chunks(job, 1, 1) == [b"2"]


def test_a_hole_in_the_chunks_is_refused(store: Store) -> None:
    job = running(store)
    assert refused(store, append(job, 2, b"2")) is Reason.GAP
    assert store.chunks(job, 0, 10) == []


def test_chunks_of_an_attempt_without_outcome_are_void(store: Store) -> None:
    job = running(store)
    applied(store, append(job, 1, b"old"))
    one(store, release(job))
    (second,) = taken(store, take(nonce=8))
    applied(store, append(second, 1, b"new"))
    applied(store, finish(second))
    assert store.chunks(second, 0, 10) == [b"new"]


def test_progress_is_the_output_until_the_end(store: Store) -> None:
    job = running(store)
    store.apply([progress(job, b"1"), progress(job, b"2")], NOW)
    assert store.content(job) == base.Content(b"2")
    done = applied(store, finish(job, output=None))
    assert store.content(done) == base.Content()


def test_progress_of_a_lost_attempt_is_not_shown_by_the_next(store: Store) -> None:
    job = running(store)
    one(store, progress(job, b"1"))
    one(store, gone())
    (second,) = taken(store)
    assert store.content(second) == base.Content()


def test_cancelling_ends_a_queued_and_a_running_job(store: Store) -> None:
    job = running(store)
    applied(store, submit("b"))
    assert applied(store, cancel(job)).state is JobState.CANCELLED
    assert applied(store, base.Cancel(endpoint=ENDPOINT, id="b")).state is JobState.CANCELLED
    assert refused(store, finish(job)) is Reason.STALE
    assert taken(store) == []
    assert store.tally(ENDPOINT) == Tally(arrived=2, cancelled=2)


def test_cancelling_a_finished_job_shows_how_it_ended(store: Store) -> None:
    done = applied(store, finish(running(store)))
    outcome = one(store, cancel(done))
    assert outcome == base.Refused(Reason.FINISHED, done)


def test_cancel_and_finish_in_one_group_leave_the_first(store: Store) -> None:
    job = running(store)
    store.apply([cancel(job), finish(job)], NOW)
    assert state(store) is JobState.CANCELLED
    other = running(store, "b")
    store.apply([finish(other), cancel(other)], NOW)
    assert state(store, "b") is JobState.COMPLETED


def test_an_expired_lease_brings_the_job_back(store: Store) -> None:
    running(store)
    assert one(store, base.Sweep(), NOW + LEASE_MS - 1) == base.Swept(())
    one(store, base.Sweep(), NOW + LEASE_MS)
    assert [job.attempt for job in taken(store, now=NOW + LEASE_MS)] == [2]


def test_a_heartbeat_keeps_the_lease(store: Store) -> None:
    job = running(store)
    applied(store, heartbeat(job), NOW + 40_000)
    one(store, base.Sweep(), NOW + LEASE_MS)
    assert state(store) is JobState.IN_PROGRESS


def test_a_job_that_loses_every_worker_fails_and_says_so(store: Store) -> None:
    applied(store, submit("a", max_attempts=2))
    for _ in range(2):
        taken(store)
        one(store, gone())
    job = store.job(ENDPOINT, "a")
    assert job is not None
    assert job.state is JobState.FAILED
    error = store.content(job).error
    assert error is not None
    assert error.startswith("worker lost 2 times")


def test_a_loss_that_is_not_charged_never_fails_the_job(store: Store) -> None:
    applied(store, submit("a", max_attempts=1))
    for _ in range(3):
        taken(store)
        one(store, gone(charged=False))
    assert state(store) is JobState.IN_QUEUE


def test_a_job_that_lost_two_workers_waits_before_it_goes_again(store: Store) -> None:
    applied(store, submit("a"))
    for _ in range(2):
        taken(store)
        one(store, gone())
    assert taken(store) == []
    due = store.next_due()
    assert due is not None
    assert NOW < due < NOW + LEASE_MS
    assert [job.id for job in taken(store, now=due)] == ["a"]


def test_only_the_named_worker_loses_its_jobs(store: Store) -> None:
    store.apply([submit(id) for id in "abc"], NOW)
    taken(store, take(worker="w", session="old"))
    taken(store, take(worker="w", session="new"))
    taken(store, take(worker="v"))
    one(store, gone("w", keep="new"))
    assert [state(store, id) for id in "abc"] == [JobState.IN_QUEUE, JobState.IN_PROGRESS, JobState.IN_PROGRESS]
    assert [job.id for job in store.held(ENDPOINT, "w")] == ["b"]
    assert store.holders(ENDPOINT) == {"w": 1, "v": 1}


def test_a_job_over_its_execution_limit_times_out(store: Store) -> None:
    applied(store, submit("a", execution_timeout_ms=5_000))
    taken(store)
    outcome = one(store, base.Sweep(), NOW + 5_000)
    assert isinstance(outcome, base.Swept)
    assert [change.stop for change in outcome.changes] == [True]
    assert state(store) is JobState.TIMED_OUT


def test_a_job_without_execution_limit_runs_on(store: Store) -> None:
    applied(store, submit("a", execution_timeout_ms=0))
    (job,) = taken(store)
    assert job.exec_limit is None


def test_a_job_past_its_time_to_live_is_never_handed_out(store: Store) -> None:
    applied(store, submit("a", ttl_ms=10_000))
    assert taken(store, now=NOW + 10_000) == []
    one(store, base.Sweep(), NOW + 10_000)
    assert state(store) is JobState.TIMED_OUT


def test_a_finished_job_is_forgotten_after_its_retention(store: Store) -> None:
    job = running(store)
    applied(store, append(job, 1, b"1"))
    applied(store, finish(job))
    one(store, base.Sweep(), NOW + 60_000 - 1)
    assert store.job(ENDPOINT, "a") is not None
    one(store, base.Sweep(), NOW + 60_000)
    assert store.job(ENDPOINT, "a") is None
    assert store.tally(ENDPOINT) == Tally(arrived=1, completed=1)
    assert store.next_due() is None


def test_a_sweep_takes_the_most_overdue_first(store: Store) -> None:
    store.apply([submit("late", ttl_ms=20_000), submit("early", ttl_ms=10_000)], NOW)
    outcome = one(store, base.Sweep(limit=1), NOW + 30_000)
    assert [change.after.id for change in base.changes(outcome) if change.after] == ["early"]


def test_extended_leases_do_not_expire(store: Store) -> None:
    running(store)
    one(store, base.ExtendLeases(until=NOW + 100_000), NOW + 60_000)
    one(store, base.Sweep(), NOW + 90_000)
    assert state(store) is JobState.IN_PROGRESS


def test_a_purge_cancels_what_is_queued_and_nothing_later(store: Store) -> None:
    running(store, "held")
    store.apply([submit("a"), submit("b")], NOW)
    up_to = store.last_seq()
    applied(store, submit("later"))
    one(store, base.Purge(endpoint=ENDPOINT, up_to=up_to, limit=10))
    states = {id: state(store, id).value for id in ("held", "a", "b", "later")}
    assert states == {"held": "IN_PROGRESS", "a": "CANCELLED", "b": "CANCELLED", "later": "IN_QUEUE"}


def test_the_end_of_an_endpoint_cancels_running_jobs_too(store: Store) -> None:
    running(store)
    one(store, base.Purge(endpoint=ENDPOINT, up_to=store.last_seq(), limit=10, running=True))
    assert state(store) is JobState.CANCELLED


def test_the_backlog_knows_its_oldest_and_its_late_jobs(store: Store) -> None:
    for age, id in enumerate("abc"):
        applied(store, submit(id), NOW + age)
    assert store.backlog(ENDPOINT, NOW + 1) == base.Backlog(oldest_at=NOW, late=2)
    assert store.backlog(ENDPOINT, None) == base.Backlog(oldest_at=NOW, late=0)
    assert store.backlog("other", NOW) == base.Backlog()


def test_registrations_are_kept_and_forgotten(store: Store) -> None:
    store.apply(
        [base.PutEndpoint(endpoint="a", registration=b"1"), base.PutEndpoint(endpoint="b", registration=b"2")], 1
    )
    store.apply([base.PutEndpoint(endpoint="a", registration=b"3"), base.DeleteEndpoint(endpoint="b")], 2)
    assert store.endpoints() == {"a": b"3"}


def test_returns_to_the_queue_are_counted(store: Store) -> None:
    one(store, release(running(store)))
    assert store.tally(ENDPOINT) == Tally(queued=1, arrived=1, retried=1)
