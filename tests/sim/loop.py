"""An event loop without a machine under it: time jumps to the next timer, and chance decides who goes first.

Everything that is ready at one instant runs in an order drawn from the seed, so that no test rests on the order in
which callbacks were registered. There are no sockets and no threads. Each callback belongs to the `Process` in whose
context it was scheduled: a killed process runs nothing more, a frozen one later.
"""

import asyncio
import heapq
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, TypeVar, TypeVarTuple, Unpack

_T = TypeVar("_T")
_Ts = TypeVarTuple("_Ts")

TURNS_AT_ONCE_MAX = 10_000
"""More turns than this without time passing mean that something runs in circles."""


class Stuck(Exception):
    """The simulation cannot go on: nothing is ever going to happen, or things happen for ever at one instant."""


class Process:
    """A process of the simulated machines, as far as the loop is concerned: it runs, stands still, or is dead."""

    def __init__(self, loop: "SimulatedLoop", name: str) -> None:
        self.name = name
        self.alive = True
        self.frozen = False
        self._loop = loop
        self._parked: list[_Callback] = []
        self._context = outside()
        self._context.run(_PROCESS.set, self)

    def spawn(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        """Run `work` in this process; all that it starts belongs to the process too."""
        return self._loop.create_task(work, context=self._context)

    def within(self, make: Callable[[], _T]) -> _T:
        """What `make` returns; what it schedules belongs to the process."""
        return self._context.copy().run(make)

    def kill(self) -> None:
        """SIGKILL: nothing of it runs again, not even what a `finally` would do."""
        self.alive = False
        self._parked.clear()

    def freeze(self) -> None:
        """SIGSTOP."""
        self.frozen = True

    def thaw(self) -> None:
        """SIGCONT: all that was due meanwhile happens now."""
        self.frozen = False
        self._loop.take_back(self._parked)
        self._parked = []

    def park(self, handle: "_Callback") -> None:
        """Keep a callback until `thaw`."""
        self._parked.append(handle)


_PROCESS: ContextVar[Process | None] = ContextVar("process", default=None)


def _owner(context: Context | None) -> Process | None:
    return _PROCESS.get() if context is None else context.get(_PROCESS)


class _Callback(asyncio.TimerHandle):
    """A handle that knows its process, without what a machine's loop needs besides."""

    __slots__ = ("arguments", "context", "function", "loop", "off", "owner", "when_seconds")

    def __init__(
        self,
        loop: "SimulatedLoop",
        when_seconds: float,
        function: Callable[..., object],
        arguments: tuple[Any, ...],
        context: Context | None,
    ) -> None:
        self.loop = loop
        self.when_seconds = when_seconds
        self.function = function
        self.arguments = arguments
        self.context = copy_context() if context is None else context
        self.owner = self.context.get(_PROCESS)
        self.off = False

    def cancel(self) -> None:
        self.off = True

    def cancelled(self) -> bool:
        return self.off

    def when(self) -> float:
        return self.when_seconds

    @property
    def goes(self) -> bool:
        """Whether it is still to be run."""
        return not self.off and (self.owner is None or self.owner.alive)

    def run(self) -> None:
        if not self.goes:
            return
        if self.owner is not None and self.owner.frozen:
            self.owner.park(self)
            return
        try:
            self.context.run(self.function, *self.arguments)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.loop.call_exception_handler({"message": "a callback failed", "exception": error})


class SimulatedLoop(asyncio.BaseEventLoop):
    """See the module. `seed` decides the order of what is ready at the same time."""

    def __init__(self, seed: object) -> None:
        super().__init__()
        self._random = Random(f"order/{seed}")
        self._now = 0.0
        self._numbers = 0
        self._turns = 0
        self._turn: list[_Callback] = []
        self._timers: list[tuple[float, int, _Callback]] = []
        self._tasks: list[tuple[Process | None, asyncio.Task[Any]]] = []
        self.unhandled: list[str] = []
        """Exceptions that nobody awaited, in living processes."""

        self.set_exception_handler(self._note_unhandled)

    def time(self) -> float:
        """Seconds since the simulation began."""
        return self._now

    @property
    def now_ms(self) -> int:
        """Milliseconds since the simulation began."""
        return round(self._now * 1000)

    def create_task(
        self,
        coro: Coroutine[Any, Any, _T] | Generator[Any, None, _T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> "asyncio.Task[_T]":
        task = asyncio.Task(coro, loop=self, name="", context=context)
        # Kept to the end: the garbage of a killed process must not run its `finally` blocks while others live.
        self._tasks.append((_owner(context), task))
        return task

    def background(self, work: Coroutine[Any, Any, object]) -> None:
        """Run `work` on its own, in no process: it is noted when it fails."""
        self.create_task(work, context=outside()).add_done_callback(self._background_done)

    def call_soon(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        handle = _Callback(self, self._now, callback, args, context)
        self._turn.append(handle)
        return handle

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[_Ts]], object], *args: *_Ts, context: Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        timer = _Callback(self, when, callback, args, context)
        self._numbers += 1
        heapq.heappush(self._timers, (when, self._numbers, timer))
        return timer

    def call_later(
        self,
        delay: float,
        callback: Callable[[Unpack[_Ts]], object],
        *args: *_Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def abandon(self) -> None:
        """The run is over: note the tasks that failed unheard, and forget what is still under way."""
        ended = [task for owner, task in self._tasks if task.done() and (owner is None or owner.alive)]
        rest = [task for owner, task in self._tasks if not task.done() or not (owner is None or owner.alive)]
        self._tasks.clear()
        ended.clear()
        self.set_exception_handler(lambda loop, context: None)
        for task in rest:
            work = task.get_coro()
            if not task.done() and work is not None:
                work.close()
        self._turn.clear()
        self._timers.clear()
        self.close()

    def take_back(self, handles: list[_Callback]) -> None:
        """Run parked callbacks in the next turn."""
        self._turn.extend(handles)

    def _run_once(self) -> None:
        self._advance()
        turn = [handle for handle in self._turn if handle.goes]
        self._turn = []
        if len(turn) > 1:
            self._random.shuffle(turn)
        for handle in turn:
            handle.run()

    def _advance(self) -> None:
        """Bring what is due into this turn; when nothing is, jump to the next timer."""
        timers, turn = self._timers, self._turn
        if turn:
            self._turns += 1
            if self._turns > TURNS_AT_ONCE_MAX:
                raise Stuck(f"{self._turns} turns at {self._now:.3f} s; the last one: {turn[:5]}")
        else:
            while timers and not timers[0][2].goes:
                heapq.heappop(timers)
            if not timers:
                raise Stuck(f"nothing is going to happen after {self._now:.3f} s")
            self._turns = 0
            self._now = max(self._now, timers[0][0])
        while timers and timers[0][0] <= self._now:
            turn.append(heapq.heappop(timers)[2])

    def _write_to_self(self) -> None:
        """There is no selector to wake."""

    def _background_done(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.unhandled.append(f"{type(error).__name__}: {error}")

    def _note_unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        owner = _PROCESS.get()
        if owner is None or owner.alive:
            self.unhandled.append(f"{context.get('message')}: {context.get('exception')!r}")


async def pause(seconds: float) -> None:
    """Let virtual time pass."""
    loop = asyncio.get_running_loop()
    over: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _resolve, over)
    try:
        await over
    finally:
        timer.cancel()


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)


def process_name() -> str:
    """That of the process whose code this is called in."""
    process = _PROCESS.get()
    return process.name if process is not None else ""


def outside() -> Context:
    """A context that belongs to no process: the network, the clients, whatever outlives a crash."""
    context = copy_context()
    context.run(_PROCESS.set, None)
    return context
