"""Properties of the scaling decision that hold for all inputs."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling import Demand, ScalingInputs, StartingWorker, WorkerSignal, decide

ages = st.floats(0, 1000, allow_nan=False)
counts = st.integers(0, 50)


@st.composite
def settings(draw: st.DrawFn) -> ResolvedScaling:
    low = draw(st.integers(0, 10))
    return ResolvedScaling(
        workers_min=low,
        workers_max=draw(st.integers(low, 20)),
        idle_timeout_seconds=draw(st.integers(1, 60)),
        scaler_type=draw(st.sampled_from(ScalerType)),
        scaler_value=float(draw(st.integers(1, 30))),
        concurrency=draw(st.integers(1, 4)),
    )


@st.composite
def situations(draw: st.DrawFn) -> ScalingInputs:
    running = draw(st.lists(st.integers(0, 3), max_size=12))
    workers = tuple(
        WorkerSignal(f"w{i}", jobs, None if jobs else draw(ages), draw(st.booleans())) for i, jobs in enumerate(running)
    )
    starting = tuple(StartingWorker(f"s{i}", draw(ages)) for i in range(draw(st.integers(0, 4))))
    queued = draw(counts)
    demand = Demand(
        queued=queued,
        late=draw(st.integers(0, queued)),
        oldest_seconds=draw(ages) if queued else None,
        in_progress=sum(running),
    )
    replicas = draw(st.sampled_from([len(workers) + len(starting), draw(st.integers(0, 20))]))
    return ScalingInputs(draw(settings()), replicas, workers, starting, draw(st.sampled_from([demand, None])))


@pytest.mark.requirement("platform.scale.bounds")
@given(situations())
def test_only_idle_or_starting_workers_are_removed(inputs: ScalingInputs) -> None:
    busy = {worker.name for worker in inputs.workers if worker.running}
    assert not busy & set(decide(inputs).remove)


@pytest.mark.requirement("platform.scale.bounds")
@given(situations())
def test_growth_never_exceeds_workers_max(inputs: ScalingInputs) -> None:
    decision = decide(inputs)
    assert decision.replicas <= max(inputs.scaling.workers_max, inputs.replicas, inputs.busy)


@pytest.mark.requirement("platform.scale.bounds")
@given(situations())
def test_workers_min_is_always_wanted(inputs: ScalingInputs) -> None:
    assert decide(inputs).replicas >= inputs.scaling.workers_min


@given(situations())
def test_missing_signals_never_shrink(inputs: ScalingInputs) -> None:
    blind = replace(inputs, demand=None)
    decision = decide(blind)
    assert decision.replicas >= inputs.replicas
    assert not decision.remove


@given(situations())
def test_a_shrink_names_exactly_the_workers_that_leave(inputs: ScalingInputs) -> None:
    decision = decide(inputs)
    assert len(set(decision.remove)) == len(decision.remove)
    if decision.replicas < inputs.replicas:
        assert len(decision.remove) == inputs.replicas - decision.replicas
    else:
        assert not decision.remove


@given(situations())
def test_no_worker_leaves_before_the_idle_timeout_unless_the_maximum_was_lowered(inputs: ScalingInputs) -> None:
    decision = decide(inputs)
    if inputs.replicas > inputs.scaling.workers_max:
        return
    ages_by_name = {worker.name: worker.idle_seconds for worker in inputs.workers if not worker.draining}
    ages_by_name |= {worker.name: worker.age_seconds for worker in inputs.starting}
    left = [age for name in decision.remove if (age := ages_by_name.get(name)) is not None]
    assert all(age >= inputs.scaling.idle_timeout_seconds for age in left)


@given(situations(), st.integers(0, 50), st.integers(0, 50))
def test_more_queued_jobs_never_mean_fewer_workers(inputs: ScalingInputs, more: int, more_late: int) -> None:
    if inputs.demand is None:
        return
    late = inputs.demand.late + min(more, more_late)
    deeper = replace(inputs.demand, queued=inputs.demand.queued + more, late=late, oldest_seconds=10.0)
    assert decide(replace(inputs, demand=deeper)).replicas >= decide(inputs).replicas
