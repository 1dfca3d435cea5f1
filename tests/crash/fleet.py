"""Two gateways on one PostgreSQL, twenty worker processes, and clients that write down what they see."""

import os
import random
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import msgspec

from submodel.contract.internal import EndpointSnapshot
from tests.crash.fleet_clients import Clients
from tests.crash.fleet_history import History
from tests.crash.fleet_workers import WorkerProcesses
from tests.support.balancer import Balancer
from tests.support.gateway_world import registration
from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway
from tests.support.operator_ear import following

ENDPOINT = "crash.fleet"
GATEWAYS = 2
WORKERS = 20
CLIENTS = 32
ATTEMPTS = 100
ATTEMPTS_OF = "SELECT id, attempt, result_attempt FROM submodel.job WHERE state = 'COMPLETED'"


def register(gateway: LiveGateway) -> None:
    """What the operator says of the endpoint."""
    with Http(gateway.internal, INTERNAL_TOKEN) as operator:
        told = msgspec.to_builtins(registration(ENDPOINT, max_attempts=ATTEMPTS))
        operator.ok("PUT", f"/internal/v1/endpoints/{ENDPOINT}", told)


class Fleet:
    """Use as a context manager. Serving processes and workers may be killed at any time; others follow them."""

    def __init__(self, folder: Path, store: str, seed: int) -> None:
        self._chance = random.Random(seed)
        self._exit = ExitStack()
        self._workers = WorkerProcesses(folder, ENDPOINT)
        self._exit.callback(self._workers.kill_all)
        self.gateways = [LiveGateway(folder, SUBMODEL_GATEWAY_STORE=store) for _ in range(GATEWAYS)]
        for gateway in self.gateways:
            self._exit.enter_context(gateway)

    def __enter__(self) -> Self:
        register(self.gateways[0])
        for number in range(WORKERS):
            self._start_worker(f"w-{number}")
        return self

    def __exit__(self, *exc: object) -> None:
        self._exit.close()

    def kill_a_gateway(self) -> None:
        """SIGKILL to the process that serves at one of them; its parent starts the next one."""
        os.kill(self._chance.choice(self.gateways).serving_pid(), signal.SIGKILL)

    def kill_a_worker(self) -> None:
        """SIGKILL, and its container is started again."""
        name = self._chance.choice(self._workers.names)
        self._workers.kill(name)
        self._start_worker(name)

    async def run(self, jobs: int, kills: int) -> History:
        """Submit, wait and read again, killing one gateway and one worker after each share of the results.

        Returns when the operator has heard of the end of all, too.
        """
        done = 0

        def finished() -> None:
            nonlocal done
            done += 1
            if done % max(1, jobs // (kills + 1)) == 0 and done < jobs:
                self.kill_a_gateway()
                self.kill_a_worker()

        clients = Clients(
            CLIENTS,
            ENDPOINT,
            lambda: self._chance.choice(self.gateways).public,
            stubborn=True,
            seconds=lambda number: 0,
        )
        with Balancer(self.gateways, internal=True) as service:
            async with following(service.url, ENDPOINT) as ear:
                history = await clients.run(iter(range(jobs)), finished)
                await ear.until(lambda heard: _all_done(heard.snapshot, jobs))
        history.executions = self._workers.executions()
        return history

    def _start_worker(self, name: str) -> None:
        self._workers.start(name, self.gateways[int(name.removeprefix("w-")) % GATEWAYS].public)


def _all_done(snapshot: EndpointSnapshot, jobs: int) -> bool:
    return (snapshot.queued, snapshot.in_progress, snapshot.completed_total) == (0, 0, jobs)
