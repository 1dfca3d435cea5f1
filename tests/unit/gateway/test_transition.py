"""Every row of the event table of the job state machine."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.jobs import events
from submodel_gateway.jobs.outbox import DELAYS_MS
from submodel_gateway.jobs.record import AGING_MS, WEBHOOK_LIMIT_MS, Job, WebhookState, attempt_token, lease_token
from submodel_gateway.jobs.transition import (
    BACKOFF_MS,
    BACKOFF_MS_MAX,
    CHUNK_BYTES_MAX,
    CHUNKS_MAX,
    Reason,
    Refusal,
    Transition,
    transition,
)

NOW = 1_000_000
TTL_MS = 60_000
LIMIT_MS = 20_000
LEASE_MS = 5_000
RETENTION_MS = 1_000
NONCE = 7
TOKEN = lease_token(1, NONCE)
"""Of the first attempt."""


def submitted(
    id: str = "a",
    seq: int = 1,
    max_attempts: int = 3,
    pri: int = 0,
    execution_timeout_ms: int = LIMIT_MS,
    retry_errors: bool = False,
    webhook: bool = False,
) -> events.Submitted:
    return events.Submitted(
        id=id,
        endpoint="e",
        seq=seq,
        max_attempts=max_attempts,
        execution_timeout_ms=execution_timeout_ms,
        ttl_ms=TTL_MS,
        retention_ms=RETENTION_MS,
        pri=pri,
        retry_errors=retry_errors,
        webhook=webhook,
    )


TAKEN = events.Taken(worker="w", session="s", nonce=NONCE, lease_ms=LEASE_MS)
OK = events.Finished(token=TOKEN, failed=False)
ERROR = events.Finished(token=TOKEN, failed=True)


def did(job: Job | None, event: events.Event, now: int = NOW) -> Transition:
    done = transition(job, event, now)
    assert isinstance(done, Transition), done
    return done


def after(job: Job | None, event: events.Event, now: int = NOW) -> Job:
    job = did(job, event, now).after
    assert job is not None
    return job


def refused(job: Job | None, event: events.Event, now: int = NOW) -> Reason:
    answer = transition(job, event, now)
    assert isinstance(answer, Refusal), answer
    return answer.reason


def new(**fields: bool | int) -> Job:
    return after(None, submitted(**fields))  # type: ignore[arg-type]  # each field has its own type


def running(**fields: bool | int) -> Job:
    return after(new(**fields), TAKEN)


def ended(state: JobState, **fields: bool | int) -> Job:
    """A job that came to its end at `NOW`, by a worker's result where a worker can bring it there."""
    match state:
        case JobState.COMPLETED:
            return after(running(**fields), OK)
        case JobState.FAILED:
            return after(running(**fields), ERROR)
        case JobState.CANCELLED:
            return after(running(**fields), events.Cancelled())
    return after(replace(running(**fields), exec_limit=NOW), events.Due())


STATES: dict[str, Callable[[], Job | None]] = {
    "absent": lambda: None,
    "queued": new,
    "running": running,
    "completed": lambda: ended(JobState.COMPLETED),
    "failed": lambda: ended(JobState.FAILED),
    "cancelled": lambda: ended(JobState.CANCELLED),
    "timed-out": lambda: ended(JobState.TIMED_OUT),
}

EVENTS: dict[str, events.Event] = {
    "submitted": submitted(),
    "taken": TAKEN,
    "heartbeat": events.Heartbeat(TOKEN, LEASE_MS),
    "progressed": events.Progressed(TOKEN),
    "chunked": events.Chunked(TOKEN, 1, (1,)),
    "result": OK,
    "error": ERROR,
    "released": events.Released(TOKEN),
    "lost": events.Lost(TOKEN, "gone"),
    "due": events.Due(),
    "cancelled": events.Cancelled(),
    "retried": events.Retried(2),
    "shortened": events.Shortened(1),
    "webhook-settled": events.WebhookSettled(1, True),
    "replayed": events.WebhookReplayed(),
}

TABLE = """
                absent    queued     running      completed   failed      cancelled   timed-out
submitted       IN_QUEUE  exists     exists       exists      exists      exists      exists
taken           unknown   IN_PROGRESS not-ready   not-ready   not-ready   not-ready   not-ready
heartbeat       unknown   stale      IN_PROGRESS  stale       stale       stale       stale
progressed      unknown   stale      IN_PROGRESS  stale       stale       stale       stale
chunked         unknown   stale      IN_PROGRESS  stale       stale       stale       stale
result          unknown   stale      COMPLETED    duplicate   duplicate   stale       stale
error           unknown   stale      FAILED       duplicate   duplicate   stale       stale
released        unknown   stale      IN_QUEUE     stale       stale       stale       stale
lost            unknown   stale      IN_QUEUE     stale       stale       stale       stale
due             unknown   not-due    not-due      not-due     not-due     not-due     not-due
cancelled       unknown   CANCELLED  CANCELLED    finished    finished    finished    finished
retried         unknown   not-failed not-failed   not-failed  IN_QUEUE    not-failed  IN_QUEUE
shortened       unknown   not-ready  not-ready    COMPLETED   FAILED      CANCELLED   TIMED_OUT
webhook-settled unknown   stale      stale        stale       stale       stale       stale
replayed        unknown   no-webhook no-webhook   no-webhook  no-webhook  no-webhook  no-webhook
"""


def cells() -> list[tuple[str, str, str]]:
    header, *rows = [line.split() for line in TABLE.strip().splitlines()]
    return [(event, state, cell) for event, *row in rows for state, cell in zip(header, row, strict=True)]


def test_the_table_speaks_of_every_event_and_every_state() -> None:
    assert {(event, state) for event, state, _ in cells()} == {(event, state) for event in EVENTS for state in STATES}
    assert {type(event) for event in EVENTS.values()} == set(events.Event.__args__)


@pytest.mark.parametrize(("event", "state", "expected"), cells())
def test_an_event_does_what_the_table_says(event: str, state: str, expected: str) -> None:
    job = STATES[state]()
    answer = transition(job, EVENTS[event], NOW)
    if isinstance(answer, Refusal):
        assert answer.reason == expected
        assert answer.job is job
    elif answer.duplicate:
        assert expected == "duplicate"
        assert answer.before is answer.after is job
    else:
        assert answer.before is job
        assert answer.after is not None
        assert answer.after.state == expected


def test_a_new_job_starts_with_what_its_client_asked_for() -> None:
    job = new(pri=2, max_attempts=5)
    assert (job.state, job.gen, job.attempt, job.used, job.max, job.pri) == (JobState.IN_QUEUE, 1, 0, 0, 5, 2)
    assert (job.created_at, job.queued_at, job.deadline) == (NOW, NOW, NOW + TTL_MS)
    assert (job.webhook, job.token) == (WebhookState.NONE, "")
    assert new(webhook=True).webhook is WebhookState.ARMED


def test_a_take_leases_the_job_under_a_token_of_its_own() -> None:
    job = running()
    assert (job.attempt, job.used, job.worker, job.session) == (1, 1, "w", "s")
    assert (job.taken_at, job.lease_until, job.exec_limit) == (NOW, NOW + LEASE_MS, NOW + LIMIT_MS)
    assert job.token == TOKEN == "1-0000000000000007"


def test_an_execution_timeout_of_zero_means_no_limit() -> None:
    assert running(execution_timeout_ms=0).exec_limit is None


def test_a_job_is_not_handed_out_before_its_back_off_nor_from_its_deadline_on() -> None:
    delayed = replace(new(), run_at=NOW + 5)
    assert refused(delayed, TAKEN, NOW + 4) is Reason.NOT_READY
    assert after(delayed, TAKEN, NOW + 5).state is JobState.IN_PROGRESS
    assert after(new(), TAKEN, NOW + TTL_MS - 1).state is JobState.IN_PROGRESS
    assert refused(new(), TAKEN, NOW + TTL_MS) is Reason.NOT_READY


def test_a_heartbeat_renews_the_lease_and_never_shortens_it() -> None:
    job = running()
    assert after(job, events.Heartbeat(TOKEN, LEASE_MS), NOW + 100).lease_until == NOW + 100 + LEASE_MS
    assert after(job, events.Heartbeat(TOKEN, 10), NOW + 100).lease_until == NOW + LEASE_MS


WRITES: dict[str, Callable[[str], events.Event]] = {
    "heartbeat": lambda token: events.Heartbeat(token, LEASE_MS),
    "progressed": events.Progressed,
    "chunked": lambda token: events.Chunked(token, 1, (1,)),
    "result": lambda token: events.Finished(token=token, failed=False),
    "released": events.Released,
    "lost": lambda token: events.Lost(token, "gone"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize(
    "token", ["", "never", lease_token(1, NONCE + 1), lease_token(2, NONCE), attempt_token(2, "w"), "1@v", "1@"]
)
def test_a_write_under_another_token_is_stale(write: Callable[[str], events.Event], token: str) -> None:
    assert refused(running(), write(token)) is Reason.STALE


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_a_worker_without_lease_tokens_names_the_attempt_and_itself(write: Callable[[str], events.Event]) -> None:
    mine = attempt_token(1, "w")
    assert isinstance(transition(running(), write(mine), NOW), Transition)
    again = after(after(running(), events.Released(TOKEN)), TAKEN)
    assert refused(again, write(mine)) is Reason.STALE


def test_the_result_of_a_worker_without_lease_tokens_may_come_twice() -> None:
    by_attempt = events.Finished(token=attempt_token(1, "w"), failed=False)
    done = after(running(), by_attempt)
    assert did(done, by_attempt).duplicate
    assert refused(done, events.Finished(token=attempt_token(1, "v"), failed=False)) is Reason.STALE


def test_no_token_writes_to_a_queued_job() -> None:
    back = after(running(), events.Released(TOKEN))
    for token in (TOKEN, "", back.token, attempt_token(1, ""), attempt_token(1, "w")):
        assert refused(back, events.Finished(token=token, failed=False)) is Reason.STALE


@pytest.mark.parametrize(
    ("known", "seq", "sizes", "expected"),
    [
        (0, 1, (1, 2), (2, 3)),
        (2, 3, (5,), (3, 7)),
        (2, 2, (1, 5), (3, 7)),
        (2, 1, (1, 1), "duplicate"),
        (2, 2, (1,), "duplicate"),
        (2, 4, (1,), Reason.GAP),
        (0, 2, (1,), Reason.GAP),
        (0, 0, (1,), Reason.GAP),
        (0, 1, (1,) * CHUNKS_MAX, (CHUNKS_MAX, CHUNKS_MAX)),
        (0, 1, (1,) * (CHUNKS_MAX + 1), Reason.TOO_LARGE),
        (0, 1, (CHUNK_BYTES_MAX,), (1, CHUNK_BYTES_MAX)),
        (0, 1, (CHUNK_BYTES_MAX, 1), Reason.TOO_LARGE),
        (2, 1, (1, 1, CHUNK_BYTES_MAX - 2), (3, CHUNK_BYTES_MAX)),
    ],
)
def test_chunks_follow_each_other_without_holes_and_within_their_limits(
    known: int, seq: int, sizes: tuple[int, ...], expected: tuple[int, int] | str
) -> None:
    job = replace(running(), chunks=known, chunk_bytes=known)
    answer = transition(job, events.Chunked(TOKEN, seq, sizes), NOW)
    if isinstance(answer, Refusal):
        assert answer.reason == expected
    elif answer.duplicate:
        assert expected == "duplicate"
        assert answer.after is job
    else:
        assert answer.after is not None
        assert (answer.after.chunks, answer.after.chunk_bytes) == expected


@pytest.mark.parametrize("failed", [False, True])
def test_an_outcome_ends_the_job_and_names_its_attempt(failed: bool) -> None:
    done = did(running(), events.Finished(token=TOKEN, failed=failed, execution_ms=12), NOW + 3)
    assert done.after is not None
    assert done.after.state is (JobState.FAILED if failed else JobState.COMPLETED)
    assert (done.ended, done.delivered, done.lost, done.stop) == (True, True, False, False)
    assert (done.after.finished_at, done.after.keep_until) == (NOW + 3, NOW + 3 + RETENTION_MS)
    assert (done.after.result_attempt, done.after.execution_ms) == (1, 12)
    assert (done.after.lease_until, done.after.exec_limit) == (None, None)


def test_an_error_goes_back_to_the_queue_while_policy_and_attempts_allow() -> None:
    job = new(retry_errors=True, max_attempts=3)
    for failures, wait_ms in ((1, BACKOFF_MS), (2, 2 * BACKOFF_MS)):
        job = after(job, TAKEN, NOW)
        back = did(job, events.Finished(token=job.token, failed=True), NOW)
        assert back.after is not None
        assert (back.after.state, back.after.used, back.after.run_at) == (JobState.IN_QUEUE, failures, NOW + wait_ms)
        assert (back.requeued, back.ended, back.lost, back.error) == (True, False, False, None)
        job = replace(back.after, run_at=0)
    job = after(job, TAKEN)
    assert after(job, events.Finished(token=job.token, failed=True)).state is JobState.FAILED


def test_an_error_is_final_when_the_worker_says_so_or_the_policy_does_not_repeat() -> None:
    final = events.Finished(token=TOKEN, failed=True, final=True)
    assert after(running(retry_errors=True), final).state is JobState.FAILED
    assert after(running(retry_errors=False), ERROR).state is JobState.FAILED


def test_a_success_is_never_repeated() -> None:
    assert after(running(retry_errors=True), OK).state is JobState.COMPLETED


def test_the_back_off_doubles_up_to_its_limit() -> None:
    waits = []
    for used in range(1, 9):
        job = replace(running(retry_errors=True, max_attempts=99), used=used)
        waits.append(after(job, ERROR).run_at - NOW)
    assert waits == [2_000, 4_000, 8_000, 16_000, 32_000, BACKOFF_MS_MAX, BACKOFF_MS_MAX, BACKOFF_MS_MAX]


def test_a_released_job_keeps_its_place_and_is_not_charged() -> None:
    job = replace(running(), chunks=3, chunk_bytes=9)
    done = did(job, events.Released(TOKEN), NOW + 9)
    back = done.after
    assert back is not None
    assert (back.state, back.used, back.attempt, back.run_at) == (JobState.IN_QUEUE, 0, 1, 0)
    assert (back.seq, back.place, back.queued_at, back.deadline) == (job.seq, job.place, job.queued_at, job.deadline)
    assert (back.worker, back.session, back.lease_until, back.taken_at, back.exec_limit) == (None,) * 5
    assert (back.chunks, back.chunk_bytes) == (0, 0)
    assert (done.requeued, done.stop, done.lost) == (True, False, False)


def test_a_loss_is_charged_and_only_repeated_ones_wait() -> None:
    waits = []
    job = new(max_attempts=5)
    for _ in range(4):
        job = after(job, TAKEN)
        done = did(job, events.Lost(job.token, "gone"))
        assert (done.requeued, done.lost, done.stop) == (True, True, True)
        assert done.after is not None
        waits.append(done.after.run_at and done.after.run_at - NOW)
        job = replace(done.after, run_at=0)
    assert waits == [0, BACKOFF_MS, 2 * BACKOFF_MS, 4 * BACKOFF_MS]


@pytest.mark.parametrize(("max_attempts", "times"), [(1, "1 time"), (2, "2 times")])
def test_the_last_loss_fails_the_job_and_says_why(max_attempts: int, times: str) -> None:
    job = replace(running(max_attempts=max_attempts), used=max_attempts)
    done = did(job, events.Lost(TOKEN, "it was evicted"))
    assert done.after is not None
    assert (done.after.state, done.after.result_attempt) == (JobState.FAILED, None)
    assert (done.error, done.stop) == (f"worker lost {times}; the last one: it was evicted", True)
    assert (done.lost, done.ended, done.delivered) == (True, True, False)


def test_a_loss_for_infrastructure_reasons_is_not_charged() -> None:
    done = did(running(max_attempts=1), events.Lost(TOKEN, "node lost", charged=False))
    assert done.after is not None
    assert (done.after.state, done.after.used, done.after.run_at) == (JobState.IN_QUEUE, 0, 0)
    assert (done.lost, done.stop) == (False, True)


def test_a_lease_that_ends_is_a_charged_loss() -> None:
    job = running()
    assert refused(job, events.Due(), NOW + LEASE_MS - 1) is Reason.NOT_DUE
    done = did(job, events.Due(), NOW + LEASE_MS)
    assert done.after is not None
    assert (done.after.state, done.after.used, done.lost) == (JobState.IN_QUEUE, 1, True)
    last = did(running(max_attempts=1), events.Due(), NOW + LEASE_MS)
    assert last.error == "worker lost 1 time; the last one: worker w was not heard of"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"deadline": NOW, "exec_limit": NOW, "lease_until": NOW}, f"time to live of {TTL_MS} ms"),
        ({"exec_limit": NOW, "lease_until": NOW}, f"longer than its limit of {LIMIT_MS} ms"),
    ],
)
def test_time_to_live_goes_before_the_execution_limit_and_that_before_the_lease(
    changes: dict[str, int], error: str
) -> None:
    done = did(replace(running(), **changes), events.Due())
    assert done.after is not None
    assert (done.after.state, done.stop, done.lost) == (JobState.TIMED_OUT, True, False)
    assert done.error is not None
    assert error in done.error


def test_a_queued_job_past_its_time_to_live_times_out_and_nobody_is_stopped() -> None:
    assert refused(new(), events.Due(), NOW + TTL_MS - 1) is Reason.NOT_DUE
    done = did(new(), events.Due(), NOW + TTL_MS)
    assert done.after is not None
    assert (done.after.state, done.stop) == (JobState.TIMED_OUT, False)


@pytest.mark.parametrize("due", [{"lease_until": NOW}, {"exec_limit": NOW}, {"deadline": NOW}])
def test_a_running_job_that_comes_due_while_held_lasts_until_the_hold_ends(due: dict[str, int]) -> None:
    job = replace(running(), **due)
    hold = events.Due(back_at=NOW + 1, hold_until=NOW + 9_000)
    held = after(job, hold)
    assert held.state is JobState.IN_PROGRESS
    assert held.due_at == NOW + 9_000
    assert (held.token, held.used) == (job.token, job.used)
    assert after(held, OK, NOW + 8_999).state is JobState.COMPLETED
    assert did(held, hold, NOW + 9_000).after != held


@pytest.mark.parametrize("due", [{"exec_limit": NOW + 5_000}, {"deadline": NOW + 5_000}])
def test_a_job_that_was_taken_when_its_worker_could_be_heard_again_is_not_held(due: dict[str, int]) -> None:
    job = replace(running(), **due)
    assert after(job, events.Due(back_at=NOW, hold_until=NOW + 9_000), NOW + 5_000).state is JobState.TIMED_OUT


def test_a_hold_never_shortens_what_a_job_has() -> None:
    job = replace(running(), lease_until=NOW, exec_limit=None)
    held = after(job, events.Due(back_at=NOW + 1, hold_until=NOW + 1))
    assert (held.deadline, held.exec_limit, held.lease_until) == (job.deadline, None, NOW + 1)


def test_queued_and_ended_jobs_are_not_held() -> None:
    hold = events.Due(back_at=NOW + 10 * TTL_MS, hold_until=NOW + 10 * TTL_MS)
    assert after(new(), hold, NOW + TTL_MS).state is JobState.TIMED_OUT
    assert did(ended(JobState.COMPLETED), hold, NOW + RETENTION_MS).after is None


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT])
def test_an_ended_job_is_forgotten_after_its_retention(state: JobState) -> None:
    job = ended(state)
    assert refused(job, events.Due(), NOW + RETENTION_MS - 1) is Reason.NOT_DUE
    assert did(job, events.Due(), NOW + RETENTION_MS).after is None


def test_cancelling_stops_a_running_job_and_tells_the_reason_as_its_error() -> None:
    queued = did(new(), events.Cancelled("the queue was purged"))
    assert (queued.stop, queued.error) == (False, "the queue was purged")
    stopped = did(running(), events.Cancelled())
    assert (stopped.stop, stopped.error, stopped.delivered) == (True, None, False)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.TIMED_OUT])
def test_a_retry_begins_a_new_generation_behind_all_others(state: JobState) -> None:
    job = replace(ended(state), chunks=4, chunk_bytes=4)
    done = did(job, events.Retried(99), NOW + 500)
    again = done.after
    assert again is not None
    assert (again.state, again.gen, again.seq, again.used, again.run_at) == (JobState.IN_QUEUE, 2, 99, 0, 0)
    assert (again.queued_at, again.deadline, again.created_at) == (NOW + 500, NOW + 500 + TTL_MS, NOW)
    assert (again.attempt, again.max, again.chunks, again.chunk_bytes) == (1, 3, 0, 0)
    assert (again.finished_at, again.keep_until, again.result_attempt, again.execution_ms) == (None,) * 4
    assert (again.worker, again.session, again.taken_at) == (None,) * 3
    assert (done.reopened, done.requeued, done.ended) == (True, False, False)


def test_attempts_go_on_counting_over_generations_so_old_tokens_stay_dead() -> None:
    again = after(after(ended(JobState.FAILED), events.Retried(2)), TAKEN)
    assert again.attempt == 2
    assert refused(again, OK) is Reason.STALE
    assert refused(again, events.Finished(token=attempt_token(1, "w"), failed=False)) is Reason.STALE


def test_a_retried_job_may_lose_as_many_workers_as_a_new_one() -> None:
    job = after(running(max_attempts=1), events.Lost(TOKEN, "gone"))
    again = after(after(job, events.Retried(2)), TAKEN)
    assert (again.used, again.max) == (1, 1)


def test_a_job_that_is_due_to_be_forgotten_cannot_be_retried() -> None:
    assert refused(ended(JobState.FAILED), events.Retried(2), NOW + RETENTION_MS) is Reason.UNKNOWN


def test_the_webhook_of_a_job_waits_for_the_outcome_and_is_settled_once() -> None:
    job = running(webhook=True)
    assert job.webhook is WebhookState.ARMED
    done = after(job, OK)
    assert done.webhook is WebhookState.PENDING
    assert refused(done, events.WebhookSettled(2, True)) is Reason.STALE
    told = did(done, events.WebhookSettled(1, True))
    assert told.after == replace(done, webhook=WebhookState.DELIVERED)
    assert (told.ended, told.delivered, told.requeued, told.reopened) == (False, False, False, False)
    assert refused(told.after, events.WebhookSettled(1, False)) is Reason.STALE
    assert after(done, events.WebhookSettled(1, False)).webhook is WebhookState.DEAD


@pytest.mark.parametrize("state", [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED, JobState.TIMED_OUT])
def test_every_end_of_a_job_with_a_webhook_is_told(state: JobState) -> None:
    assert ended(state, webhook=True).webhook is WebhookState.PENDING
    assert ended(state).webhook is WebhookState.NONE


def test_a_retry_arms_the_webhook_again_and_supersedes_the_old_one() -> None:
    done = ended(JobState.FAILED, webhook=True)
    for before in (done, after(done, events.WebhookSettled(1, True))):
        again = after(before, events.Retried(2))
        assert again.webhook is WebhookState.ARMED
        assert refused(again, events.WebhookSettled(1, True)) is Reason.STALE
        failed = after(again, events.Cancelled())
        assert failed.webhook is WebhookState.PENDING
        assert refused(failed, events.WebhookSettled(1, True)) is Reason.STALE
        assert after(failed, events.WebhookSettled(2, True)).webhook is WebhookState.DELIVERED


def test_a_job_is_kept_until_its_webhook_is_settled_but_not_for_ever() -> None:
    job = ended(JobState.FAILED, webhook=True)
    assert job.due_at == NOW + WEBHOOK_LIMIT_MS
    assert refused(job, events.Due(), NOW + WEBHOOK_LIMIT_MS - 1) is Reason.NOT_DUE
    assert did(job, events.Due(), NOW + WEBHOOK_LIMIT_MS).after is None
    assert after(job, events.Retried(2), NOW + WEBHOOK_LIMIT_MS - 1).gen == 2
    assert after(job, events.WebhookSettled(1, True)).due_at == NOW + RETENTION_MS


def test_a_job_whose_webhook_never_arrived_stays_long_enough_to_be_noticed() -> None:
    dead = after(ended(JobState.FAILED, webhook=True), events.WebhookSettled(1, False))
    assert dead.due_at == NOW + WEBHOOK_LIMIT_MS
    assert 2 * sum(DELAYS_MS) <= WEBHOOK_LIMIT_MS


def test_the_webhook_of_a_final_job_can_be_sent_again_and_again() -> None:
    done = ended(JobState.COMPLETED, webhook=True)
    for delivered in (True, False):
        again = did(after(done, events.WebhookSettled(1, delivered)), events.WebhookReplayed())
        assert again.after == done
        assert not again.ended
    assert after(done, events.WebhookReplayed()).webhook is WebhookState.PENDING


def test_nothing_is_sent_again_before_the_outcome_or_after_the_retention() -> None:
    assert refused(running(webhook=True), events.WebhookReplayed()) is Reason.NOT_READY
    told = after(ended(JobState.COMPLETED, webhook=True), events.WebhookSettled(1, True))
    assert refused(told, events.WebhookReplayed(), told.due_at) is Reason.UNKNOWN


def test_a_long_retention_is_not_cut_by_the_limit_of_webhooks() -> None:
    job = replace(ended(JobState.FAILED, webhook=True), keep_until=NOW + 2 * WEBHOOK_LIMIT_MS)
    assert job.due_at == NOW + 2 * WEBHOOK_LIMIT_MS


@pytest.mark.parametrize(
    ("waited_ms", "pri", "goes_first"),
    [(0, 1, False), (AGING_MS - 1, 1, False), (AGING_MS + 1, 1, True), (AGING_MS + 1, 2, False)],
)
def test_waiting_raises_the_priority_by_one_per_step_of_aging(waited_ms: int, pri: int, goes_first: bool) -> None:
    old = after(None, submitted("old"), NOW)
    urgent = after(None, submitted("urgent", 2, pri=pri), NOW + waited_ms)
    assert (old.place < urgent.place) == goes_first


def test_jobs_of_one_place_go_in_order_of_their_numbers() -> None:
    old = after(None, submitted("old"), NOW)
    urgent = after(None, submitted("urgent", 2, pri=1), NOW + AGING_MS)
    assert old.place == urgent.place


def test_a_retry_takes_its_place_anew() -> None:
    assert after(ended(JobState.FAILED, pri=1), events.Retried(2), NOW + 500).place == NOW + 500 - AGING_MS
