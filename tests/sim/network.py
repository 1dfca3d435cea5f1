"""Requests between callers and the gateway, with everything that happens to them on the way.

A request may be lost before it is executed, lose its answer after it was, be executed twice (a proxy repeats it), come
late, or wait for ever. The caller sees an answer, an error answer, or `Unreachable`, which says nothing about what
was executed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol, TypeVar

from submodel_gateway.errors import GatewayError
from submodel_gateway.service.gateway import Gateway
from submodel_gateway.service.waiting import Hangup
from tests.sim.faults import Mix
from tests.sim.loop import Process, SimulatedLoop, outside

READ_SECONDS = 0.002
"""How long the end of a connection lies there before it is read, in a gateway that runs."""

T = TypeVar("T")
Service = Callable[[Gateway, Hangup], Awaitable[T]]
"""What the gateway's HTTP layer does for one request."""


class Unreachable(Exception):
    """No answer: nobody knows whether the request was executed."""


class Host(Protocol):
    """Where a gateway runs; both are None while it is down."""

    gateway: Gateway | None
    process: Process | None


@dataclass(slots=True, eq=False)
class _Connection:
    """One request on its way. `caller` is None for clients, which never die."""

    service: Service[Any]
    reply: "asyncio.Future[Any]"
    caller: Process | None
    answer_lost: bool
    in_order: bool = False
    server: Process | None = None
    hangup: Hangup | None = None
    origin: "_Connection | None" = None
    """What it repeats."""

    host: Host | None = None


class Network:
    """The way to the gateways, with faults as `mix` says."""

    def __init__(
        self, loop: SimulatedLoop, hosts: Sequence[Host], mix: Mix, chance: Random, defect: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._hosts = hosts
        self._routes: dict[Process, Host] = {}
        """Where workers have their connections, while these last."""

        self._mix = mix
        self._chance = chance
        self._defect = defect
        self._open: dict[_Connection, None] = {}
        self._outside = outside()
        self.healed = False

    async def call(
        self,
        service: Service[T],
        timeout_seconds: float,
        caller: Process | None = None,
        reply: "asyncio.Future[T] | None" = None,
        *,
        in_order: bool = False,
    ) -> T:
        """The answer. Raises `GatewayError` as answered, or `Unreachable`; a `reply` made before may be cut short.

        A caller that asks one thing after the other on a connection of its own says `in_order`: nothing repeats its
        requests, and what it has given up is not executed after what it asked later.
        """
        answer: asyncio.Future[T] = self._loop.create_future() if reply is None else reply
        connection = _Connection(service, answer, caller, self._hits(self._mix.lose_answer), in_order)
        self._open[connection] = None
        if not self._hits(self._mix.lose_request):
            self._later(self._delay(), self._arrive, connection)
        if not in_order and self._hits(self._mix.double):
            self._repeat(connection)
        timer = self._loop.call_later(timeout_seconds, _fail, answer, "no answer in time")
        try:
            return await answer
        except Unreachable:
            if caller is not None:
                self._routes.pop(caller, None)
            raise
        finally:
            timer.cancel()
            self._close(connection, told=1.0)

    def break_server(self, process: Process) -> None:
        """The gateway's process is dead: its callers hear so, soon or by their own timeout."""
        for connection in [each for each in self._open if each.server is process]:
            if self._chance.random() < 0.9:
                self._later(self._delay(), _fail, connection.reply, "connection reset")

    def break_caller(self, process: Process) -> None:
        """A worker's process is dead; the gateway notices, unless the whole node went."""
        for connection in [each for each in self._open if each.caller is process]:
            self._close(connection, told=0.8)

    def _repeat(self, connection: _Connection) -> None:
        """Somebody on the way sends the request again and keeps the second answer to himself."""
        again: asyncio.Future[Any] = self._loop.create_future()
        twin = _Connection(connection.service, again, None, answer_lost=True, origin=connection)
        self._later(self._delay() + self._chance.choice((0.0, 0.01, 1.0, 8.0)), self._arrive, twin)

    def _arrive(self, connection: _Connection) -> None:
        host = self._host(connection)
        gateway, process = host.gateway, host.process
        if gateway is None or process is None:
            _fail(connection.reply, "connection refused")
            return
        connection.server = process
        connection.hangup = self._loop.create_future()
        if connection.reply.done():
            self._end_arrives(connection)
        process.spawn(self._serve(connection, gateway, connection.hangup))

    def _host(self, connection: _Connection) -> Host:
        """Where a request goes: of several gateways to one that is up, as a Service would lead it.

        Both times, when it is repeated, to the same one. Another gateway could not tell it from a new request.
        """
        if len(self._hosts) == 1:
            return self._hosts[0]
        first = connection.origin or connection
        caller = first.caller
        if first.host is None and caller is not None:
            first.host = self._routes.get(caller)
        if first.host is not None and first.host.gateway is not None:
            return first.host
        chosen = self._chance.choice([host for host in self._hosts if host.gateway is not None] or self._hosts)
        first.host = chosen
        if caller is not None:
            self._routes[caller] = chosen
        return chosen

    async def _serve(self, connection: _Connection, gateway: Gateway, hangup: Hangup) -> None:
        if connection.in_order and connection.reply.done():
            return
        try:
            answer = await connection.service(gateway, hangup)
        except GatewayError as error:
            self._later(self._delay(), self._answer, connection, None, error)
        except Exception as error:
            self._defect(f"the gateway raised {type(error).__name__}: {error}")
            self._later(self._delay(), _fail, connection.reply, "500")
        else:
            self._later(self._delay(), self._answer, connection, answer, None)

    def _answer(self, connection: _Connection, answer: Any, error: GatewayError | None) -> None:
        reply = connection.reply
        if reply.done():
            return
        if connection.answer_lost:
            self._later(self._chance.uniform(0, 2), _fail, reply, "connection reset before the answer")
        elif error is not None:
            _raise(reply, error)
        else:
            reply.set_result(answer)

    def _close(self, connection: _Connection, told: float) -> None:
        """The caller's end is closed; the other end learns of it a little later, with a probability of `told`."""
        self._open.pop(connection, None)
        hangup = connection.hangup
        if hangup is not None and not hangup.done() and self._chance.random() < told:
            self._later(self._delay(), self._end_arrives, connection)

    def _end_arrives(self, connection: _Connection) -> None:
        """The end lies in the gateway's socket, which a gateway that stands still reads later, and after the requests
        that came before."""
        server, hangup = connection.server, connection.hangup
        if server is not None and hangup is not None:
            server.within(lambda: self._loop.call_soon(self._loop.call_later, READ_SECONDS, _hang_up, hangup))

    def _hits(self, probability: float) -> bool:
        return not self.healed and self._chance.random() < probability

    def _delay(self) -> float:
        if self._hits(self._mix.slow_message):
            return self._chance.uniform(0.1, 6)
        return self._chance.uniform(0.000_5, 0.005)

    def _later(self, delay: float, callback: Callable[..., object], *arguments: object) -> None:
        self._loop.call_later(delay, callback, *arguments, context=self._outside)


def _fail(reply: "asyncio.Future[Any]", why: str) -> None:
    if not reply.done():
        _raise(reply, Unreachable(why))


def _raise(reply: "asyncio.Future[Any]", error: Exception) -> None:
    reply.set_exception(error)
    reply.exception()  # a caller that is dead need not hear of it


def _hang_up(hangup: Hangup) -> None:
    if not hangup.done():
        hangup.set_result(None)
