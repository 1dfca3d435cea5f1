"""A database server that ends without a word and comes back loses nothing that was acknowledged."""

import os
import random
from collections import defaultdict
from contextlib import closing
from signal import SIGKILL
from threading import Timer

import msgspec
import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from tests.crash import load
from tests.crash.ledger import Counted, Ledger, miscounts
from tests.crash.nursery import Nursery
from tests.support.postgres import PostgresServer

RESTARTS = 20
AFTERWARDS = 200
"""Acknowledged operations that show that the gateway goes on after a restart, before it is killed itself."""

DECODE = msgspec.msgpack.Decoder(Job).decode
COUNT = "SELECT endpoint, state, count(*), sum(gen)::bigint FROM submodel.job GROUP BY endpoint, state"


def served_through_a_restart(nursery: Nursery, server: PostgresServer, url: str, seed: int) -> list[Job]:
    """What one gateway acknowledged before, during and after an immediate restart of the server."""
    chance = random.Random(seed)
    told: list[Job] = []
    restart = Timer(chance.uniform(0, 0.02), server.restart, kwargs={"immediate": True})
    start_at = int(chance.expovariate(1 / 300))
    stop_at: int | None = None
    pid, messages = nursery.start(url, seed)
    for number, message in enumerate(messages):
        if message != load.READY:
            told.append(DECODE(message))
        if number == start_at:
            restart.start()
        elif number > start_at and stop_at is None and not restart.is_alive():
            stop_at = number + AFTERWARDS
        if number == stop_at:
            os.kill(pid, SIGKILL)
    assert nursery.was_killed(), "the load ended by itself"
    return told


def counted(server: PostgresServer, database: str) -> dict[str, Counted]:
    """The jobs in the database."""
    counts: dict[str, Counted] = defaultdict(Counted)
    for endpoint, state, jobs, generations in msgspec.convert(
        server.execute(COUNT, database), list[tuple[str, JobState, int, int]]
    ):
        counts[endpoint].add(state, jobs, generations)
    return counts


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_what_was_acknowledged_before_each_of_20_immediate_restarts_is_found_after_it(nursery: Nursery) -> None:
    # Signs of life and streams are not waited for: a crash of the server may take the last moment of them back.
    ledger = Ledger(streams=False)
    with closing(PostgresServer()) as server:
        url = server.url()
        for seed in range(RESTARTS):
            told = served_through_a_restart(nursery, server, url, seed)
            for job in told:
                ledger.note(job)
            store = (await load.open_group(url)).store
            assert await ledger.violations(store, ledger.told) == []
            assert miscounts(store, counted(server, "postgres")) == []
            await store.close()
    assert len(ledger.told) > RESTARTS * 20
