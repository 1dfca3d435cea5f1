"""The sweeper: leases, limits and retention, and what an outage changes about them."""

from typing import Any

import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.tally import Tally
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from tests.support.store_calls import NOW, applied, error, one, read, running, state, swept, taken
from tests.support.store_operations import (
    ENDPOINT,
    EVER,
    LEASE_MS,
    RETENTION_MS,
    append,
    finish,
    heartbeat,
    progress,
    submit,
    sweep,
)


def sweep_after_an_outage(seen_at: int = 0, limit: int = 1_000) -> base.Sweep:
    return base.Sweep(limit=limit, seen_at=seen_at, hold_ms=LEASE_MS)


async def test_a_sweep_with_nothing_due_changes_nothing(store: Store) -> None:
    assert one(store, sweep(NOW)) == base.Swept(())
    running(store)
    applied(store, submit("b"))
    assert one(store, sweep(NOW)) == base.Swept(())


async def test_an_expired_lease_brings_the_job_back(store: Store) -> None:
    running(store)
    assert swept(store, NOW + LEASE_MS - 1) == []
    assert swept(store, NOW + LEASE_MS) == ["a"]
    (again,) = taken(store, now=NOW + LEASE_MS)
    assert (again.attempt, again.used) == (2, 2)


async def test_a_heartbeat_keeps_the_lease(store: Store) -> None:
    applied(store, heartbeat(running(store)), NOW + 40_000)
    assert swept(store, NOW + 40_000 + LEASE_MS - 1) == []
    assert swept(store, NOW + 40_000 + LEASE_MS) == ["a"]


async def test_a_job_over_its_execution_limit_times_out(store: Store) -> None:
    running(store, execution_timeout_ms=5_000)
    outcome = one(store, sweep(NOW + 5_000), NOW + 5_000)
    assert isinstance(outcome, base.Swept)
    assert [change.stop for change in outcome.changes] == [True]
    assert await state(store) is JobState.TIMED_OUT
    assert await error(store) == "the execution took longer than its limit of 5000 ms"


async def test_a_job_without_execution_limit_runs_on(store: Store) -> None:
    job = running(store, execution_timeout_ms=0)
    assert job.exec_limit is None
    for later in range(40_000, 10_000_000, 40_000):
        applied(store, heartbeat(job), NOW + later)
    assert swept(store, NOW + 10_000_000) == []


async def test_a_job_past_its_time_to_live_is_never_handed_out(store: Store) -> None:
    applied(store, submit("a", ttl_ms=10_000))
    assert taken(store, now=NOW + 10_000) == []
    assert await store.next_due() == NOW + 10_000
    assert swept(store, NOW + 10_000) == ["a"]
    assert await state(store) is JobState.TIMED_OUT
    assert await error(store) == "the job did not finish within its time to live of 10000 ms"


async def test_the_time_to_live_ends_running_jobs_too(store: Store) -> None:
    running(store, ttl_ms=10_000)
    assert swept(store, NOW + 10_000) == ["a"]
    assert await state(store) is JobState.TIMED_OUT
    assert store.tally(ENDPOINT) == Tally(arrived=1, timed_out=1)


async def test_a_finished_job_is_forgotten_with_everything_after_its_retention(store: Store) -> None:
    job = running(store)
    applied(store, append(job, 1, b"1"))
    one(store, progress(job, b"1"))
    applied(store, finish(job))
    assert swept(store, NOW + RETENTION_MS - 1) == []
    assert await store.job(ENDPOINT, "a") is not None
    assert swept(store, NOW + RETENTION_MS) == ["a"]
    assert await store.job(ENDPOINT, "a") is None
    assert await store.content(job) == base.Content()
    assert await store.chunks(job, 0, 10) == []
    assert store.tally(ENDPOINT) == Tally(arrived=1, completed=1)
    assert await store.next_due() is None
    assert applied(store, submit("a"), NOW + RETENTION_MS).attempt == 0


async def test_a_sweep_takes_the_most_overdue_first(store: Store) -> None:
    store.apply([submit("late", ttl_ms=20_000), submit("early", ttl_ms=10_000), submit("twin", ttl_ms=20_000)], NOW)
    for id in ("early", "late", "twin"):
        assert swept(store, NOW + 30_000, sweep(NOW + 30_000, limit=1)) == [id]


async def test_the_next_due_instant_is_the_earliest_of_all(store: Store) -> None:
    assert await store.next_due() is None
    applied(store, submit("a", ttl_ms=50_000))
    assert await store.next_due() == NOW + 50_000
    (job,) = taken(store)
    assert await store.next_due() == NOW + LEASE_MS
    applied(store, finish(job))
    assert await store.next_due() == NOW + RETENTION_MS


DUE = [{"execution_timeout_ms": 5_000}, {"ttl_ms": 5_000}, {"execution_timeout_ms": 0}]
"""Jobs whose execution limit, time to live, or lease comes first."""


@pytest.mark.parametrize("fields", DUE)
async def test_after_an_outage_running_jobs_last_for_another_lease(store: Store, fields: dict[str, Any]) -> None:
    job = running(store, **fields)
    swept(store, NOW, sweep(NOW))
    back = NOW + 100_000
    outcome = one(store, sweep_after_an_outage(), back)
    held = await read(store)
    assert [change.after for change in base.changes(outcome)] == [held]
    assert (held.state, held.token, held.due_at) == (JobState.IN_PROGRESS, job.token, back + LEASE_MS)
    assert await store.next_due() == back + LEASE_MS
    assert swept(store, back + LEASE_MS - 1) == []
    assert applied(store, finish(job), back + LEASE_MS - 1).state is JobState.COMPLETED


async def test_a_hold_ends_like_a_lease(store: Store) -> None:
    running(store)
    back = NOW + 100_000
    one(store, sweep_after_an_outage(), back)
    assert swept(store, back + LEASE_MS) == ["a"]
    assert await state(store) is JobState.IN_QUEUE


async def test_jobs_that_come_due_during_the_hold_are_held_too(store: Store) -> None:
    job = running(store, execution_timeout_ms=0)
    applied(store, heartbeat(job), NOW + 80_000)
    back = NOW + 100_000
    assert swept(store, back, sweep_after_an_outage()) == []
    assert swept(store, NOW + 80_000 + LEASE_MS) == ["a"]
    assert (await read(store)).lease_until == back + LEASE_MS


@pytest.mark.parametrize("fields", DUE[:2])
async def test_a_job_that_is_taken_after_an_outage_ends_by_its_own_limits(store: Store, fields: dict[str, Any]) -> None:
    back = NOW + 100_000
    one(store, sweep_after_an_outage(), back)
    running(store, now=back, **fields)
    assert swept(store, back + 4_999) == []
    assert swept(store, back + 5_000) == ["a"]
    assert await state(store) is JobState.TIMED_OUT


async def test_what_was_taken_before_an_outage_was_noticed_is_held_however_late(store: Store) -> None:
    back = NOW + 100_000
    running(store, now=back - 1, execution_timeout_ms=5_000)
    assert swept(store, back, sweep_after_an_outage()) == []
    assert swept(store, back + 4_999) == ["a"]
    assert (await read(store)).due_at == back + LEASE_MS


async def test_a_second_outage_holds_what_was_taken_after_the_first(store: Store) -> None:
    one(store, sweep_after_an_outage(), NOW)
    running(store, now=NOW, execution_timeout_ms=8_000)
    assert swept(store, NOW + 8_000, sweep_after_an_outage()) == ["a"]
    assert (await read(store)).due_at == NOW + 8_000 + LEASE_MS


async def test_queued_and_ended_jobs_are_not_held(store: Store) -> None:
    applied(store, finish(running(store, "done")))
    applied(store, submit("queued", ttl_ms=5_000))
    back = NOW + 100_000
    one(store, sweep_after_an_outage(), back)
    assert await store.job(ENDPOINT, "done") is None
    assert await state(store, "queued") is JobState.TIMED_OUT


@pytest.mark.parametrize(("gap_ms", "held"), [(5_000, False), (5_001, True)])
async def test_only_a_gap_is_an_outage(store: Store, gap_ms: int, held: bool) -> None:
    running(store)
    swept(store, NOW + LEASE_MS - gap_ms, sweep(NOW + LEASE_MS - gap_ms))
    one(store, sweep_after_an_outage(), NOW + LEASE_MS)
    assert (await state(store) is JobState.IN_PROGRESS) == held


@pytest.mark.parametrize(("seen_at", "held"), [(NOW + LEASE_MS - 5_000, False), (NOW + LEASE_MS - 5_001, True)])
async def test_a_gateway_that_reached_an_idle_store_all_the_time_was_not_away(
    store: Store, seen_at: int, held: bool
) -> None:
    running(store)
    one(store, sweep_after_an_outage(seen_at), NOW + LEASE_MS)
    assert (await state(store) is JobState.IN_PROGRESS) == held


async def test_a_sweep_of_another_gateway_counts(store: Store) -> None:
    running(store)
    for later in range(4_000, LEASE_MS, 4_000):
        one(store, sweep(NOW + later), NOW + later)
    assert swept(store, NOW + LEASE_MS, sweep_after_an_outage()) == ["a"]
    assert await state(store) is JobState.IN_QUEUE


async def test_a_hold_is_kept_by_the_sweeps_that_follow(store: Store) -> None:
    store.apply([submit("a"), submit("b")], NOW)
    taken(store)
    taken(store)
    back = NOW + 100_000
    assert swept(store, back, sweep_after_an_outage(limit=1)) == ["a"]
    assert swept(store, back, sweep_after_an_outage(limit=1)) == ["b"]
    assert swept(store, back, sweep_after_an_outage(limit=1)) == []
    assert {await state(store, id) for id in "ab"} == {JobState.IN_PROGRESS}


async def test_the_sweep_that_finds_nothing_leaves_its_mark_too(store: Store) -> None:
    back = NOW + LEASE_MS
    one(store, sweep_after_an_outage(), back - 1_000)
    applied(store, submit("a"), back - 1_000)
    (job,) = taken(store, now=back - 1_000)
    assert job.lease_until is not None
    for later in range(back, job.lease_until, 4_000):
        one(store, sweep_after_an_outage(), later)
    assert swept(store, job.lease_until, sweep_after_an_outage()) == ["a"]
    assert (await read(store)).lease_until is None


async def test_held_jobs_do_not_outlive_the_sweeper(store: Store) -> None:
    """Every running job has a finite lease, whatever was held."""
    running(store)
    one(store, sweep_after_an_outage(), NOW + 100_000)
    due = await store.next_due()
    assert due is not None
    assert due < EVER
