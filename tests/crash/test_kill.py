"""SIGKILL at any moment loses nothing that was acknowledged."""

import multiprocessing
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

KILLS = 200
DECODE = msgspec.msgpack.Decoder(Job).decode

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["__main__", "tests.crash.load"])


def killed_under_load(url: str, seed: int) -> list[Job]:
    """What a process acknowledged before it was killed: while it opened, soon after, or after a checkpoint."""
    chance = random.Random(seed)
    told: list[Job] = []
    after = chance.choices((0, int(chance.expovariate(1 / 300)), 6_000), weights=(10, 87, 3))[0]
    receive, send = CONTEXT.Pipe(duplex=False)
    child = CONTEXT.Process(target=load.main, args=(url, seed, send), daemon=True)
    child.start()
    send.close()
    shot = Timer(chance.uniform(0, 0.004 if after else 0.04), child.kill)
    if not after:
        shot.start()
    try:
        while True:
            message = receive.recv_bytes()
            if message != load.READY:
                told.append(DECODE(message))
            if len(told) == after and not shot.is_alive():
                shot.start()
    except EOFError:
        child.join()
    finally:
        child.kill()
        shot.join()
        receive.close()
    assert child.exitcode == -SIGKILL, "the load ended by itself"
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
async def test_what_was_acknowledged_before_each_of_200_kills_is_found_after_it(tmp_path: Path) -> None:
    path = tmp_path / "jobs.db"
    url = f"sqlite://{path}"
    ledger = Ledger()
    seen: set[JobState] = set()
    for seed in range(KILLS):
        told = killed_under_load(url, seed)
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
