"""Figures that move all the time, and are told only when that is worth a write."""

from typing import Any

import pytest

from submodel_operator.figures import jobs, revisions
from tests.support.endpoints import observed, pool, signals, view, worker

NOW = 1_800_000_000.0
AT = "2027-01-15T07:59:30Z"


def waiting(oldest_ms: int, now_ms: int = 100_000, **changes: Any) -> dict[str, Any]:
    known = signals(queued=1, oldest_queued_ms=oldest_ms, now_ms=now_ms, age_seconds=0.0, **changes)
    return dict(jobs(known, {}, NOW) or {})


def test_the_oldest_job_is_told_by_the_instant_since_when_it_waits() -> None:
    assert waiting(oldest_ms=70_000)["oldestQueuedAt"] == AT


@pytest.mark.parametrize(("ahead_ms", "told"), [(0, AT), (1_900, AT), (-1_900, AT), (4_000, "2027-01-15T07:59:26Z")])
def test_an_instant_that_only_the_clocks_moved_stays(ahead_ms: int, told: str) -> None:
    known = signals(queued=1, oldest_queued_ms=70_000, now_ms=100_000 + ahead_ms, age_seconds=0.0)
    found = jobs(known, {"oldestQueuedAt": AT}, NOW)
    assert found is not None
    assert found["oldestQueuedAt"] == told


def test_nobody_waits_when_the_queue_is_empty() -> None:
    assert jobs(signals(), {"oldestQueuedAt": AT}, NOW) == {"queued": 0, "inProgress": 0}


@pytest.mark.parametrize(("measured_ms", "told"), [(12_345, 12.0), (1_180, 1.0), (820, 1.0), (1_300, 1.3), (79, 0.079)])
def test_a_duration_is_told_with_two_digits_and_anew_when_it_differs_by_a_fifth(measured_ms: int, told: float) -> None:
    found = jobs(signals(execution_ms_p95=measured_ms), {"executionSecondsP95": 1.0}, NOW)
    assert found is not None
    assert found["executionSecondsP95"] == told


def test_a_duration_that_a_new_gateway_has_not_measured_yet_stays() -> None:
    assert jobs(signals(), {"executionSecondsP95": 1.0}, NOW) == {
        "queued": 0,
        "inProgress": 0,
        "executionSecondsP95": 1.0,
    }


def test_while_nothing_is_known_the_figures_stay() -> None:
    before = {"queued": 3, "inProgress": 1}
    assert jobs(None, before, NOW) == before
    assert jobs(None, {}, NOW) is None


def test_revisions_are_told_with_their_workers_the_present_one_first() -> None:
    facts = observed(worker("a", "r1"), worker("b", "r0"), worker("c", "r0"), pools=(pool("r0", 2), pool("r1", 1)))
    views = {each.worker: each for each in (view("b", "r0", running=2, draining=True), view("c", "r0"))}
    assert revisions(facts, "r1", views) == [
        {"revision": "r1", "workers": 1, "ready": 0, "running": 0},
        {"revision": "r0", "workers": 2, "ready": 1, "running": 2},
    ]


def test_an_endpoint_at_zero_has_its_present_revision() -> None:
    assert revisions(observed(), "r1", {}) == [{"revision": "r1", "workers": 0, "ready": 0, "running": 0}]
    assert revisions(observed(), None, {}) == []
