"""What-if: an endpoint's own traffic under another scaling."""

from dataclasses import replace

import pytest

from submodel.contract.internal import TrafficRecord
from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.resolve import ResolvedSchedule
from submodel_operator.simulation.measures import Result
from submodel_operator.simulation.what_if import Starts, Traffic, measured_row, sentence, traffic, tried
from tests.support.endpoints import scaling

EIGHT = 1_772_438_400
"""08:00 UTC on a Monday, the second of March 2026."""


def record(*runs: tuple[float, float, float], since: float = 0.0, now: float = 10_000.0) -> TrafficRecord:
    """Jobs by the seconds at which they came, for which they waited and ran."""
    at, waited, ran = (
        ([round(1_000 * each) for each in column] for column in zip(*runs, strict=True)) if runs else ([],) * 3
    )
    return TrafficRecord(
        now_ms=round(now * 1000),
        since_ms=round(since * 1000),
        gateways=1,
        accepted_at_ms=at,
        waited_ms=waited,
        ran_ms=ran,
    )


def seen(*records: TrafficRecord, hours: float = 24.0) -> Traffic:
    found = traffic(records, hours)
    assert found
    return found


def test_the_jobs_are_replayed_from_the_first_one_on() -> None:
    told = seen(record((100.0, 0.5, 2.0), (103.5, 4.0, 1.0)))
    assert told.workload.jobs == ((0.0, 2.0), (3.5, 1.0))
    assert (told.workload.seconds, told.beginning, told.waited_seconds) == (4.5, 100.0, (0.5, 4.0))


def test_records_of_several_gateways_are_put_together_for_the_time_that_all_of_them_tell() -> None:
    told = seen(record((100.0, 0, 2), (300.0, 0, 2)), record((250.0, 0, 1), since=200.0))
    assert told.workload.jobs == ((0.0, 1.0), (50.0, 2.0))


def test_only_the_last_hours_are_replayed() -> None:
    told = seen(record((100.0, 0, 2), (9_000.0, 0, 2)), hours=1.0)
    assert len(told.workload.jobs) == 1


@pytest.mark.parametrize("records", [[], [record()], [record((100.0, 0, 2), now=100_000.0)]])
def test_without_a_job_there_is_nothing_to_replay(records: list[TrafficRecord]) -> None:
    assert traffic(records, 24.0) is None


def test_another_scaling_is_tried_on_the_same_jobs() -> None:
    told = seen(record(*((100.0 + 60 * each, 0.0, 5.0) for each in range(20))))
    short, long = scaling(), scaling(idle_timeout_seconds=120)
    now, other = (tried(told, each, Starts(10.0), 4.0) for each in (short, long))
    assert now.jobs == other.jobs == 20
    assert now.late_percent > 80 > 20 > other.late_percent
    assert now.worker_hours < other.worker_hours
    assert now.cold_starts > other.cold_starts == 1


def test_starts_take_as_long_as_those_that_were_measured() -> None:
    told = seen(record(*((100.0 + 60 * each, 0.0, 5.0) for each in range(20))))
    result = tried(told, scaling(), Starts(3.0, (3.0,)), 4.0)
    assert result.delay_p99_seconds == pytest.approx(3.0)


def test_schedules_fire_at_the_hours_at_which_the_jobs_came() -> None:
    entry = ResolvedSchedule("0 8 * * MON", "UTC", 3)
    night = scaling(schedules=(entry, ResolvedSchedule("0 18 * * *", "UTC", 0)))
    told = seen(record((EIGHT + 600.0, 0, 1), (EIGHT + 900.0, 0, 1), now=EIGHT + 1000.0))
    assert tried(told, night, Starts(1.0), 4.0).cold_starts == 3
    assert tried(replace(told, beginning=EIGHT - 3600.0), night, Starts(1.0), 4.0).cold_starts == 2


def test_the_waits_as_they_were_stand_beside_the_simulated_ones() -> None:
    waits = tuple(float(each) for each in range(100))
    assert measured_row("as it was", waits, 49.5) == ("as it was", "49.0", "94.0", "98.0", "50.0", "-", "-")


def result(p95: float, hours: float, unfinished: float = 0) -> Result:
    told = seen(record((100.0, 0, 2)))
    some = tried(told, scaling(scaler_type=ScalerType.REQUEST_COUNT, scaler_value=1.0), Starts(1.0), 4.0)
    return replace(
        some, delay_p95_seconds=p95, busy_hours=hours, idle_hours=0.0, starting_hours=0.0, unfinished=unfinished
    )


@pytest.mark.parametrize(
    ("now", "other", "words"),
    [
        (
            result(8.0, 4.0),
            result(3.0, 3.0),
            "within 3.0 s instead of 8.0 s; it would cost 3.00 worker-hours, 25 % fewer",
        ),
        (result(8.0, 4.0), result(8.0, 5.0), "within 8.0 s as they do now; it would cost 5.00 worker-hours, 25 % more"),
        (result(8.0, 0.004), result(8.0, 0.002), "it would cost 0.002 worker-hours, 50 % fewer than now (0.004)."),
        (result(8.0, 4.0), result(8.0, 4.0), "it would cost 4.00 worker-hours, as now."),
        (result(8.0, 0.0), result(8.0, 1.0), "it would cost 1.00 worker-hours."),
        (result(8.0, 4.0), result(0.0, 0.0, 7), "7 jobs would never have run."),
    ],
)
def test_a_sentence_says_what_would_change(now: Result, other: Result, words: str) -> None:
    assert words in sentence("b.yaml", now, other)
