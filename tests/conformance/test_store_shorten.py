"""A final job may be kept for less than its retention, never for more."""

import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, one, read, refused, running, swept
from tests.support.store_operations import RETENTION_MS, cancel, finish, retry, submit


def shorten(job: Job, keep_ms: int) -> base.Shorten:
    return base.Shorten(endpoint=job.endpoint, id=job.id, keep_ms=keep_ms)


async def test_a_shortened_job_is_forgotten_when_its_time_is_over(store: Store) -> None:
    done = applied(store, finish(running(store)))
    shorter = applied(store, shorten(done, 500), NOW + 100)
    assert (shorter.keep_until, shorter.state) == (NOW + 600, JobState.COMPLETED)
    assert await read(store) == shorter
    assert await store.next_due() == NOW + 600
    assert swept(store, NOW + 599) == []
    assert swept(store, NOW + 600) == [done.id]


@pytest.mark.parametrize("keep_ms", [RETENTION_MS, RETENTION_MS * 3])
async def test_it_is_never_kept_for_longer(store: Store, keep_ms: int) -> None:
    done = applied(store, finish(running(store)))
    assert applied(store, shorten(done, keep_ms), NOW + 100) == done
    assert await read(store) == done


async def test_a_job_without_an_outcome_or_one_that_is_unknown_is_left_alone(store: Store) -> None:
    job = applied(store, submit("a"))
    assert refused(store, shorten(job, 0)) is Reason.NOT_READY
    done = applied(store, cancel(job))
    assert refused(store, base.Shorten(endpoint="other", id="a", keep_ms=0)) is Reason.UNKNOWN
    applied(store, shorten(done, 100))
    assert refused(store, shorten(done, 50), NOW + 100) is Reason.UNKNOWN


async def test_a_new_generation_has_all_of_its_retention(store: Store) -> None:
    failed = applied(store, finish(running(store), b"", "boom"))
    applied(store, shorten(failed, 500))
    applied(store, retry(failed), NOW + 100)
    outcome = one(store, cancel(failed), NOW + 200)
    assert isinstance(outcome, base.Applied)
    assert outcome.change.after
    assert outcome.change.after.keep_until == NOW + 200 + RETENTION_MS
