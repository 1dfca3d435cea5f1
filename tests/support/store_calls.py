"""One operation at a time on a store, with the outcome that a test expects."""

from typing import Any

from submodel.contract.states import JobState
from submodel_gateway.jobs.outbox import Webhook
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.transition import Reason
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_operations import ENDPOINT, lease_webhooks, submit, sweep, take

NOW = 1_700_000_000_000


def one(store: Store, operation: base.Operation, now: int = NOW) -> base.Outcome:
    (outcome,) = store.apply([operation], now)
    return outcome


def applied(store: Store, operation: base.Operation, now: int = NOW) -> Job:
    """The job as the operation left it."""
    outcome = one(store, operation, now)
    assert isinstance(outcome, base.Applied), outcome
    assert outcome.change.after is not None
    return outcome.change.after


def refused(store: Store, operation: base.Operation, now: int = NOW) -> Reason:
    outcome = one(store, operation, now)
    assert isinstance(outcome, base.Refused), outcome
    return outcome.reason


async def backlog(store: Store, endpoint: str, late_at: int | None) -> base.Backlog:
    return (await store.backlogs({endpoint: late_at}))[endpoint]


def taken(store: Store, operation: base.Take | None = None, now: int = NOW) -> list[Job]:
    outcome = one(store, operation or take(), now)
    assert isinstance(outcome, base.Taken), outcome
    return [lease.job for lease in outcome.leases]


def swept(store: Store, now: int, operation: base.Sweep | base.Purge | base.WorkerGone | None = None) -> list[str]:
    """Ids of the jobs that changed."""
    outcome = one(store, operation or sweep(now), now)
    assert isinstance(outcome, base.Swept), outcome
    return [change.before.id for change in outcome.changes if change.before is not None]


def leased_webhooks(store: Store, now: int = NOW, operation: base.LeaseWebhooks | None = None) -> list[Webhook]:
    outcome = one(store, operation or lease_webhooks(), now)
    assert isinstance(outcome, base.Webhooks), outcome
    return [due.webhook for due in outcome.due]


def running(store: Store, id: str = "a", now: int = NOW, **fields: Any) -> Job:
    """A new job that worker `w` holds, in a queue that was empty."""
    applied(store, submit(id, **fields), now)
    (job,) = taken(store, now=now)
    assert job.id == id
    return job


async def read(store: Store, id: str = "a") -> Job:
    """The job, which must be there."""
    job = await store.job(ENDPOINT, id)
    assert job is not None
    return job


async def state(store: Store, id: str = "a") -> JobState:
    return (await read(store, id)).state


async def error(store: Store, id: str = "a") -> str | None:
    return (await store.content(await read(store, id))).error
