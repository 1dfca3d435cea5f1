"""Every pair of operations races for one job, many times: what comes out is what one of the two orders gives."""

from collections import defaultdict
from itertools import combinations_with_replacement, cycle

import pytest

from tests.races.arena import Arena
from tests.races.catalogue import OPERATIONS, STARTS, SWEEP
from tests.races.model import allowed
from tests.races.observe import answer, canonical, end

pytestmark = pytest.mark.slow

RACES = 1_500
BATCH = 150


@pytest.mark.parametrize("pair", [*combinations_with_replacement(OPERATIONS, 2)], ids=" and ".join)
async def test_a_race_of_two_ends_as_one_of_its_orders(arena: Arena, pair: tuple[str, str]) -> None:
    starts = cycle(STARTS)
    seen: dict[str, set[bytes]] = defaultdict(set)
    for _ in range(RACES // BATCH):
        races = dict(zip(arena.numbers(BATCH), starts, strict=False))
        await arena.prepare([make(number) for number, start in races.items() for make in STARTS[start]])
        answers = await arena.race([[OPERATIONS[name](number) for name in pair] for number in races])
        for (number, start), outcomes in zip(races.items(), answers, strict=True):
            told = [answer(number, outcome) for outcome in outcomes]
            seen[start].add(canonical(number, [told, await end(arena.store, number)]))
    assert seen == {start: await allowed(start, pair) for start in STARTS}


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_race_with_the_sweeper_ends_as_one_of_its_orders(arena: Arena, name: str) -> None:
    starts = cycle(STARTS)
    seen: dict[str, set[bytes]] = defaultdict(set)
    for _ in range(RACES // BATCH):
        races = dict(zip(arena.numbers(BATCH), starts, strict=False))
        await arena.prepare([make(number) for number, start in races.items() for make in STARTS[start]])
        *answers, [swept] = await arena.race([*([OPERATIONS[name](number)] for number in races), [SWEEP]])
        for (number, start), [outcome] in zip(races.items(), answers, strict=True):
            told = [answer(number, outcome), answer(number, swept)]
            seen[start].add(canonical(number, [told, await end(arena.store, number)]))
    assert seen == {start: await allowed(start, (name, "sweep")) for start in STARTS}
