"""The gateway's own job goes through every engine, and leaves nothing behind; several gateways do not get in each
other's way."""

import asyncio
import itertools
from collections.abc import Iterator

import pytest

from submodel_gateway.metrics import table
from submodel_gateway.metrics.measures import Measures
from submodel_gateway.service import canary
from submodel_gateway.service.canary import Canary
from submodel_gateway.service.clock import SteeredClock
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from submodel_gateway.store.group import GroupCommit
from tests.support.store_engines import Engine


def flier(store: Store, bits: Iterator[int], measures: Measures) -> tuple[Canary, GroupCommit]:
    clock = SteeredClock()
    group = GroupCommit(store, clock.now_ms, lambda changes: None)
    return Canary(group, "1", clock, measures, lambda count: next(bits)), group


async def test_a_canary_moves_and_is_removed(store: Store) -> None:
    measures = Measures()
    one, group = flier(store, itertools.count(1), measures)
    for _ in range(3):
        await one.fly()
    assert one.sight().trouble == ""
    await group.one(base.Sweep(hold_ms=0, seen_at=1))
    assert (await store.requests(canary.ENDPOINT, None, 10)).jobs == ()
    assert not measures.counts[table.CANARY_FAILURES]


@pytest.mark.slow
async def test_canaries_of_several_gateways_at_once_all_move(engine: Engine) -> None:
    stores = [engine.open() for _ in range(3 if engine.name == "postgres" else 1)]
    bits, measures = itertools.count(1), Measures()
    for each in stores:
        await each.start(lambda endpoints: None)
    fliers = [flier(each, bits, measures) for each in stores]
    for _ in range(20):
        await asyncio.gather(*(one.fly() for one, _ in fliers))
    assert not measures.counts[table.CANARY_FAILURES]
    for _, group in fliers:
        await group.close()
