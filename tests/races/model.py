"""What the pure model allows: the race run in one order and in the other, on the store in memory."""

from collections.abc import Iterator
from itertools import combinations, permutations

from submodel_gateway.store import base
from submodel_gateway.store.memory import MemoryStore
from tests.races.catalogue import NOW, OPERATIONS, STARTS, SWEEP
from tests.races.observe import answer, canonical, end

Order = tuple[int, ...]
"""Places of the operations that have their turn, one after the other."""

SHY: dict[str, base.Outcome] = {"take": base.Taken((), ()), "sweep": base.Swept(())}
"""Operations that may pass over a job which another gateway is working on, and what they answer then."""


async def allowed(start: str, names: tuple[str, ...], *, shared: bool) -> set[bytes]:
    """The observations of all serial orders; answers are listed in the order of `names`.

    Args:
        shared: whether several gateways use the store.
    """
    return {await _in_order(start, names, order, shared) for order in _orders(names, shared)}


def _orders(names: tuple[str, ...], shared: bool) -> Iterator[Order]:
    everyone = range(len(names))
    shy = [place for place in everyone if shared and names[place] in SHY]
    for count in range(len(shy) + 1):
        for passing in combinations(shy, count):
            yield from permutations([place for place in everyone if place not in passing])


async def _in_order(start: str, names: tuple[str, ...], order: Order, shared: bool) -> bytes:
    store = MemoryStore()
    store.apply([make(0) for make in STARTS[start]], NOW)
    answers: dict[int, object] = {}
    for place in order:
        (outcome,) = store.apply([_operation(names[place])], NOW)
        answers[place] = answer(0, outcome)
    told = [answers[place] if place in answers else answer(0, SHY[name]) for place, name in enumerate(names)]
    return canonical(0, [told, await end(store, 0, shared=shared)])


def _operation(name: str) -> base.Operation:
    return SWEEP if name == "sweep" else OPERATIONS[name](0)
