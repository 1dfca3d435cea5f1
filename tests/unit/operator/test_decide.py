"""Scaling scenarios with their numbers, one per sentence of the documentation."""

from typing import Any

import pytest
from msgspec.structs import replace

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.scaling import (
    Demand,
    ScalerState,
    ScalingDecision,
    ScalingInputs,
    StartingWorker,
    Term,
    WorkerSignal,
)
from submodel_operator.scaling import decide as decide_with_state
from tests.support.endpoints import scaling

QUIET = Demand(queued=0, late=0, oldest_seconds=None, in_progress=0)


def decide(inputs: ScalingInputs) -> ScalingDecision:
    return decide_with_state(inputs, ScalerState(), 1_800_000_000.0)[0]


def demand(queued: int = 0, late: int = 0, oldest: float | None = None, in_progress: int = 0) -> Demand:
    return Demand(queued, late, oldest, in_progress)


def idle(name: str, seconds: float, draining: bool = False) -> WorkerSignal:
    return WorkerSignal(name, 0, seconds, draining)


def busy(name: str, running: int = 1) -> WorkerSignal:
    return WorkerSignal(name, running, None)


def inputs(
    *workers: WorkerSignal,
    demand: Demand | None = QUIET,
    replicas: int | None = None,
    starting: tuple[StartingWorker, ...] = (),
    **settings: Any,
) -> ScalingInputs:
    asked = len(workers) + len(starting) if replicas is None else replicas
    return ScalingInputs(scaling(**settings), asked, workers, starting, demand)


@pytest.mark.requirement("platform.scale.delay")
def test_the_first_job_at_zero_starts_one_worker_with_queue_delay() -> None:
    decision = decide(inputs(demand=demand(queued=10, oldest=0.0)))
    assert (decision.replicas, decision.term) == (1, Term.FIRST_JOB)


def test_queue_delay_adds_nothing_while_no_job_is_late_and_looks_again_when_one_becomes_late() -> None:
    decision = decide(inputs(busy("a"), demand=demand(queued=5, oldest=1.5, in_progress=1)))
    assert decision.replicas == 1
    assert decision.evaluate_after_seconds == 2.5


@pytest.mark.requirement("platform.scale.delay")
def test_queue_delay_adds_one_worker_per_late_job_less_those_that_start() -> None:
    decision = decide(inputs(busy("a"), replicas=2, demand=demand(queued=9, late=3, oldest=9.0), workers_max=10))
    assert (decision.replicas, decision.term) == (4, Term.LATE_JOBS)
    assert decision.message == "3 jobs waited longer than 4 s while 1 worker started: 2 more"


def test_late_jobs_share_workers_that_run_several_at_once() -> None:
    decision = decide(inputs(busy("a"), demand=demand(queued=9, late=9, oldest=9.0), workers_max=10, concurrency=4))
    assert decision.replicas == 4


def test_workers_max_limits_growth_and_says_so() -> None:
    decision = decide(inputs(busy("a"), demand=demand(queued=9, late=9, oldest=9.0)))
    assert (decision.replicas, decision.term) == (3, Term.MAXIMUM)
    assert decision.message.endswith("workersMax allows 3")


@pytest.mark.requirement("platform.scale.count")
def test_request_count_keeps_one_worker_per_scaler_value_jobs() -> None:
    rule: dict[str, Any] = {"scaler_type": ScalerType.REQUEST_COUNT, "scaler_value": 4.0, "workers_max": 10}
    assert decide(inputs(demand=demand(queued=9), **rule)).replicas == 3
    assert decide(inputs(busy("a", 3), demand=demand(queued=5, in_progress=3), **rule)).replicas == 2


@pytest.mark.requirement("platform.scale.idle")
def test_an_idle_worker_leaves_after_the_idle_timeout_and_not_before() -> None:
    assert decide(inputs(idle("a", 4.9))).remove == ()
    decision = decide(inputs(idle("a", 5.0)))
    assert (decision.replicas, decision.remove, decision.term) == (0, ("a",), Term.IDLE)


def test_the_next_look_is_when_the_next_worker_will_have_been_idle_long_enough() -> None:
    assert decide(inputs(idle("a", 1.0), idle("b", 3.0))).evaluate_after_seconds == 2.0


def test_the_longest_idle_worker_leaves_first_and_a_draining_one_keeps_its_place() -> None:
    workers = (busy("a"), idle("b", 6.0), idle("c", 9.0), idle("d", 7.0, draining=True))
    decision = decide(inputs(*workers, workers_min=2, workers_max=5))
    assert decision.remove == ("d", "c")


def test_nobody_goes_while_the_cluster_would_take_one_that_is_to_stay_because_it_calls_it_not_ready() -> None:
    unready = replace(busy("a"), unready=True)
    held = decide(inputs(unready, idle("b", 9.0), demand=demand(in_progress=1)))
    assert (held.replicas, held.remove, held.term) == (2, (), Term.UNREADY)
    assert "worker a is to stay" in held.message
    assert decide(inputs(busy("a"), idle("b", 9.0), demand=demand(in_progress=1))).remove == ("b",)


def test_of_idle_workers_those_go_first_that_the_cluster_would_take_first() -> None:
    workers = (idle("a", 9.0, draining=True), replace(idle("b", 6.0), unready=True))
    assert decide(inputs(*workers, workers_min=1)).remove == ("b",)
    assert decide(inputs(*workers)).remove == ("b", "a")


def test_a_busy_worker_is_never_removed_even_over_the_maximum() -> None:
    decision = decide(inputs(busy("a"), busy("b"), idle("c", 0.1), workers_max=0, demand=demand(in_progress=2)))
    assert (decision.replicas, decision.remove) == (2, ("c",))


def test_workers_min_is_kept_without_any_demand() -> None:
    decision = decide(inputs(idle("a", 100.0), workers_min=2))
    assert (decision.replicas, decision.term) == (2, Term.MINIMUM)


def test_nothing_is_removed_while_jobs_wait_with_queue_delay() -> None:
    assert decide(inputs(idle("a", 100.0), demand=demand(queued=1, oldest=0.1))).remove == ()


def test_unknown_signals_hold_the_number_of_workers() -> None:
    decision = decide(inputs(idle("a", 100.0), demand=None))
    assert (decision.replicas, decision.term, decision.remove) == (1, Term.SIGNALS_UNKNOWN, ())


def test_old_signals_let_the_endpoint_grow_by_the_last_known_backlog_and_never_shrink() -> None:
    old = Demand(queued=9, late=9, oldest_seconds=9.0, in_progress=1, fresh=False)
    assert decide(inputs(busy("a"), demand=old)).replicas == 3
    quiet = Demand(queued=0, late=0, oldest_seconds=None, in_progress=0, fresh=False)
    decision = decide(inputs(idle("a", 100.0), demand=quiet))
    assert (decision.replicas, decision.term, decision.remove) == (1, Term.SIGNALS_UNKNOWN, ())


def test_unknown_signals_still_keep_the_minimum_up() -> None:
    decision = decide(inputs(demand=None, workers_min=2))
    assert (decision.replicas, decision.term) == (2, Term.MINIMUM)


def test_nothing_is_removed_while_other_workers_exist_than_were_asked_for() -> None:
    decision = decide(inputs(idle("a", 100.0), idle("b", 100.0), replicas=1))
    assert (decision.replicas, decision.term, decision.remove) == (1, Term.UNSETTLED, ())


def test_a_start_that_nobody_needs_any_more_is_taken_back_after_the_idle_timeout() -> None:
    young, old = StartingWorker("young", 1.0), StartingWorker("old", 6.0)
    decision = decide(inputs(idle("a", 100.0), starting=(young, old)))
    assert (decision.remove, decision.term) == (("old",), Term.UNNEEDED_STARTS)


def test_nobody_goes_while_another_is_still_coming_for_the_cluster_which_would_take_it_first() -> None:
    working = replace(busy("a"), coming=True)
    held = decide(inputs(working, idle("b", 9.0), demand=demand(in_progress=1)))
    assert (held.replicas, held.remove, held.term) == (2, (), Term.UNSETTLED)
    assert "worker a is to stay" in held.message
    coming = tuple(StartingWorker(name, 6.0, runs=False, coming=True) for name in ("s", "t"))
    assert decide(inputs(starting=coming, workers_min=1)).term is Term.UNSETTLED
    assert decide(inputs(starting=coming)).remove == ("s", "t"), "all go, whoever is first"


def test_of_starts_that_nobody_needs_those_go_first_that_the_cluster_would_take_first() -> None:
    runs, stuck = StartingWorker("a", 6.0, draining=True), StartingWorker("b", 60.0, runs=False)
    comes = StartingWorker("c", 6.0, runs=False, coming=True)
    assert decide(inputs(starting=(runs, stuck, comes), workers_min=1)).remove == ("b", "c")
    assert decide(inputs(starting=(runs, stuck, StartingWorker("d", 60.0, runs=False)), workers_min=2)).remove == ("b",)
    young = StartingWorker("e", 1.0, runs=False)
    assert decide(inputs(starting=(runs, young), workers_min=1)).term is Term.UNSETTLED, "it would go in place of a"


def test_an_idle_worker_waits_until_no_other_is_starting() -> None:
    assert decide(inputs(idle("a", 100.0), starting=(StartingWorker("s", 1.0),))).remove == ()
