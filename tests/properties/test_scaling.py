"""Properties of the scaling decision that hold for all inputs, after any history."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling import Demand, ScalerState, ScalingDecision, ScalingInputs, WorkerSignal, decide
from submodel_operator.scaling.estimates import idle_stay, learned_starts
from submodel_operator.scaling.memory import remember
from submodel_operator.scaling.state import decode, encode
from submodel_operator.simulation import policies
from submodel_operator.simulation.cluster import Cluster, Conditions
from submodel_operator.simulation.workloads import Job, Workload
from tests.support.endpoints import scaling
from tests.support.scaling_strategies import Tick, ticks


def played(history: Sequence[Tick], shift: float = 0.0) -> tuple[list[ScalingDecision], ScalerState]:
    """The decisions of each tick in turn, and what is remembered after the last."""
    state, decisions = ScalerState(), []
    for inputs, now in history:
        decision, state = decide(inputs, state, now + shift)
        decisions.append(decision)
    return decisions, state


def last(history: Sequence[Tick]) -> tuple[ScalingInputs, ScalerState, float]:
    """The arguments of the last decision."""
    inputs, now = history[-1]
    return inputs, played(history[:-1])[1], now


@pytest.mark.requirement("platform.scale.bounds")
@given(ticks())
def test_only_idle_or_starting_workers_are_removed(history: list[Tick]) -> None:
    inputs, state, now = last(history)
    busy = {worker.name for worker in inputs.workers if worker.running}
    assert not busy & set(decide(inputs, state, now)[0].remove)


@pytest.mark.requirement("platform.scale.bounds")
@given(ticks())
def test_growth_never_exceeds_workers_max(history: list[Tick]) -> None:
    inputs, state, now = last(history)
    assert decide(inputs, state, now)[0].replicas <= max(inputs.scaling.workers_max, inputs.replicas, inputs.busy)


@given(ticks())
def test_there_are_never_fewer_workers_than_hold_jobs(history: list[Tick]) -> None:
    inputs, state, now = last(history)
    if inputs.demand is not None:
        assert decide(inputs, state, now)[0].replicas >= inputs.busy


@pytest.mark.requirement("platform.scale.bounds")
@given(ticks())
def test_workers_min_is_always_wanted_unless_starts_are_held_back(history: list[Tick]) -> None:
    inputs, state, now = last(history)
    held_back = inputs.refusal or inputs.scaling.max_surge or any(each.trouble for each in inputs.starting)
    if not held_back and len(remember(inputs, state, now).failed) < 3:
        assert decide(inputs, state, now)[0].replicas >= inputs.scaling.workers_min


@given(ticks(), st.booleans())
def test_missing_or_old_signals_never_shrink(history: list[Tick], missing: bool) -> None:
    inputs, state, now = last(history)
    old = inputs.demand and replace(inputs.demand, fresh=False)
    decision, _ = decide(replace(inputs, demand=None if missing else old), state, now)
    assert decision.replicas >= inputs.replicas
    assert not decision.remove


@given(ticks())
def test_a_shrink_names_exactly_the_workers_that_leave(history: list[Tick]) -> None:
    inputs, state, now = last(history)
    decision, _ = decide(inputs, state, now)
    assert len(set(decision.remove)) == len(decision.remove) == max(0, inputs.replicas - decision.replicas)


@given(ticks())
def test_nobody_goes_beside_a_worker_that_stays_and_that_the_cluster_would_take_first(history: list[Tick]) -> None:
    inputs, state, now = last(history)
    decision, _ = decide(inputs, state, now)
    first = {worker.name for worker in inputs.workers if worker.unready or worker.coming}
    first |= {worker.name for worker in inputs.starting if worker.coming}
    if decision.remove and decision.replicas:
        assert first <= set(decision.remove)
    held_up = {worker.name for worker in inputs.starting if not worker.runs}
    if any(worker.runs for worker in inputs.starting if worker.name in decision.remove):
        assert held_up <= set(decision.remove)


@given(ticks())
def test_no_worker_leaves_before_the_idle_timeout_unless_the_maximum_was_lowered(history: list[Tick]) -> None:
    inputs, state, now = last(history)
    if inputs.replicas > inputs.scaling.workers_max:
        return
    decision, after = decide(inputs, state, now)
    ages_by_name = {worker.name: worker.idle_seconds for worker in inputs.workers if not worker.draining}
    ages_by_name |= {worker.name: worker.age_seconds for worker in inputs.starting}
    left = [age for name in decision.remove if (age := ages_by_name.get(name)) is not None]
    stay = idle_stay(inputs, after, learned_starts(after))
    assert all(age >= stay.seconds for age in left)
    if not decision.replicas and left and not inputs.starting:
        assert min(left) >= stay.last_seconds


@given(ticks(), st.integers(0, 50), st.integers(0, 50))
def test_more_queued_jobs_never_mean_fewer_workers(history: list[Tick], more: int, more_late: int) -> None:
    inputs, state, now = last(history)
    if inputs.demand is None:
        return
    late = inputs.demand.late + min(more, more_late)
    deeper = replace(inputs.demand, queued=inputs.demand.queued + more, late=late, oldest_seconds=10.0)
    fewer, more_workers = decide(inputs, state, now)[0], decide(replace(inputs, demand=deeper), state, now)[0]
    assert more_workers.replicas >= fewer.replicas


@given(ticks())
def test_a_queue_that_was_answered_by_adaptive_starts_nobody_again(history: list[Tick]) -> None:
    inputs, state, now = last([(replace(inputs, scaling=_adaptive(inputs.scaling)), now) for inputs, now in history])
    first, after = decide(inputs, state, now)
    if inputs.settled and first.replicas > inputs.replicas:
        assert decide(replace(inputs, replicas=first.replicas), after, now)[0].replicas == first.replicas


@pytest.mark.requirement("platform.low_priority")
@given(ticks(), st.integers(1, 50))
def test_queued_jobs_of_low_priority_change_no_number(history: list[Tick], more: int) -> None:
    inputs, state, now = last(history)
    if inputs.demand is None:
        return
    beside = replace(inputs.demand, queued_low=inputs.demand.queued_low + more)
    alone, together = decide(inputs, state, now)[0], decide(replace(inputs, demand=beside), state, now)[0]
    assert (alone.replicas, alone.remove, alone.term) == (together.replicas, together.remove, together.term)


@given(ticks())
def test_the_same_tick_twice_changes_nothing(history: list[Tick]) -> None:
    inputs, state, now = last(history)
    decision, after = decide(inputs, state, now)
    assert decide(inputs, after, now) == (decision, after)


@given(ticks())
def test_the_memory_survives_a_restart_between_any_two_ticks(history: list[Tick]) -> None:
    state = ScalerState()
    for inputs, now in history:
        restarted = decode(encode(state))
        assert decide(inputs, restarted, now) == decide(inputs, state, now)
        _, state = decide(inputs, state, now)


@given(ticks(), st.integers(-10_000_000, 10_000_000))
def test_only_distances_in_time_matter(history: list[Tick], shift: int) -> None:
    assert played(history, shift)[0] == played(history)[0]


@given(ticks(), st.integers(1, 100_000))
def test_a_clock_that_is_set_back_never_removes_a_busy_worker_and_forgets_nothing(
    history: list[Tick], back: int
) -> None:
    inputs, state, now = last(history)
    decision, after = decide(inputs, state, now - back)
    assert not {worker.name for worker in inputs.workers if worker.running} & set(decision.remove)
    if inputs.revision == state.revision:
        assert len(after.cold_starts) >= len(state.cold_starts)


@given(st.integers(0, 60), st.integers(1, 20), st.integers(1, 4))
def test_request_count_is_the_documented_formula_where_nothing_limits_it(jobs: int, value: int, running: int) -> None:
    counted = scaling(scaler_type=ScalerType.REQUEST_COUNT, scaler_value=float(value), workers_max=1000)
    demand = Demand(queued=jobs, late=0, oldest_seconds=1.0 if jobs else None, in_progress=running)
    worker = WorkerSignal("w", running, None)
    decision, _ = decide(ScalingInputs(counted, 1, (worker,), (), demand), ScalerState(), 1_800_000_000.0)
    assert decision.replicas == -(-(jobs + running) // value)


@pytest.mark.parametrize("kind", ScalerType)
@pytest.mark.parametrize(("busy", "surplus"), [(0, 0), (0, 4), (1, 6), (7, 0), (12, 3)])
@pytest.mark.parametrize("per_second", [0, 1, 4])
def test_constant_load_settles(kind: ScalerType, busy: int, surplus: int, per_second: int) -> None:
    rules = scaling(scaler_type=kind, scaler_value=1.0, workers_max=30, stabilization_seconds=30)
    state, counts, idle = ScalerState(), list[int](), [0.0] * surplus
    for tick in range(200):
        workers = tuple(WorkerSignal(f"b{i}", 1, None) for i in range(busy))
        workers += tuple(WorkerSignal(f"i{i}", 0, seconds) for i, seconds in enumerate(idle))
        total = tick * per_second
        demand = Demand(0, 0, None, busy, arrived_total=total, finished_total=total)
        inputs = ScalingInputs(rules, len(workers), workers, (), demand)
        decision, state = decide(inputs, state, 1_800_000_000.0 + tick)
        kept = [seconds + 1 for i, seconds in enumerate(idle) if f"i{i}" not in decision.remove]
        idle = kept + [0.0] * max(0, decision.replicas - len(workers))
        counts.append(decision.replicas)
    assert len(set(counts[-100:])) == 1


@pytest.mark.parametrize("start_seconds", [10.0, 60.0])
@pytest.mark.parametrize(
    ("gap_seconds", "job_seconds"), [(2, 1.0), (2, 7.3), (3, 19.0), (5, 14.9), (9, 20.0), (9, 4.6)]
)
def test_adaptive_neither_starts_nor_ends_a_worker_under_constant_load(
    start_seconds: float, gap_seconds: int, job_seconds: float
) -> None:
    jobs = tuple(Job(float(at), job_seconds) for at in range(1, 900, gap_seconds))
    conditions, workload = Conditions(start_seconds, 10.0), Workload("constant", jobs, 900.0)
    cluster = Cluster(workload, policies.build("ADAPTIVE", workload, conditions), conditions)
    counts: list[int] = []
    for second in range(600, 895):
        cluster._at(float(second), lambda: counts.append(cluster.wanted))
    cluster.run()
    assert len(set(counts)) == 1


def _adaptive(settings: ResolvedScaling) -> ResolvedScaling:
    return replace(settings, scaler_type=ScalerType.ADAPTIVE, shadow=None)
