"""Gateways are replaced one after another under load, as a Deployment or StatefulSet does: nobody notices."""

import asyncio
import fcntl
import itertools
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.crash.fleet import ATTEMPTS_OF, ENDPOINT, register
from tests.crash.fleet_clients import Clients
from tests.crash.fleet_history import History, executed_again, stale, violations
from tests.crash.fleet_workers import WorkerProcesses
from tests.support.balancer import Balancer
from tests.support.live_gateway import Http, LiveGateway
from tests.support.postgres import PostgresServer

GATEWAYS = 2
WORKERS = 6
CLIENTS = 12
HELD = 3
"""Jobs that run from before a gateway goes until after it is gone."""

BETWEEN = 40
"""Jobs that end before the first gateway goes, and between two of them."""


class Rollout:
    """Two gateways behind one address, workers of both dialects, and what replaces the gateways."""

    def __init__(self, folder: Path, store: str, exit: ExitStack) -> None:
        self._folder = folder
        self._store = store
        self._exit = exit
        self.members = [self._gateway() for _ in range(GATEWAYS)]
        for member in self.members:
            register(member)
        self.balancer = exit.enter_context(Balancer(self.members))
        self._finished = 0
        self._enough = asyncio.Event()
        self._goal = BETWEEN
        self.codes: list[int] = []
        self.held: list[str] = []
        """The jobs that ran all the time while a gateway went."""

    def finished(self) -> None:
        """A job ended."""
        self._finished += 1
        if self._finished >= self._goal:
            self._enough.set()

    async def replace_all(self) -> None:
        """One after another, each under load."""
        for place in range(GATEWAYS):
            await self._more()
            await asyncio.to_thread(self._replace, place)
        await self._more()

    async def _more(self) -> None:
        self._goal = self._finished + BETWEEN
        self._enough.clear()
        await self._enough.wait()

    def _replace(self, place: int) -> None:
        leaving, other = self.members[place], self.members[1 - place]
        with _gate(self._folder / f"gate-{place}") as gate, Http(other.public) as client:
            document = {"input": {"number": -1, "seconds": 0, "gate": str(gate)}}
            held = {client.ok("POST", f"/v2/{ENDPOINT}/run", document)["id"] for _ in range(HELD)}
            while not held <= _running(other):
                continue
            leaving.process.send_signal(signal.SIGTERM)
            leaving.wait_for("not ready any more")
            self.codes.append(leaving.wait())
            self.held += held & _running(other)
        self.members[place] = self._gateway()

    def _gateway(self) -> LiveGateway:
        return self._exit.enter_context(
            LiveGateway(self._folder, SUBMODEL_GATEWAY_STORE=self._store, SUBMODEL_GATEWAY_LINGER_SECONDS="2")
        )


@contextmanager
def _gate(path: Path) -> Iterator[Path]:
    """A file that jobs wait at until the end."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield path


def _outcome(gateway: LiveGateway, job: str) -> str:
    with Http(gateway.public) as client:
        status: str = client.ok("GET", f"/v2/{ENDPOINT}/status-sync/{job}?wait=30000")["status"]
        return status


def _running(gateway: LiveGateway) -> set[str]:
    with Http(gateway.public) as client:
        page = client.ok("GET", f"/v2/{ENDPOINT}/requests?status=IN_PROGRESS&limit=100")
        return {job["id"] for job in page["requests"]}


async def _under_load(rollout: Rollout, workers: WorkerProcesses) -> History:
    replacing = asyncio.create_task(rollout.replace_all())

    def numbers() -> Iterator[int]:
        return itertools.takewhile(lambda number: not replacing.done(), itertools.count())

    clients = Clients(
        CLIENTS,
        ENDPOINT,
        lambda: rollout.balancer.url,
        stubborn=False,
        seconds=lambda number: 0.5 if number % 8 == 0 else 0.02,
        sync=lambda number: number % 3 == 0,
    )
    try:
        history = await clients.run(numbers(), rollout.finished)
    finally:
        replacing.cancel()
    await replacing
    history.executions = workers.executions()
    return history


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_a_rolling_restart_loses_nothing_repeats_nothing_and_refuses_nobody(tmp_path: Path) -> None:
    with PostgresServer() as server, ExitStack() as exit:
        url = server.url()
        rollout = Rollout(tmp_path, url, exit)
        workers = WorkerProcesses(tmp_path, ENDPOINT)
        exit.callback(workers.kill_all)
        for number in range(WORKERS):
            workers.start(f"w-{number}", rollout.balancer.url, hosted=number % 2 == 0)
        history = await _under_load(rollout, workers)
        outcomes = [_outcome(rollout.members[0], job) for job in rollout.held]
        rows = msgspec.convert(server.execute(ATTEMPTS_OF, urlsplit(url).path[1:]), list[tuple[str, int, int | None]])
    assert violations(history) == stale(rows) == []
    assert executed_again(history) == 0
    assert rollout.codes == [0] * GATEWAYS
    assert outcomes == ["COMPLETED"] * HELD * GATEWAYS
