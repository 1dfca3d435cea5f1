"""What the pure model allows: the race run in one order and in the other, on the store in memory."""

from itertools import permutations

from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.races.catalogue import NOW, OPERATIONS, STARTS, SWEEP
from tests.races.observe import answer, canonical, end


def operation(name: str, number: int) -> base.Operation:
    """The operation of that name in race `number`."""
    return SWEEP if name == "sweep" else OPERATIONS[name](number)


async def allowed(start: str, names: tuple[str, ...]) -> set[bytes]:
    """The observations of all serial orders; answers are listed in the order of `names`."""
    orders = permutations(range(len(names)))
    return {await _in_order(start, names, order) for order in orders}


async def _in_order(start: str, names: tuple[str, ...], order: tuple[int, ...]) -> bytes:
    store = MemoryStore()
    store.apply([make(0) for make in STARTS[start]], NOW)
    answers: dict[int, object] = {}
    for index in order:
        (outcome,) = store.apply([operation(names[index], 0)], NOW)
        answers[index] = answer(0, outcome)
    return canonical(0, [[answers[index] for index in range(len(names))], await end(store, 0)])
