"""SIGKILL at any moment loses nothing that was acknowledged."""

import os
import random
import sqlite3
from collections import defaultdict
from pathlib import Path
from signal import SIGKILL
from threading import Timer

import msgspec
import pytest

from submodel.contract.states import JobState
from submodel_gateway.jobs.record import Job
from tests.crash import load
from tests.crash.ledger import Counted, Ledger, miscounts
from tests.crash.nursery import Nursery

KILLS = 200
OPENING = -1
DECODE = msgspec.msgpack.Decoder(Job).decode


def killed_under_load(nursery: Nursery, url: str, seed: int) -> list[Job]:
    """What a process acknowledged before it was killed: while it opened, soon after, or after a checkpoint."""
    chance = random.Random(seed)
    after = chance.choices((OPENING, int(chance.expovariate(1 / 300)), 6_000), weights=(10, 87, 3))[0]
    pid, messages = nursery.start(url, seed)
    shot = Timer(chance.uniform(0, 0.02 if after == OPENING else 0.004), os.kill, (pid, SIGKILL))
    if after == OPENING:
        shot.start()
    told: list[Job] = []
    for number, message in enumerate(messages):
        if message != load.READY:
            told.append(DECODE(message))
        if number == after:
            shot.start()
    shot.join()
    assert nursery.was_killed(), "the load ended by itself"
    return told


def counted(path: Path) -> dict[str, Counted]:
    """The jobs in the file, after a check of the file itself."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    sql = "SELECT endpoint, state, count(*), sum(gen) FROM job GROUP BY endpoint, state"
    rows = connection.execute(sql).fetchall()
    connection.close()
    counts: dict[str, Counted] = defaultdict(Counted)
    for endpoint, state, jobs, generations in rows:
        counts[endpoint].add(JobState(state), jobs, generations)
    return counts


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_what_was_acknowledged_before_each_of_200_kills_is_found_after_it(
    nursery: Nursery, tmp_path: Path
) -> None:
    path = tmp_path / "jobs.db"
    url = f"sqlite://{path}"
    ledger = Ledger()
    seen: set[JobState] = set()
    for seed in range(KILLS):
        told = killed_under_load(nursery, url, seed)
        for job in told:
            ledger.note(job)
        seen |= {job.state for job in told}
        store = (await load.open_group(url)).store
        everything = seed % 50 == 49
        assert await ledger.violations(store, ledger.told if everything else {job.id for job in told}) == []
        assert miscounts(store, counted(path)) == []
        await store.close()
    assert seen == set(JobState) - {JobState.TIMED_OUT}, "the load did not do everything it should"
    assert len(ledger.told) > KILLS * 20
