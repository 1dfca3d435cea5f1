"""How often what goes wrong in a run. Each seed leaves some kinds out, so that the others are seen alone too."""

from dataclasses import dataclass, fields, replace
from random import Random


@dataclass(frozen=True, slots=True)
class Mix:
    """The standard mix.

    Probabilities are per message, or per access to the store; `*_every` are mean seconds between two faults of a kind,
    0 for never.
    """

    lose_request: float = 0.015
    lose_answer: float = 0.02
    double: float = 0.02
    slow_message: float = 0.02
    slow_commit: float = 0.01
    slow_read: float = 0.02
    kill_worker_every: float = 120
    freeze_worker_every: float = 120
    end_worker_every: float = 90
    restart_gateway_every: float = 90
    gateway_away_every: float = 90
    freeze_gateway_every: float = 120
    store_away_every: float = 120
    step_wall_every: float = 60
    drain_every: float = 60
    purge_every: float = 400
    two_gateways: float = 0.65
    """How likely the store is shared by two of them, each of which has its faults."""


def of_seed(seed: object) -> Mix:
    """The standard mix without about a quarter of its kinds."""
    chance = Random(f"mix/{seed}")
    left_out = {each.name: 0.0 for each in fields(Mix) if chance.random() < 0.25}
    return replace(Mix(), **left_out)
