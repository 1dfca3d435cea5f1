"""Every pair of operations races for one job, many times: what comes out is what one of the two orders gives."""

from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from itertools import combinations_with_replacement, cycle

import pytest

from tests.races.arena import Arena
from tests.races.catalogue import OPERATIONS, STARTS, SWEEP
from tests.races.model import allowed

pytestmark = pytest.mark.slow

RACES = 1_500
BATCH = 150


@pytest.mark.parametrize("pair", [*combinations_with_replacement(OPERATIONS, 2)], ids=" and ".join)
async def test_a_race_of_two_ends_as_one_of_its_orders(arena: Arena, pair: tuple[str, str]) -> None:
    seen: dict[str, set[bytes]] = defaultdict(set)
    async for races in batches(arena):
        answers = await arena.race([[OPERATIONS[name](number) for name in pair] for number in races])
        for number, sight in (await arena.seen(dict(zip(races, answers, strict=True)))).items():
            seen[races[number]].add(sight)
    await check(arena, seen, pair)


@pytest.mark.parametrize("name", OPERATIONS)
async def test_a_race_with_the_sweeper_ends_as_one_of_its_orders(arena: Arena, name: str) -> None:
    seen: dict[str, set[bytes]] = defaultdict(set)
    async for races in batches(arena):
        *answers, [swept] = await arena.race([*([OPERATIONS[name](number)] for number in races), [SWEEP]])
        told = {number: [outcome, swept] for number, [outcome] in zip(races, answers, strict=True)}
        for number, sight in (await arena.seen(told)).items():
            seen[races[number]].add(sight)
    await check(arena, seen, (name, "sweep"))


async def check(arena: Arena, seen: Mapping[str, set[bytes]], names: tuple[str, str]) -> None:
    """Nothing else was seen; where one gateway orders everything, both orders were."""
    for start in STARTS:
        orders = await allowed(start, names, shared=arena.shared)
        assert seen[start] - orders == set(), start
        assert arena.shared or seen[start] == orders, start


async def batches(arena: Arena) -> AsyncIterator[dict[int, str]]:
    """Races by number, each with what its job is at the start; the jobs are there already."""
    starts = cycle(STARTS)
    for _ in range(RACES // BATCH):
        races = dict(zip(arena.numbers(BATCH), starts, strict=False))
        await arena.prepare([make(number) for number, start in races.items() for make in STARTS[start]])
        yield races
