"""Situations of the scaler for property tests: ages and instants are eighths of a second, which floats hold exactly.

They are made from one drawn seed, because drawing each of their hundred values takes hypothesis a hundred times as
long as the decision that is tested. A failure names its seed, and a short history is tried as often as a long one.
"""

from random import Random

from hypothesis import strategies as st
from msgspec.structs import replace

from submodel_operator.api.v1alpha1 import ScalerType
from submodel_operator.resolve import ResolvedScaling
from submodel_operator.scaling import Demand, ScalingInputs, StartingWorker, Trouble, WorkerSignal

Tick = tuple[ScalingInputs, float]


def ticks() -> st.SearchStrategy[list[Tick]]:
    """One to five situations of one endpoint, with their instants."""
    return st.builds(_ticks, st.integers(0, 2**32), st.integers(1, 5))


def _ticks(seed: int, length: int) -> list[Tick]:
    """Totals grow, but for a gateway that lost its store."""
    chance = Random(seed)
    scaling, now, result = _settings(chance), 1_800_000_000.0, list[Tick]()
    arrived = finished = 0
    for _ in range(length):
        now += _age(chance)
        inputs = _situation(chance, scaling)
        if inputs.demand and chance.random() < 0.8:
            arrived += inputs.demand.arrived_total
            finished = min(arrived, finished + inputs.demand.finished_total)
            inputs = replace(inputs, demand=replace(inputs.demand, arrived_total=arrived, finished_total=finished))
        result.append((inputs, now))
    return result


def _settings(chance: Random) -> ResolvedScaling:
    """Any settings without a schedule, which depends on the time of day."""
    low = chance.choice([0, 0, chance.randint(0, 10)])
    kind = chance.choice(list(ScalerType))
    return ResolvedScaling(
        workers_min=low,
        workers_max=chance.randint(low, 20),
        idle_timeout_seconds=chance.choice([None, chance.randint(1, 60)]),
        scaler_type=kind,
        scaler_value=float(chance.randint(1, 30)),
        concurrency=chance.randint(1, 4),
        standby=chance.choice([0, 0, 2]),
        max_surge=chance.choice([None, chance.randint(1, 5)]),
        stabilization_seconds=chance.choice([0, 0, 30, *([None] * (kind is ScalerType.ADAPTIVE))]),
        schedules=(),
        shadow=chance.choice([None, *(each for each in ScalerType if each is not kind)]),
        shadow_value=4.0,
        service_prior_seconds=30.0,
    )


def _situation(chance: Random, scaling: ResolvedScaling) -> ScalingInputs:
    """Any facts at one instant; some of them without a word of the gateway, or with an old one."""
    running = [chance.choice([0, chance.randint(0, 3)]) for _ in range(chance.choice([0, chance.randint(0, 12)]))]
    workers = tuple(
        WorkerSignal(
            name=f"w{i}",
            running=jobs,
            idle_seconds=None if jobs else _age(chance),
            draining=chance.random() < 0.3,
            start_seconds=_age(chance),
            unready=chance.random() < 0.1,
            coming=chance.random() < 0.1,
        )
        for i, jobs in enumerate(running)
    )
    starting = tuple(
        StartingWorker(
            chance.choice([f"s{i}", f"w{12 + i}"]),
            _age(chance),
            trouble=_trouble(chance),
            runs=(runs := chance.random() < 0.5),
            coming=not runs and chance.random() < 0.5,
        )
        for i in range(chance.choice([0, chance.randint(0, 4)]))
    )
    replicas = chance.choice([len(workers) + len(starting), chance.randint(0, 20)])
    demand = None if chance.random() < 0.2 else _demand(chance, running)
    revision, refusal = chance.choice(["r1", "r1", "r2"]), chance.choice(["", "", "exceeded quota"])
    return ScalingInputs(scaling, replicas, workers, starting, demand, revision, refusal)


def _demand(chance: Random, running: list[int]) -> Demand:
    queued, running_low = chance.choice([0, chance.randint(0, 50)]), chance.choice([0, 0, chance.randint(0, 9)])
    return Demand(
        queued=queued,
        late=chance.randint(0, queued),
        oldest_seconds=_age(chance) if queued else None,
        in_progress=sum(running),
        arrived_total=chance.randint(0, 200),
        finished_total=chance.randint(0, 200),
        age_seconds=chance.randint(0, 16) / 8,
        fresh=chance.random() < 0.8,
        queued_low=chance.choice([0, 0, chance.randint(0, 50)]),
        running_low=min(running_low, sum(running)),
    )


def _trouble(chance: Random) -> Trouble | None:
    return chance.choice([None, None, Trouble.FAILING, Trouble.UNSCHEDULABLE])


def _age(chance: Random) -> float:
    return chance.choice([chance.randint(0, 80), chance.randint(0, 8000)]) / 8
