"""When a serving process is started, told to leave or given up: facts and the time in, actions out.

A process that ends is followed by another, at once the first time and later and later when they keep ending. Code 2
says that it cannot start with these settings: it is final for a gateway that never served, and for one that has not
served for long. An upgrade starts the next process beside the present one, which leaves when the next one serves; where
the store admits one process, the present one leaves first.
"""

from dataclasses import dataclass, field
from enum import Enum
from signal import SIGTERM

CANNOT_START = 2
STEADY_SECONDS = 10.0
"""A process that served for so long counts as a success."""

PAUSE_SECONDS = 0.1
PAUSE_SECONDS_MAX = 10.0
GIVE_UP_SECONDS = 120.0
"""How long a gateway that served before may fail to start: as long as a delivery is held for a store that is away."""

LEAVE_SECONDS = 60.0
"""A process that was told to make place and is still there is killed."""


class Deed(Enum):
    """What there is to do."""

    START = "start another process"
    LEAVE = "tell it to leave now"
    END = "tell it to end, as the parent was told"
    KILL = "kill it"
    SAY = "say why, and nothing else"
    EXIT = "end the parent"


@dataclass(frozen=True, slots=True)
class Action:
    """A deed; `pid` names the process for those that need one, `code` is for `EXIT`. `why` is for the log."""

    deed: Deed
    pid: int = 0
    code: int = 0
    why: str = ""


@dataclass(slots=True)
class Child:
    """A serving process."""

    began_at: float
    ready_at: float | None = None
    alone: bool = False
    leaves_at: float | None = None
    """When it was told to leave."""


@dataclass(slots=True)
class Supervision:
    """The processes and what is planned. Instants are seconds of any steady clock."""

    children: dict[int, Child] = field(default_factory=dict)
    start_at: float | None = 0.0
    """When another process is due; None while one is there or on its way."""

    failures: int = 0
    served_at: float | None = None
    """When a process was last seen to serve."""

    stopping: bool = False

    def tick(self, now: float) -> list[Action]:
        """What is due."""
        if self.start_at is not None and now >= self.start_at:
            self.start_at = None
            return [Action(Deed.START)]
        overdue = {} if self.stopping else self._overdue(now)
        for child in overdue.values():
            child.leaves_at = now
        why = f"a process did not leave within {LEAVE_SECONDS:g} s; it is killed"
        return [Action(Deed.KILL, pid, why=why) for pid in overdue]

    def next_at(self) -> float | None:
        """When `tick` has something to do, None when only an event can bring it."""
        times = [self.start_at] if self.start_at is not None else []
        if not self.stopping:
            told = (child.leaves_at for child in self.children.values())
            times += [leaves_at + LEAVE_SECONDS for leaves_at in told if leaves_at is not None]
        return min(times, default=None)

    def started(self, pid: int, now: float) -> None:
        """A process was started as asked."""
        self.children[pid] = Child(now)

    def not_started(self, now: float) -> None:
        """No process could be started, for want of memory perhaps."""
        self.start_at = now + PAUSE_SECONDS_MAX

    def ready(self, pid: int, now: float, *, alone: bool) -> list[Action]:
        """A process serves; those before it are not needed any more."""
        child = self.children.get(pid)
        if child is None or child.ready_at is not None:
            return []
        child.ready_at, child.alone = now, alone
        self.served_at = now
        return [action for other in self.children if other != pid for action in self._leave(other, now)]

    def upgrade(self, now: float) -> list[Action]:
        """A fresh process shall take over."""
        if self.stopping:
            return []
        serving = [pid for pid, each in self.children.items() if each.ready_at is not None and each.leaves_at is None]
        if self.start_at is not None:
            self.start_at = now
        elif len(serving) == len(self.children) == 1:
            if self.children[serving[0]].alone:
                return self._leave(serving[0], now)
            self.start_at = now
        return []

    def stop(self) -> list[Action]:
        """The parent was told to end."""
        self.stopping, self.start_at = True, None
        if not self.children:
            return [Action(Deed.EXIT)]
        return [Action(Deed.END, pid) for pid in self.children]

    def ended(self, pid: int, code: int, now: float) -> list[Action]:
        """A child ended, with a code or below zero with a signal. Unknown ones are nobody's loss."""
        child = self.children.pop(pid, None)
        if child is None:
            return []
        if self.stopping:
            return [] if self.children else [Action(Deed.EXIT, code=_exit_code(code))]
        if child.ready_at is not None:
            self.served_at = now
        told = child.leaves_at is not None
        if told or (child.ready_at is not None and now - child.ready_at >= STEADY_SECONDS):
            self.failures = 0
        if any(other.leaves_at is None for other in self.children.values()) or self.start_at is not None:
            return [] if told else [Action(Deed.SAY, why=f"a process {_end(code)}; another one is there")]
        if code == CANNOT_START and not told and self._hopeless(now):
            return [Action(Deed.EXIT, code=CANNOT_START)]
        if told:
            self.start_at = now
            return []
        pause = self._pause()
        self.start_at = now + pause
        return [Action(Deed.SAY, why=f"the serving process {_end(code)}; the next one starts in {pause:g} s")]

    def _overdue(self, now: float) -> dict[int, Child]:
        told = {pid: child for pid, child in self.children.items() if child.leaves_at is not None}
        return {pid: child for pid, child in told.items() if now >= (child.leaves_at or 0.0) + LEAVE_SECONDS}

    def _leave(self, pid: int, now: float) -> list[Action]:
        child = self.children[pid]
        if child.leaves_at is not None:
            return []
        child.leaves_at = now
        return [Action(Deed.LEAVE, pid)]

    def _hopeless(self, now: float) -> bool:
        return self.served_at is None or now - self.served_at > GIVE_UP_SECONDS

    def _pause(self) -> float:
        growth = 2.0 ** min(self.failures - 1, 10)
        pause = min(PAUSE_SECONDS * growth, PAUSE_SECONDS_MAX) if self.failures else 0.0
        self.failures += 1
        return pause


def _exit_code(code: int) -> int:
    """As a shell gives it: a signal has 128 added. A process too young to listen to SIGTERM is ended by it: fine."""
    if code == -SIGTERM:
        return 0
    return code if code >= 0 else 128 - code


def _end(code: int) -> str:
    return f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
