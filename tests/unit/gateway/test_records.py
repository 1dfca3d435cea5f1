"""The record of an endpoint's traffic: what is in it, and that it is bounded."""

from typing import Any

import pytest

from submodel.contract.states import JobState
from submodel_gateway.errors import NotFound
from submodel_gateway.jobs.record import Job
from submodel_gateway.service.records import Records
from tests.support.gateway_world import ENDPOINT, Worker, world


def ended(number: int, endpoint: str = "e", **changes: Any) -> Job:
    """A job that was accepted at `number` seconds, waited for one and ran for two."""
    at = number * 1_000
    values: dict[str, Any] = {
        "id": f"job-{number}",
        "endpoint": endpoint,
        "state": JobState.COMPLETED,
        "seq": number,
        "max": 3,
        "created_at": at,
        "queued_at": at,
        "ttl_ms": 9,
        "deadline": at + 9,
        "execution_timeout_ms": 0,
        "retention_ms": 1,
        "taken_at": at + 1_000,
        "finished_at": at + 3_000,
    }
    return Job(**(values | changes))


def filled(count: int, **bounds: int) -> Records:
    records = Records(lambda id: True, **bounds)
    for number in range(count):
        records.ended(ended(number))
    return records


def test_a_job_that_ended_is_told_with_its_wait_and_its_run() -> None:
    assert filled(2).of("e") == (0, [(0, 1_000, 2_000), (1_000, 1_000, 2_000)])
    assert filled(2).of("another") == (0, [])


def test_jobs_are_told_in_the_order_in_which_they_came() -> None:
    records = Records(lambda id: True)
    records.ended(ended(7, queued_at=5_000))
    records.ended(ended(6, queued_at=6_000))
    records.ended(ended(5))
    assert [at for at, _, _ in records.of("e")[1]] == [5_000, 5_000, 6_000]


def test_a_job_that_never_ran_or_that_starts_no_worker_is_not_told() -> None:
    records = Records(lambda id: True)
    records.ended(ended(1, taken_at=None))
    records.ended(ended(2, low_priority=True))
    assert records.of("e") == (0, [])


def test_only_the_last_jobs_are_kept_and_nothing_is_told_of_a_time_of_which_some_are_missing() -> None:
    since_ms, runs = filled(1_000, jobs_of_an_endpoint=100).of("e")
    assert 70 <= len(runs) <= 100
    assert runs[0][0] >= since_ms
    assert [at for at, _, _ in runs] == list(range(runs[0][0], 1_000_000, 1_000))


def test_the_longest_record_makes_room_when_all_are_too_long_together() -> None:
    records = filled(90, jobs_of_all=100)
    for number in range(20):
        records.ended(ended(number, "small"))
    assert len(records.of("small")[1]) == 20
    assert 0 < len(records.of("e")[1]) < 60


def test_records_of_endpoints_that_are_gone_make_room_first() -> None:
    known = {"old", "e"}
    records = Records(known.__contains__, jobs_of_all=10)
    for number in range(5):
        records.ended(ended(number, "old"))
    known.remove("old")
    for number in range(6):
        records.ended(ended(number, "e"))
    assert records.of("old") == (0, [])
    assert len(records.of("e")[1]) == 6


async def test_the_gateway_tells_when_jobs_came_how_long_they_waited_and_ran() -> None:
    async with world() as w:
        await w.submit()
        began = w.clock.ms
        w.clock.ms += 500
        worker = Worker(w)
        (job,) = await worker.take()
        w.clock.ms += 2_000
        await worker.finish(job)
        record = await w.gateway.record(ENDPOINT)
        assert (record.accepted_at_ms, record.waited_ms, record.ran_ms) == ([began], [500], [2_000])
        assert (record.since_ms, record.now_ms, record.gateways) == (began, w.clock.ms, 1)
        await w.gateway.registry.delete(ENDPOINT)
        with pytest.raises(NotFound):
            await w.gateway.record(ENDPOINT)
        await w.register()
        assert (await w.gateway.record(ENDPOINT)).accepted_at_ms == []
