"""What a start was made of: told once, when it is over."""

from typing import Any

from submodel.contract.exchange import Startup
from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.cold_start import StartWatch, asked_at, newest_start
from submodel_operator.ports import Manifest, ObservedWorker, PodStart, WorkerEnd
from tests.support.endpoints import observed, signals, view, worker

START = PodStart(created_at=1_800_000_000.0, scheduled_at=1_800_000_020.0, ran_at=1_800_000_065.0)
NOW = START.created_at + 100.0
REPORT = Startup(import_ms=310, load_ms=12_480, check_ms=0)
TOLD = {
    "worker": "a",
    "at": "2027-01-15T08:00:00Z",
    "totalSeconds": 77.8,
    "schedulingSeconds": 20.0,
    "pullSeconds": 45.0,
    "startSeconds": 0.3,
    "loadSeconds": 12.5,
    "checkSeconds": 0.0,
}


def started(name: str = "a", start: PodStart = START, revision: str = "r1", **changes: Any) -> ObservedWorker:
    return worker(name, revision, start=start, **changes)


def up(name: str = "a", **changes: Any) -> WorkerView:
    return view(name, **{"startup": REPORT, **changes})


def told(*workers: ObservedWorker, views: tuple[WorkerView, ...], previous: Manifest | None = None) -> Manifest | None:
    heard = asked_at(signals(*views, age_seconds=0.0), NOW)
    return newest_start(observed(*workers), "r1", {each.worker: each for each in views}, heard, previous)


def test_a_start_is_told_by_its_steps_when_it_is_over() -> None:
    assert told(started(), views=(up(phase=WorkerPhase.STARTING),)) is None
    assert told(started(), views=(up(),)) == TOLD


def test_a_worker_of_another_sdk_reports_no_steps_of_its_own() -> None:
    found = told(started(), views=(up(startup=None),))
    assert found == {name: TOLD[name] for name in ("worker", "at", "schedulingSeconds", "pullSeconds")} | {
        "totalSeconds": 65.0
    }


def test_what_is_left_until_it_asks_for_jobs_is_a_step_too() -> None:
    """The gateway's clock stands at 100 s, 22 s after it heard the worker ask."""
    found = told(started(), views=(up(asked_ms=78_000),))
    assert found == TOLD | {"firstPollSeconds": 0.2, "totalSeconds": 78.0}
    other = told(started(), views=(up(asked_ms=78_000, startup=None),))
    assert other is not None
    assert (other["firstPollSeconds"], other["totalSeconds"]) == (13.0, 78.0)
    early = told(started(), views=(up(asked_ms=77_000),))
    assert early == TOLD | {"firstPollSeconds": 0.0}, "the clocks are no better"


def test_a_step_that_the_system_does_not_tell_is_left_out() -> None:
    found = told(started(), views=(up(startup=Startup(load_ms=1000)),))
    assert found is not None
    assert "startSeconds" not in found
    assert found["totalSeconds"] == 66.0


def test_the_newest_start_counts_and_stays_when_its_worker_is_gone() -> None:
    younger = started("b", PodStart(1_800_000_100.0, 1_800_000_101.0, 1_800_000_102.0))
    found = told(started(), younger, views=(up(), up("b")))
    assert found is not None
    assert found["worker"] == "b"
    assert told(started(), views=(up(),), previous=found) == found
    assert told(views=(), previous=found) == found


def test_what_was_told_never_changes_although_the_container_is_started_again() -> None:
    again = started(start=PodStart(START.created_at, START.scheduled_at, 1_800_009_000.0))
    assert told(again, views=(up(),), previous=TOLD) == TOLD
    assert told(started(ended=WorkerEnd("Error", 1, "", 1)), views=(up(),)) is None


def test_workers_of_earlier_revisions_and_processes_without_a_pod_tell_nothing() -> None:
    assert told(started(revision="r0"), worker("c"), views=(up(), up("c"))) is None


def test_a_start_that_was_seen_is_counted_once_by_its_phases_when_it_is_over() -> None:
    watch, ready = StartWatch(), {"a": up()}
    assert watch.over(observed(started()), "r1", {}, {}) == []
    assert watch.over(observed(started()), "r1", {"a": up(phase=WorkerPhase.STARTING)}, {}) == []
    (phases,) = watch.over(observed(started()), "r1", ready, {})
    assert phases == {"scheduling": 20.0, "pull": 45.0, "start": 0.3, "load": 12.5, "check": 0.0, "total": 77.8}
    assert watch.over(observed(started()), "r1", ready, {}) == []


def test_a_start_that_was_over_when_it_was_first_seen_is_not_counted() -> None:
    watch = StartWatch()
    assert watch.over(observed(started()), "r1", {"a": up()}, {}) == []
    assert watch.over(observed(started()), "r1", {"a": up()}, {}) == []


def test_a_start_whose_pod_tells_its_instants_late_is_counted_all_the_same() -> None:
    watch, early = StartWatch(), PodStart(START.created_at, START.scheduled_at, None)
    watch.over(observed(started()), "r1", {}, {})
    assert watch.over(observed(started(start=early)), "r1", {"a": up()}, {}) == []
    assert len(watch.over(observed(started()), "r1", {"a": up()}, {})) == 1
