"""Clients of a fleet: they submit jobs, wait for their ends, read them again, and write down what they see."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.crash.fleet_history import History, Read


class NotServed(AssertionError):
    """A client saw what it must not see."""


@dataclass(frozen=True, slots=True)
class Clients:
    """`count` clients of an endpoint.

    Args:
        address: where the next request goes.
        stubborn: whether they ask again after an answer that was cut off, or a 5xx or 429. Those that are not take
            each of these for a failure: they repeat only what was never sent, on a connection that was closed before.
        seconds: how long the job of a number runs.
    """

    count: int
    endpoint: str
    address: Callable[[], str]
    stubborn: bool
    seconds: Callable[[int], float]
    sync: Callable[[int], bool] = lambda number: False
    """Which of them go by `runsync`; what it leaves is not kept for long, and not looked at in the end."""

    async def run(self, numbers: Iterator[int], finished: Callable[[], None] = lambda: None) -> History:
        """One job for each number, several at once; `finished` is called after each of them."""
        history = History()

        async def client(session: aiohttp.ClientSession) -> None:
            for number in numbers:
                await self._one_job(session, history, number)
                finished()

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
            async with asyncio.TaskGroup() as group:
                for _ in range(self.count):
                    group.create_task(client(session))
            for job, number in history.submitted.items():
                if not self.sync(number):
                    await self._read(session, history, job)
        return history

    async def _one_job(self, session: aiohttp.ClientSession, history: History, number: int) -> None:
        document = {"input": {"number": number, "seconds": self.seconds(number)}}
        how = "runsync" if self.sync(number) else "run"
        submitted = await self._call(session, how, {"Idempotency-Key": f"job-{number}"}, document)
        job: str = submitted["id"]
        history.submitted[job] = number
        while await self._read(session, history, job, "status-sync", "?wait=30000") != "COMPLETED":
            continue
        await self._read(session, history, job)

    async def _read(
        self, session: aiohttp.ClientSession, history: History, job: str, how: str = "status", query: str = ""
    ) -> str:
        answer = await self._call(session, f"{how}/{job}{query}", {})
        read = Read(job, answer["status"], answer.get("workerId", ""), answer.get("output"))
        if read.status not in ("IN_QUEUE", "IN_PROGRESS"):
            history.reads.append(read)
        return read.status

    async def _call(
        self, session: aiohttp.ClientSession, path: str, headers: dict[str, str], document: Any = None
    ) -> Any:
        """The answer. By POST, which this HTTP client never repeats by itself."""
        while True:
            url = f"{self.address()}/v2/{self.endpoint}/{path}"
            try:
                async with session.post(url, json=document, headers=headers) as response:
                    if response.status == 200:
                        return await response.json()
                    again = response.status >= 500 or response.status == 429
                    if not (again and self.stubborn):
                        raise NotServed(f"{path}: {response.status} {await response.text()}")
            except aiohttp.ClientConnectorError as error:
                raise NotServed(f"a connection was refused: {error}") from error
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                if not self.stubborn:
                    raise NotServed(f"{path}: {type(error).__name__} {error}") from error
