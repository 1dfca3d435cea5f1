"""Retries: a new generation of a job, and what becomes of the old one."""

import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import WebhookState
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, backlog, leased_webhooks, one, read, refused, running, swept, taken
from tests.support.store_operations import (
    ENDPOINT,
    RETENTION_MS,
    append,
    cancel,
    finish,
    progress,
    retry,
    settle,
    submit,
    take,
)


async def test_a_failed_job_runs_again_as_a_new_generation(store: Store) -> None:
    job = running(store, input=b"in", extra=b'{"x":1}')
    applied(store, append(job, 1, b"1"))
    one(store, progress(job, b"half"))
    failed = applied(store, finish(job, b"[1]", "boom"), NOW + 10)
    applied(store, submit("b"), NOW + 20)
    outcome = one(store, retry(failed), NOW + 30)
    assert isinstance(outcome, base.Applied)
    again = outcome.change.after
    assert again is not None
    assert outcome.change.before == failed
    assert (again.state, again.gen, again.attempt, again.used) == (JobState.IN_QUEUE, 2, 1, 0)
    assert (again.queued_at, again.created_at, again.seq) == (NOW + 30, NOW, await store.last_seq())
    assert await read(store) == again
    assert await store.content(again) == base.Content()
    assert await store.chunks(again, 0, 10) == []
    assert store.tally(ENDPOINT) == Tally(queued=2, arrived=3, failed=1)
    taken_now = one(store, take(limit=2, nonce=9), NOW + 30)
    assert isinstance(taken_now, base.Taken)
    assert [(lease.job.id, lease.input) for lease in taken_now.leases] == [("b", b'{"n": 1}'), ("a", b"in")]
    second = taken_now.leases[1].job
    assert (second.attempt, second.used, taken_now.leases[1].extra) == (2, 1, b'{"x":1}')
    assert await store.content(second) == base.Content()
    assert refused(store, finish(job)) is Reason.STALE
    done = applied(store, finish(second, b"ok"))
    assert await store.content(done) == base.Content(b"ok")
    assert store.tally(ENDPOINT) == Tally(in_progress=1, arrived=3, failed=1, completed=1)


async def test_a_job_that_timed_out_can_be_retried_with_its_time_to_live_anew(store: Store) -> None:
    applied(store, submit("a", ttl_ms=5_000))
    swept(store, NOW + 5_000)
    again = applied(store, retry(await read(store)), NOW + 6_000)
    assert (again.state, again.deadline) == (JobState.IN_QUEUE, NOW + 11_000)
    assert await store.content(again) == base.Content()
    assert await store.next_due() == NOW + 11_000
    assert taken(store, now=NOW + 10_999) != []


async def test_a_retried_job_is_old_from_its_retry_on(store: Store) -> None:
    failed = applied(store, finish(running(store), error="boom"))
    applied(store, retry(failed), NOW + 30_000)
    assert await backlog(store, ENDPOINT, NOW + 29_999) == base.Backlog(oldest_at=NOW + 30_000, late=0)


@pytest.mark.parametrize("end", [finish, cancel])
async def test_only_failures_are_retried(store: Store, end: object) -> None:
    job = running(store)
    assert one(store, retry(job)) == base.Refused(Reason.NOT_FAILED, job)
    done = applied(store, finish(job) if end is finish else cancel(job))
    assert one(store, retry(job)) == base.Refused(Reason.NOT_FAILED, done)
    queued = applied(store, submit("b"))
    assert one(store, retry(queued)) == base.Refused(Reason.NOT_FAILED, queued)
    assert await store.last_seq() == queued.seq


async def test_a_job_that_is_due_to_be_forgotten_is_not_retried(store: Store) -> None:
    failed = applied(store, finish(running(store), error="boom"))
    assert one(store, retry(failed), NOW + RETENTION_MS) == base.Refused(Reason.UNKNOWN)
    assert swept(store, NOW + RETENTION_MS) == ["a"]
    assert one(store, retry(failed), NOW + RETENTION_MS) == base.Refused(Reason.UNKNOWN)


async def test_a_retry_may_be_retried_when_it_fails_too(store: Store) -> None:
    job = running(store, max_attempts=1)
    for gen in (1, 2, 3):
        failed = applied(store, finish(job, error=f"boom {gen}"))
        assert await store.content(failed) == base.Content(b'"done"', f"boom {gen}")
        applied(store, retry(failed))
        (job,) = taken(store, take(nonce=gen))
        assert (job.gen, job.attempt, job.used) == (gen + 1, gen + 1, 1)
    assert store.tally(ENDPOINT) == Tally(in_progress=1, arrived=4, failed=3)


async def test_a_job_is_retried_by_its_policy_until_its_attempts_are_used(store: Store) -> None:
    job = running(store, retry_errors=True, max_attempts=2)
    applied(store, append(job, 1, b"1"))
    back = applied(store, finish(job, b"partial", "boom"))
    assert (back.state, back.used, back.gen) == (JobState.IN_QUEUE, 1, 1)
    assert await store.content(back) == base.Content()
    assert await store.chunks(back, 0, 10) == []
    assert taken(store, now=back.run_at - 1) == []
    assert await store.next_due() == back.run_at
    (second,) = taken(store, now=back.run_at)
    assert applied(store, finish(second, error="boom")).state is JobState.FAILED
    assert store.tally(ENDPOINT) == Tally(arrived=1, failed=1, retried=1)


async def test_a_final_error_is_not_retried_by_policy(store: Store) -> None:
    job = running(store, retry_errors=True)
    final = base.Finish(endpoint=ENDPOINT, id="a", token=job.token, error="boom", final=True)
    assert applied(store, final).state is JobState.FAILED


async def test_a_retry_supersedes_the_webhook_of_the_generation_before(store: Store) -> None:
    failed = applied(store, finish(running(store, webhook="https://example.com"), error="boom"))
    (old,) = leased_webhooks(store)
    again = applied(store, retry(failed))
    assert again.webhook is WebhookState.ARMED
    assert await store.next_webhook() is None
    assert one(store, settle(old)) == base.Refused(Reason.STALE, again)
    applied(store, cancel(again))
    (new,) = leased_webhooks(store)
    assert (old.gen, new.gen, new.tries) == (1, 2, 1)
    assert refused(store, settle(old)) is Reason.STALE
    assert applied(store, settle(new)).webhook is WebhookState.DELIVERED
