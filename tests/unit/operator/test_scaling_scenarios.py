"""One scenario per sentence of the scaling documentation, with explicit instants."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.reconcile.gather import scaling_inputs
from submodel_operator.resolve import ResolvedScaling, ResolvedSchedule
from submodel_operator.scaling import (
    Demand,
    ScalerState,
    ScalingDecision,
    ScalingInputs,
    StartingWorker,
    Term,
    Trouble,
    WorkerSignal,
    decide,
)
from submodel_operator.scaling.adaptive import propose
from submodel_operator.scaling.estimates import Estimates
from tests.support.endpoints import observed, resolved, scaling, signals, view, worker

EIGHT_ON_A_MONDAY = datetime(2026, 3, 2, 8, 0, tzinfo=UTC).timestamp()


@dataclass
class Scene:
    """One endpoint whose clock a test moves; it remembers what the scaler remembers."""

    settings: ResolvedScaling
    now: float = EIGHT_ON_A_MONDAY
    state: ScalerState = field(default_factory=ScalerState)
    revision: str = "r1"
    arrived: int = 0
    finished: int = 0

    def at(self, seconds: float) -> "Scene":
        """The scene so many seconds after its beginning."""
        self.now = EIGHT_ON_A_MONDAY + seconds
        return self

    def decide(
        self,
        *workers: WorkerSignal,
        queued: int = 0,
        late: int = 0,
        starting: tuple[StartingWorker, ...] = (),
        silent: bool = False,
        fresh: bool = True,
        low: int = 0,
        running_low: int = 0,
        running_everywhere: int | None = None,
        **others: Any,
    ) -> ScalingDecision:
        """What is decided now. As many workers were asked for as are there, if nothing else is said."""
        running = sum(worker.running for worker in workers)
        demand = Demand(
            queued,
            late,
            1.0 if queued else None,
            running,
            arrived_total=self.arrived,
            finished_total=self.finished,
            fresh=fresh,
            queued_low=low,
            running_low=running_low,
            running_everywhere=running_everywhere,
        )
        replicas = others.pop("replicas", len(workers) + len(starting))
        seen = ScalingInputs(
            self.settings, replicas, workers, starting, None if silent else demand, self.revision, **others
        )
        decision, self.state = decide(seen, self.state, self.now)
        return decision


def adaptive(**changes: Any) -> Scene:
    """An endpoint with ADAPTIVE and a target of ten seconds."""
    values = {"scaler_type": ScalerType.ADAPTIVE, "scaler_value": 10.0, "workers_max": 50, "idle_timeout_seconds": None}
    return Scene(scaling(**(values | changes)))


def idle(name: str, seconds: float = 0.0, age: float = 100.0) -> WorkerSignal:
    return WorkerSignal(name, 0, seconds, start_seconds=age)


def busy(name: str, running: int = 1) -> WorkerSignal:
    return WorkerSignal(name, running, None, start_seconds=100.0)


def steady_traffic(scene: Scene, per_second: int, service_seconds: float, seconds: int) -> tuple[WorkerSignal, ...]:
    """Lets so much traffic pass, on as many busy workers as it needs; returns these."""
    workers = tuple(busy(f"w{i}") for i in range(round(per_second * service_seconds)))
    for second in range(seconds):
        scene.arrived, scene.finished = second * per_second, round(max(0.0, second - service_seconds) * per_second)
        scene.at(second).decide(*workers)
    return workers


def settled_service_seconds(scene: Scene) -> float | None:
    """What is believed of a job's run, as the memory holds it."""
    return scene.state.service_seconds


# ADAPTIVE


def test_adaptive_starts_for_a_batch_at_zero_all_that_it_needs_in_one_step() -> None:
    scene = adaptive()
    scene.state = ScalerState(revision="r1", cold_starts=(2.0,), service_seconds=4.0)
    scene.decide()
    decision = scene.at(1).decide(queued=80)
    # within 6 s, which is six tenths of the target, each begins two jobs of 4 s after a start of 2 s
    assert (decision.replicas, decision.term) == (40, Term.BACKLOG)
    assert decision.proposal
    assert decision.proposal.message == (
        "80 jobs queued; within 6 s, 80 of 80 jobs of 4 s would find no worker, and one that starts now begins 2 of "
        "them: 40 more"
    )


def test_adaptive_counts_workers_on_their_way_and_what_they_will_do() -> None:
    scene = adaptive()
    scene.state = ScalerState(revision="r1", cold_starts=(2.0,), service_seconds=4.0)
    starting = tuple(StartingWorker(f"s{i}", 1.0) for i in range(40))
    assert scene.decide(queued=80, starting=starting).replicas == 40


def test_adaptive_starts_no_worker_that_would_be_ready_only_after_the_queue_has_drained() -> None:
    scene = adaptive()
    scene.state = ScalerState(revision="r1", cold_starts=(60.0,), service_seconds=2.0)
    workers = tuple(busy(f"w{i}") for i in range(2))
    assert scene.decide(*workers, queued=90).replicas == 2  # which two workers begin in a start and a half
    assert scene.decide(*workers, queued=100).replicas == 3  # 10 are left, and another one does 16 in half a start


@pytest.mark.parametrize(
    ("start_seconds", "rate", "within"),
    [(2.0, 1.0, "6"), (60.0, 1.0, "6"), (100.0, 1.0, "105"), (14.0, 0.0, "6"), (60.0, 0.0, "90"), (60.0, 0.2, "90")],
)
def test_a_queue_is_begun_within_six_tenths_of_the_target_where_a_start_is_not_too_long_for_that(
    start_seconds: float, rate: float, within: str
) -> None:
    estimates = Estimates(100, rate, 0.0, rate, 2.0, start_seconds, start_seconds)
    demand = Demand(500, 0, 1.0, 0)
    asked = propose(ScalingInputs(adaptive().settings, 0, (), (), demand), demand, estimates)
    assert f"within {within} s" in asked.message


@pytest.mark.parametrize(
    ("rate", "start_seconds", "workers"),
    [(2.0, 10.0, 6), (2.0, 60.0, 6), (2.0, 2.0, 2), (2.0, 5.0, 3), (0.25, 10.0, 0), (0.3, 10.0, 2)],
)
def test_a_rate_keeps_its_load_and_the_root_of_it_and_of_that_the_share_by_which_a_start_would_be_late(
    rate: float, start_seconds: float, workers: int
) -> None:
    estimates = Estimates(100, rate, 0.0, rate, 2.0, start_seconds, start_seconds)
    demand = Demand(0, 0, None, 0)
    assert propose(ScalingInputs(adaptive().settings, 0, (), (), demand), demand, estimates).workers == workers


def test_fewer_than_five_jobs_in_the_window_are_no_rate() -> None:
    demand = Demand(0, 0, None, 0)
    for arrivals, workers in ((4, 0), (5, 6)):
        estimates = Estimates(arrivals, 2.0, 0.0, 2.0, 2.0, 10.0, 10.0)
        assert propose(ScalingInputs(adaptive().settings, 0, (), (), demand), demand, estimates).workers == workers


def test_two_jobs_more_or_less_in_the_window_send_nobody_away() -> None:
    demand, estimates = Demand(0, 0, None, 0), Estimates(20, 20 / 60, 0.0, 0.0, 6.0, 10.0, 10.0)
    signals = tuple(idle(f"w{i}", 60.0) for i in range(6))
    kept = [
        propose(ScalingInputs(adaptive().settings, len(present), present, (), demand), demand, estimates)
        for present in (signals[:0], signals[:4], signals)
    ]
    # A load of 2 needs 3.4 workers, and one of 2.2, which is two jobs more in a minute, 3.7: 4 stay, and 6 do not.
    assert [each.workers for each in kept] == [4, 4, 4]
    more = replace(estimates, slow_rate=24 / 60, arrivals=24)
    asked = propose(ScalingInputs(adaptive().settings, 5, signals[:5], (), demand), demand, more)
    assert (asked.workers, asked.message) == (
        5,
        "0.4 jobs/s of 6 s are a load of 2.40, which needs 4, and hardly more would need 5",
    )


def test_until_a_worker_has_come_up_ten_seconds_are_believed_to_be_a_start() -> None:
    decision = adaptive().decide(queued=1)
    assert decision.estimates
    assert (decision.estimates.cold_start_seconds, decision.estimates.usual_start_seconds) == (10.0, 10.0)


def test_a_queue_that_has_been_answered_starts_nobody_again() -> None:
    scene = adaptive(workers_max=100)
    scene.state = ScalerState(revision="r1", cold_starts=(60.0,), service_seconds=4.0)
    first = scene.decide(queued=80)
    for second in (1, 5, 30, 59):
        starting = tuple(StartingWorker(f"s{i}", float(second)) for i in range(first.replicas))
        assert scene.at(second).decide(queued=80, starting=starting).replicas == first.replicas


def test_adaptive_keeps_workers_for_the_rate_with_a_margin_and_not_for_chance() -> None:
    scene = adaptive()
    workers = steady_traffic(scene, per_second=2, service_seconds=2.0, seconds=120)
    decision = scene.at(120).decide(*workers)
    assert decision.term is Term.ARRIVAL_RATE
    assert decision.replicas in (6, 7)  # a load of 4, its root of 2, and what is measured beside that
    rare = adaptive()
    rare.decide()
    rare.arrived = rare.finished = 4
    assert rare.at(30).decide(idle("a", 100.0)).replicas == 0


def test_adaptive_measures_the_duration_of_jobs_that_outlast_any_window() -> None:
    scene = adaptive()
    scene.decide()
    scene.arrived = 3
    scene.at(1).decide(busy("a"), busy("b"), busy("c"))
    decision = scene.at(601).decide(busy("a"), busy("b"), busy("c"))
    assert decision.estimates
    assert decision.estimates.service_seconds == pytest.approx(600, rel=0.01)


def test_one_batch_of_jobs_is_no_trend() -> None:
    scene = adaptive()
    scene.decide()
    scene.arrived = 80
    decision = scene.at(30).decide(*(busy(f"w{i}") for i in range(3)), queued=77)
    assert decision.estimates
    assert decision.estimates.sustained_rate == 0.0


@pytest.mark.parametrize("batch_seconds", [0.2, 1.0, 1.8])
def test_a_batch_is_neither_a_rate_nor_a_trend_however_its_beginning_and_its_end_are_seen(batch_seconds: float) -> None:
    scene = adaptive()
    scene.at(-100).decide()
    for tick in range(101):  # the gateway tells what is new five times in a second
        seconds = tick / 5
        scene.arrived = round(80 * min(1.0, seconds / batch_seconds))
        estimates = scene.at(seconds).decide(queued=scene.arrived).estimates
        assert estimates
        assert (estimates.sure_fast_rate, estimates.sustained_rate) == (0.0, 0.0), seconds


def test_a_burst_is_a_rate_when_the_first_and_the_last_third_of_six_seconds_have_it() -> None:
    for arrivals, rate in (((0, 40), 0.0), ((20, 40), 5.5), ((0, 4), 0.0)):
        scene = adaptive()
        scene.at(-100).decide()
        for second, scene.arrived in zip((-4.5, -1.0), arrivals, strict=True):
            scene.at(second).decide(queued=scene.arrived)
        estimates = scene.at(0).decide(queued=scene.arrived).estimates
        assert estimates
        assert estimates.sure_fast_rate == pytest.approx(rate, abs=0.8), arrivals


def test_with_idle_timeout_auto_no_window_is_waited_for_beside_the_idle_timeout() -> None:
    for idle_timeout, goes in ((None, True), (12, False)):
        scene = adaptive(idle_timeout_seconds=idle_timeout, stabilization_seconds=None)
        scene.state = ScalerState(revision="r1", cold_starts=(10.0,), service_seconds=2.0)
        scene.at(0).decide(busy("a"), busy("b"), queued=5)
        assert bool(scene.at(20).decide(idle("a", 15.0), idle("b", 15.0)).remove) is goes


def test_with_idle_timeout_auto_a_worker_stays_as_long_as_another_start_would_take() -> None:
    scene = adaptive()
    starting = (StartingWorker("a", 1.0),)
    scene.decide(starting=starting)
    scene.at(40).decide(idle("a", 0.0, age=40.0))  # it took 40 s to come up
    assert scene.at(79).decide(idle("a", 39.0), idle("b", 39.0)).remove == ()
    assert scene.at(80).decide(idle("a", 40.0), idle("b", 40.0)).remove == ("a",)


@pytest.mark.parametrize(
    ("scaler", "start_seconds", "stays"),
    [
        (ScalerType.ADAPTIVE, 40.0, 80.0),
        (ScalerType.ADAPTIVE, 8.0, 8.0),
        (ScalerType.ADAPTIVE, 300.0, 600.0),
        (ScalerType.QUEUE_DELAY, 40.0, 40.0),
    ],
)
def test_with_idle_timeout_auto_the_last_worker_of_adaptive_stays_twice_as_long_where_jobs_would_be_late_without_it(
    scaler: ScalerType, start_seconds: float, stays: float
) -> None:
    scene = adaptive(scaler_type=scaler)
    scene.state = ScalerState(revision="r1", cold_starts=(start_seconds,))
    assert scene.decide(idle("a", stays - 1)).remove == ()
    assert scene.decide(idle("a", stays - 1)).evaluate_after_seconds == pytest.approx(1.0)
    assert scene.decide(idle("a", stays)).remove == ("a",)


@pytest.mark.parametrize(("service_seconds", "stays"), [(2.0, 60.0), (40.0, 200.0), (200.0, 900.0), (100.0, 500.0)])
def test_with_idle_timeout_auto_a_worker_that_adaptive_did_not_need_in_a_whole_window_goes_before_a_start_is_over(
    service_seconds: float, stays: float
) -> None:
    scene = adaptive()
    scene.state = ScalerState(revision="r1", cold_starts=(1000.0,), service_seconds=service_seconds)
    assert scene.decide(idle("a", stays - 1), idle("b", stays - 1)).remove == ()
    assert scene.decide(idle("a", stays), idle("b", stays)).remove == ("a",)


def test_a_new_revision_forgets_how_long_starts_took() -> None:
    scene = adaptive()
    scene.state = ScalerState(revision="r1", cold_starts=(60.0,))
    scene.revision = "r2"
    scene.decide()
    assert scene.state.cold_starts == ()


def test_a_new_revision_is_measured_by_its_own_jobs_and_believed_to_be_like_the_one_before_until_one_has_ended() -> (
    None
):
    scene = adaptive()
    steady_traffic(scene, 2, 2.0, 120)
    assert settled_service_seconds(scene) == pytest.approx(2.0, abs=0.1)
    scene.revision = "r2"
    scene.at(120).decide(busy("new"), running_everywhere=1)
    assert settled_service_seconds(scene) == pytest.approx(2.0, abs=0.1)
    scene.finished, scene.arrived = scene.finished + 1, scene.arrived + 1
    scene.at(128).decide(busy("new"), running_everywhere=1)
    assert settled_service_seconds(scene) == pytest.approx(8.0, abs=0.1)


def test_jobs_on_workers_of_the_revision_before_count_as_long_as_they_run() -> None:
    scene = adaptive()
    scene.arrived = 4
    scene.at(0).decide(busy("new"), running_everywhere=4)
    scene.finished = 4
    scene.at(10).decide(idle("new"), running_everywhere=0)
    assert settled_service_seconds(scene) == pytest.approx(10.0)


def test_a_start_that_takes_longer_than_any_before_is_believed_to_take_that_long() -> None:
    scene = adaptive()
    decision = scene.decide(starting=(StartingWorker("a", 90.0),), queued=1)
    assert decision.estimates
    assert decision.estimates.cold_start_seconds == 90.0


@pytest.mark.parametrize(("asked_ms", "start_seconds"), [(98_000, 57.5), (None, 60.0)])
def test_a_start_is_over_when_the_worker_asked_for_jobs_and_not_when_the_operator_heard_of_it(
    asked_ms: int | None, start_seconds: float
) -> None:
    heard = signals(view("a", asked_ms=asked_ms), now_ms=100_000, age_seconds=0.5)
    (signal,) = scaling_inputs(resolved(), observed(worker("a", age_seconds=60.0)), "r1", heard).workers
    assert signal.start_seconds == start_seconds


def test_a_worker_that_was_not_seen_starting_teaches_nothing_of_starts() -> None:
    scene = adaptive()
    scene.decide(starting=(StartingWorker("a", 500.0),))  # it lost the gateway for a while
    scene.at(1).decide(idle("a", 0.0, age=501.0))
    assert scene.state.cold_starts == ()


# Limits


def test_standby_keeps_workers_free_beside_the_busy_ones_while_there_is_work() -> None:
    scene = Scene(scaling(standby=2, workers_max=10))
    decision = scene.decide(busy("a"))
    assert (decision.replicas, decision.term) == (3, Term.STANDBY)
    assert scene.at(10).decide(idle("a", 9.0), idle("b", 9.0), idle("c", 9.0)).remove == ("a", "b", "c")


def test_max_surge_lets_only_so_many_start_at_a_time() -> None:
    scene = Scene(scaling(max_surge=4, workers_max=50))
    decision = scene.decide(busy("a"), busy("b"), queued=30, late=30)
    assert (decision.replicas, decision.term) == (6, Term.SURGE)
    starting = tuple(StartingWorker(f"s{i}", 1.0) for i in range(4))
    assert scene.decide(busy("a"), busy("b"), queued=30, late=30, starting=starting).replicas == 6
    assert scene.decide(busy("a"), busy("b"), idle("s0"), queued=30, late=30, starting=starting[1:]).replicas == 7


def test_no_further_worker_is_started_while_no_node_has_room_for_one() -> None:
    scene = Scene(scaling(workers_max=50))
    waiting = StartingWorker("s", 30.0, trouble=Trouble.UNSCHEDULABLE)
    decision = scene.decide(busy("a"), queued=9, late=9, starting=(waiting,))
    assert (decision.replicas, decision.term) == (2, Term.CAPACITY)
    placed = StartingWorker("s", 31.0)
    assert scene.decide(busy("a"), queued=9, late=9, starting=(placed,)).replicas == 10


def test_no_further_worker_is_started_while_a_quota_refuses_them() -> None:
    scene = Scene(scaling(workers_max=50))
    decision = scene.decide(busy("a"), queued=9, late=9, replicas=2, refusal="exceeded quota: gpus")
    assert (decision.replicas, decision.term) == (2, Term.CAPACITY)
    assert "exceeded quota: gpus" in decision.message


def test_after_three_failed_starts_in_a_row_one_at_a_time_tries_again_until_one_comes_up() -> None:
    scene = Scene(scaling(workers_max=50))
    failing = tuple(StartingWorker(f"s{i}", 9.0, trouble=Trouble.FAILING) for i in range(3))
    decision = scene.decide(queued=30, late=30, starting=failing)
    assert (decision.replicas, decision.term) == (3, Term.FAILING_STARTS)
    scene.at(60).decide()  # the jobs are gone, and so are the workers
    assert scene.at(70).decide(queued=30, late=30).replicas == 1
    probe = (StartingWorker("probe", 2.0),)
    assert scene.at(72).decide(queued=30, late=30, starting=probe).replicas == 1
    assert scene.at(75).decide(busy("probe"), queued=29, late=29).replicas == 30


def test_a_new_revision_may_start_as_many_as_it_needs_again() -> None:
    scene = Scene(scaling(workers_max=50))
    scene.state = ScalerState(revision="r1", failed=("a", "b", "c"))
    scene.revision = "r2"
    assert scene.decide(busy("a"), queued=9, late=9).replicas == 10


def test_workers_go_only_when_so_few_were_wanted_for_the_whole_window() -> None:
    scene = Scene(scaling(scaler_type=ScalerType.REQUEST_COUNT, scaler_value=1.0, stabilization_seconds=60))
    workers = (busy("a"), busy("b"), busy("c"))
    scene.at(0).decide(*workers)
    resting = (idle("a", 30.0), idle("b", 30.0), idle("c", 30.0))
    decision = scene.at(30).decide(*resting)
    assert (decision.replicas, decision.term, decision.evaluate_after_seconds) == (3, Term.STABILIZATION, 60.0)
    assert scene.at(89).decide(*resting).replicas == 3
    assert scene.at(91).decide(*resting).replicas == 0


def test_a_lowered_maximum_does_not_wait_for_the_window() -> None:
    scene = Scene(scaling(scaler_type=ScalerType.REQUEST_COUNT, scaler_value=1.0, stabilization_seconds=60))
    scene.decide(busy("a"), busy("b"))
    scene.settings = scaling(scaler_type=ScalerType.REQUEST_COUNT, stabilization_seconds=60, workers_max=0)
    assert scene.at(1).decide(idle("a", 0.5), idle("b", 0.5)).remove == ("a", "b")


# Schedules

OFFICE_HOURS = (
    ResolvedSchedule("0 8 * * MON-FRI", "UTC", 5),
    ResolvedSchedule("0 18 * * MON-FRI", "UTC", 0),
)
HOUR = 3600.0


def test_a_schedule_keeps_workers_from_its_instant_on_until_the_next_entry_fires() -> None:
    scene = Scene(scaling(schedules=OFFICE_HOURS, workers_max=10))
    assert scene.at(-1).decide().replicas == 0
    decision = scene.at(0).decide()
    assert (decision.replicas, decision.term) == (5, Term.SCHEDULE)
    assert scene.at(9.99 * HOUR).decide().replicas == 5
    assert scene.at(10 * HOUR).decide().replicas == 0


def test_the_scaler_looks_again_when_the_next_entry_fires() -> None:
    scene = Scene(scaling(schedules=OFFICE_HOURS, workers_max=10))
    assert scene.at(-90).decide().evaluate_after_seconds == 90.0


def test_workers_min_stands_when_a_schedule_asks_for_less() -> None:
    scene = Scene(scaling(schedules=OFFICE_HOURS, workers_min=2, workers_max=10))
    assert scene.at(11 * HOUR).decide().replicas == 2


def test_a_schedule_is_kept_while_the_gateway_is_silent() -> None:
    scene = Scene(scaling(schedules=OFFICE_HOURS, workers_max=10))
    assert scene.at(1).decide(silent=True).replicas == 5


def test_a_schedule_follows_the_clock_of_its_time_zone_through_the_change_of_the_hour() -> None:
    berlin = (ResolvedSchedule("0 8 * * *", "Europe/Berlin", 5), ResolvedSchedule("0 9 * * *", "Europe/Berlin", 0))
    scene = Scene(scaling(schedules=berlin, workers_max=10))
    winter, summer = datetime(2026, 3, 28, 7, 30, tzinfo=UTC), datetime(2026, 3, 29, 6, 30, tzinfo=UTC)
    for instant in (winter, summer):
        scene.now = instant.timestamp()
        assert scene.decide().replicas == 5


def test_an_entry_whose_day_never_comes_keeps_nobody() -> None:
    scene = Scene(scaling(schedules=(ResolvedSchedule("0 0 30 2 *", "UTC", 5),), workers_max=10))
    assert scene.decide().replicas == 0


# Shadow


def test_a_shadow_says_what_it_would_ask_for_and_does_nothing() -> None:
    scene = Scene(scaling(shadow=ScalerType.REQUEST_COUNT, shadow_value=1.0, workers_max=10))
    decision = scene.decide(busy("a"), queued=7)
    assert decision.replicas == 1
    assert decision.shadow
    assert (decision.shadow.workers, decision.shadow.term) == (8, Term.REQUEST_COUNT)


def test_a_shadow_is_held_by_the_same_limits() -> None:
    scene = Scene(scaling(shadow=ScalerType.REQUEST_COUNT, shadow_value=1.0, workers_max=3))
    decision = scene.decide(busy("a"), queued=7)
    assert decision.shadow
    assert (decision.shadow.workers, decision.shadow.term) == (3, Term.MAXIMUM)


# Silence


def test_after_a_silence_of_the_gateway_nobody_goes_for_ten_seconds() -> None:
    scene = Scene(scaling())
    scene.at(0).decide(idle("a", 100.0), fresh=False)
    assert scene.at(20).decide(idle("a", 100.0)).remove == ()
    assert scene.at(29).decide(idle("a", 100.0)).remove == ()
    assert scene.at(30).decide(idle("a", 100.0)).remove == ("a",)


def test_a_clock_set_back_by_an_hour_keeps_what_was_measured() -> None:
    scene = adaptive()
    workers = steady_traffic(scene, per_second=2, service_seconds=2.0, seconds=120)
    before = scene.at(119).decide(*workers)
    after = scene.at(119 - HOUR).decide(*workers)
    assert (after.replicas, after.term) == (before.replicas, before.term)
    assert after.term is Term.ARRIVAL_RATE


def test_a_gateway_that_lost_its_store_makes_no_negative_rates() -> None:
    scene = adaptive()
    workers = steady_traffic(scene, per_second=2, service_seconds=2.0, seconds=60)
    scene.arrived = scene.finished = 0
    decision = scene.at(61).decide(*workers)
    assert decision.estimates
    assert (decision.estimates.slow_rate, decision.replicas) == (0.0, 4)


def test_another_gateway_that_lags_behind_makes_nobody_forget_the_rate() -> None:
    scene = adaptive()
    workers = steady_traffic(scene, per_second=2, service_seconds=2.0, seconds=120)
    before = scene.at(120).decide(*workers)
    scene.arrived, scene.finished = scene.arrived - 3, scene.finished - 3
    lagging = scene.at(120.2).decide(*workers)
    assert (lagging.replicas, lagging.term) == (before.replicas, Term.ARRIVAL_RATE)


EVERY_SCALER = pytest.mark.parametrize("scaler", list(ScalerType))


@pytest.mark.requirement("platform.low_priority")
@EVERY_SCALER
def test_a_job_of_low_priority_starts_no_worker_and_the_decision_says_so(scaler: ScalerType) -> None:
    scene = Scene(scaling(scaler_type=scaler, scaler_value=1.0))
    decision = scene.decide(low=5)
    assert (decision.replicas, decision.proposal and decision.proposal.workers) == (0, 0)
    assert decision.proposal
    assert decision.proposal.message.endswith("5 queued jobs of low priority start no worker")
    assert scene.decide(queued=1, low=5).replicas == 1


def test_running_jobs_of_low_priority_ask_for_no_worker_beside_theirs() -> None:
    scene = Scene(scaling(scaler_type=ScalerType.REQUEST_COUNT, scaler_value=1.0, concurrency=4, standby=1))
    assert scene.decide(busy("a", 4), running_low=4).replicas == 1
    assert scene.decide(busy("a", 4), running_low=1).replicas == 3


def test_a_worker_that_runs_jobs_of_low_priority_is_no_room_for_others() -> None:
    scene = Scene(scaling(scaler_type=ScalerType.REQUEST_COUNT, scaler_value=1.0))
    assert scene.decide(busy("a"), running_low=1, queued=1).replicas == 2


def test_arrivals_of_low_priority_are_no_rate() -> None:
    snapshot = signals(arrived_total=10, arrived_low_priority_total=9, queued=7, queued_low_priority=5)
    demand = scaling_inputs(resolved(), observed(), "r1", snapshot).demand
    assert demand
    assert (demand.arrived_total, demand.queued, demand.queued_low) == (1, 2, 5)


def test_nobody_goes_while_something_speaks_against_it_and_growth_goes_on() -> None:
    scene = Scene(scaling(idle_timeout_seconds=1))
    held = scene.decide(idle("a", 100), hold="the clock was set")
    assert (held.replicas, held.remove, held.term) == (1, (), Term.UNSETTLED)
    assert held.message == "the clock was set: wait"
    assert scene.decide(busy("a"), queued=1, late=1, hold="the clock was set").replicas == 2
