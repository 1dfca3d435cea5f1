"""A worker: the runtime's own session, with tasks in place of its protocol threads, and handlers made of time.

`submodel.serverless.exchange` drives the same session with three threads and sockets; what `Worker` does here is what
those threads do. A handler does what the job's input says.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import msgspec

from submodel.contract import wire
from submodel.contract.exchange import ExchangeAnswer, ExchangeRequest, LeasedJob
from submodel.serverless.backoff import backoff_seconds
from submodel.serverless.dialect import Flow
from submodel.serverless.link import ANSWER_MARGIN_SECONDS
from submodel.serverless.outcome import Outcome
from submodel.serverless.session import Flight, Session
from submodel_gateway.errors import GatewayError
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.waiting import Hangup
from tests.sim.history import Acknowledged, Begun, Frozen, History, WorkerDown, WorkerUp
from tests.sim.loop import Process, SimulatedLoop, pause
from tests.sim.network import Network, Unreachable

ENDPOINT = "ns.app"
WORKER_TOKEN = "worker-token"


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """A job's input: what its handler does. `ends` is `ok`, `error` or `oom`, which takes the worker down."""

    number: int
    seconds: float
    chunks: int = 0
    ends: str = "ok"


_SCRIPT = msgspec.json.Decoder(Script)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker runs in."""

    loop: SimulatedLoop
    network: Network
    history: History
    chance: Random
    on_exit: Callable[["Worker", str], None]
    """Told when the process ends by itself, with how."""


class Worker:
    """One process of a worker, from its start to its end."""

    def __init__(self, around: Surroundings, name: str, concurrency: int) -> None:
        self._around = around
        self._loop = around.loop
        self.name = name
        self.session = f"{name}/{around.chance.getrandbits(32):08x}"
        self.process = Process(around.loop, self.session)
        self._session = Session(self.session, concurrency)
        self._news: asyncio.Future[None] | None = None
        self._replies: dict[int, asyncio.Future[bytes]] = {}
        self._handlers: dict[str, asyncio.Task[None]] = {}
        self._failures = 0
        self._leaving = False

    @property
    def alive(self) -> bool:
        return self.process.alive

    def start(self) -> None:
        """Begin to talk at once, and to take jobs a little later."""
        self._around.history.add(WorkerUp(at=self._loop.now_ms, worker=self.name, session=self.session))
        self.process.spawn(self._converse())
        self.process.spawn(self._get_ready(self._around.chance.uniform(0.1, 3)))

    def kill(self, how: str, *, idle: bool = False, told_at: int = 0) -> None:
        """SIGKILL, by the kernel or the node."""
        if self.alive:
            self.process.kill()
            self._around.history.add(
                WorkerDown(
                    at=self._loop.now_ms, worker=self.name, session=self.session, how=how, idle=idle, told_at=told_at
                )
            )
            self._around.network.break_caller(self.process)

    async def freeze(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after a while."""
        until = self._loop.now_ms + round(seconds * 1000)
        self._around.history.add(Frozen(at=self._loop.now_ms, who=self.session, until=until))
        self.process.freeze()
        await pause(seconds)
        self.process.thaw()

    def leave(self, grace_seconds: float) -> None:
        """SIGTERM: finish what runs, give back what has not begun; after the grace give back what still runs."""
        if self.alive and not self._leaving:
            self._leaving = True
            self.process.spawn(self._leave(grace_seconds))

    # What the protocol threads do:

    async def _get_ready(self, seconds: float) -> None:
        await pause(seconds)
        self._session.ready()
        self._tell()

    async def _converse(self) -> None:
        """Send whatever the session wants to say; it has at most one request of each kind under way."""
        while True:
            step = self._session.next_request(self._loop.time())
            if isinstance(step, Flight):
                self.process.spawn(self._carry(step))
                continue
            self._news = self._loop.create_future()
            timer = self._loop.call_at(step, self._tell) if step < float("inf") else None
            await self._news
            self._news = None
            if timer is not None:
                timer.cancel()

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _carry(self, flight: Flight) -> None:
        answer = await self._deliver(flight)
        if answer is None:
            self._session.dropped(flight)
        else:
            self._failures = 0
            self._read(flight, answer)
        self._check_settled()
        self._tell()

    async def _deliver(self, flight: Flight) -> ExchangeAnswer | None:
        """The answer, or None when the request was given up."""
        number = flight.request.request
        while True:
            reply = self._replies[number] = self._loop.create_future()
            try:
                return wire.decode(await self._post(flight.request, reply), ExchangeAnswer)
            except (Unreachable, GatewayError) as error:
                flight.request.repeated = True
                if isinstance(error, Unreachable) and error.args == ("cut",):
                    continue
                self._failures += 1
                await pause(backoff_seconds(self._failures, self._around.chance.random()))
                if not flight.must_be_answered:
                    return None
            finally:
                self._replies.pop(number, None)

    async def _post(self, request: ExchangeRequest, reply: "asyncio.Future[bytes]") -> bytes:
        body = wire.encode(request)

        async def exchange(gateway: Gateway, hangup: Hangup) -> bytes:
            message = wire.decode(body, ExchangeRequest)
            return await gateway.workers.exchange(ENDPOINT, self.name, WORKER_TOKEN, message, hangup)

        seconds = request.wait_ms / 1000 + ANSWER_MARGIN_SECONDS
        return await self._around.network.call(exchange, seconds, self.process, reply)

    def _read(self, flight: Flight, answer: ExchangeAnswer) -> None:
        refused = {item.token for item in answer.refused}
        for result in flight.request.results:
            if result.token not in refused:
                self._around.history.add(
                    Acknowledged(at=self._loop.now_ms, session=self.session, job=result.id, token=result.token)
                )
        news = self._session.answered(flight, answer, self._loop.time())
        for job in news.jobs:
            self._handlers[job.token] = self.process.spawn(self._run(job))
        for token in news.stops:
            if token in self._handlers:
                self._handlers[token].cancel()

    def _check_settled(self) -> None:
        if self._leaving and self._session.settled and self.alive:
            self._exit("left")

    def _exit(self, how: str) -> None:
        self.kill(how)
        self._around.on_exit(self, how)

    async def _leave(self, grace_seconds: float) -> None:
        for flight in self._session.leave():
            reply = self._replies.get(flight.request.request)
            if reply is not None and not reply.done():
                reply.set_exception(Unreachable("cut"))
        self._tell()
        await pause(grace_seconds)
        self._session.give_up()
        self._tell()
        await pause(10)
        self._exit("left by force")

    # The handler:

    async def _run(self, job: LeasedJob) -> None:
        try:
            if self._session.begin(job.token):
                began = self._loop.now_ms
                self._around.history.add(Begun(at=began, session=self.session, job=job.id, token=job.token))
                outcome = await self._handle(job)
                self._session.finish(job.token, outcome, self._loop.now_ms - began)
                self._check_settled()
                self._tell()
        finally:
            self._handlers.pop(job.token, None)

    async def _handle(self, job: LeasedJob) -> Outcome:
        script = _SCRIPT.decode(job.input)
        try:
            for index in range(script.chunks):
                await pause(script.seconds / (script.chunks + 1))
                if self._session.add_chunk(job.token, item(job.token, index + 1))[0] is Flow.END:
                    return Outcome(error="the job was stopped")
                self._session.set_progress(job.id, b"%d" % index)
                self._tell()
            await pause(script.seconds / (script.chunks + 1))
        except asyncio.CancelledError:
            return Outcome(error="stopped")
        if script.ends == "oom":
            self._exit("out of memory")
            await self._loop.create_future()
        return Outcome(error=f"failed by {job.token}") if script.ends == "error" else Outcome(output(job.token))


def item(token: str, seq: int) -> bytes:
    """What the handler streams as its item number `seq`, from 1."""
    return f'"{token}#{seq}"'.encode()


def output(token: str) -> bytes:
    """What a successful execution returns."""
    return f'"{token}"'.encode()
