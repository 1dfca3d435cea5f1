"""Two gateways on one PostgreSQL, twenty worker processes, and clients that write down what they see."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec

from tests.crash.fleet_history import Execution, History, Read
from tests.support.gateway_world import registration
from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway

ENDPOINT = "crash.fleet"
TOKEN = "worker-token"
GATEWAYS = 2
WORKERS = 20
CLIENTS = 32
ATTEMPTS = 100

HANDLER = """
import os
import uuid

import submodel

log = os.open(os.environ["EXECUTIONS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
worker = os.environ["SUBMODEL_WORKER_ID"]


def handler(job):
    execution = uuid.uuid4().hex
    os.write(log, f"{job['id']} {execution} {worker}\\n".encode())
    return {"number": job["input"]["number"], "execution": execution}


submodel.serverless.start({"handler": handler})
"""


class Fleet:
    """Use as a context manager. Serving processes and workers may be killed at any time; others follow them."""

    def __init__(self, folder: Path, store: str, seed: int) -> None:
        self._folder = folder
        self._chance = random.Random(seed)
        self._exit = ExitStack()
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._log = folder / "executions"
        self._history = History()
        self.gateways = [LiveGateway(folder, SUBMODEL_GATEWAY_STORE=store) for _ in range(GATEWAYS)]
        for gateway in self.gateways:
            self._exit.enter_context(gateway)

    def __enter__(self) -> Self:
        (self._folder / "handler.py").write_text(HANDLER, encoding="utf-8")
        told = msgspec.to_builtins(registration(ENDPOINT, max_attempts=ATTEMPTS))
        with Http(self.gateways[0].internal, INTERNAL_TOKEN) as operator:
            operator.ok("PUT", f"/internal/v1/endpoints/{ENDPOINT}", told)
        for number in range(WORKERS):
            self._start_worker(f"w-{number}")
        return self

    def __exit__(self, *exc: object) -> None:
        for process in self._workers.values():
            process.kill()
            process.wait()
        self._exit.close()

    def kill_a_gateway(self) -> None:
        """SIGKILL to the process that serves at one of them; its parent starts the next one."""
        os.kill(self._chance.choice(self.gateways).serving_pid(), signal.SIGKILL)

    def kill_a_worker(self) -> None:
        """SIGKILL, and its container is started again."""
        name = self._chance.choice(sorted(self._workers))
        self._workers[name].kill()
        self._workers[name].wait()
        self._start_worker(name)

    async def run(self, jobs: int, kills: int) -> History:
        """Submit, wait and read again, killing one gateway and one worker after each share of the results."""
        numbers = iter(range(jobs))
        done = 0

        async def client(session: aiohttp.ClientSession) -> None:
            nonlocal done
            for number in numbers:
                await self._one_job(session, number)
                done += 1
                if done % max(1, jobs // (kills + 1)) == 0 and done < jobs:
                    self.kill_a_gateway()
                    self.kill_a_worker()

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            await asyncio.gather(*(client(session) for _ in range(CLIENTS)))
            for job in self._history.submitted:
                await self._read(session, job)
        for line in self._log.read_text(encoding="utf-8").splitlines():
            self._history.executions.append(Execution(*line.split()))
        return self._history

    async def _one_job(self, session: aiohttp.ClientSession, number: int) -> None:
        key = {"Idempotency-Key": f"job-{number}"}
        submitted = await self._call(session, "POST", "run", key, {"input": {"number": number}})
        job: str = submitted["id"]
        self._history.submitted[job] = number
        while await self._read(session, job, "status-sync", "?wait=30000") != "COMPLETED":
            continue
        await self._read(session, job)

    async def _read(self, session: aiohttp.ClientSession, job: str, how: str = "status", query: str = "") -> str:
        answer = await self._call(session, "GET", f"{how}/{job}{query}", {})
        read = Read(job, answer["status"], answer.get("workerId", ""), answer.get("output"))
        if read.status not in ("IN_QUEUE", "IN_PROGRESS"):
            self._history.reads.append(read)
        return read.status

    async def _call(
        self, session: aiohttp.ClientSession, method: str, path: str, headers: dict[str, str], document: Any = None
    ) -> Any:
        """The answer of one of the gateways; what a kill interrupts is asked again, of any of them."""
        while True:
            url = f"{self._chance.choice(self.gateways).public}/v2/{ENDPOINT}/{path}"
            try:
                async with session.request(method, url, json=document, headers=headers) as response:
                    if response.status == 200:
                        return await response.json()
                    if response.status < 500 and response.status != 429:
                        raise AssertionError(f"{method} {path}: {response.status} {await response.text()}")
            except aiohttp.ClientConnectorError as error:
                raise AssertionError(f"a connection was refused: {error}") from error
            except (aiohttp.ClientError, TimeoutError, ConnectionError):
                continue

    def _start_worker(self, name: str) -> None:
        gateway = self.gateways[int(name.removeprefix("w-")) % GATEWAYS]
        environ = {
            "SUBMODEL_GATEWAY_URL": gateway.public,
            "SUBMODEL_ENDPOINT_ID": ENDPOINT,
            "SUBMODEL_WORKER_ID": name,
            "SUBMODEL_WORKER_TOKEN": TOKEN,
            "EXECUTIONS": str(self._log),
        }
        command = [sys.executable, "-m", "submodel.serverless", str(self._folder / "handler.py")]
        with (self._folder / f"{name}.log").open("ab") as log:
            self._workers[name] = subprocess.Popen(
                command, env=environ, cwd=self._folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
