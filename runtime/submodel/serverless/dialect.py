"""What the sessions of all dialects have in common. Pure; used by `conversation`."""

import enum
import math
from dataclasses import dataclass
from typing import Protocol

from submodel.contract.exchange import LeasedJob, Startup
from submodel.serverless.outcome import Outcome


class Flow(enum.Enum):
    """How a generator goes on after an item."""

    ON = enum.auto()
    WAIT = enum.auto()
    """Not before there is room for more."""

    END = enum.auto()
    """Nobody wants more of this job."""


@dataclass(frozen=True, slots=True)
class News:
    """What an answer means for the executor."""

    jobs: list[LeasedJob]
    stops: list[str]
    """Tokens of begun leases whose handlers shall end."""


class Concurrency:
    """How many jobs a session takes at once: as many as are wished, below a limit."""

    def __init__(self, wished: int) -> None:
        self._wished = wished
        self._limit: float = math.inf

    def limit(self, concurrency: int) -> bool:
        """Take at most this many jobs at once from now on, whatever is wished; says whether that is a change."""
        changed = concurrency < self.concurrency
        self._limit = min(self._limit, concurrency)
        return changed

    def set_concurrency(self, concurrency: int) -> None:
        """Jobs at once from now on; those that run go on."""
        self._wished = concurrency

    @property
    def concurrency(self) -> int:
        """Jobs that may run at once now."""
        return int(min(self._wished, self._limit))


class SessionFacts(Protocol):
    """What every dialect's session knows."""

    def ready(self) -> None:
        """From now on jobs may come."""

    def set_startup(self, startup: Startup) -> None:
        """What the start of this worker was made of."""

    def fail(self, reason: str) -> None:
        """The worker cannot serve; `reason` is for people."""

    def limit(self, concurrency: int) -> bool:
        """Take at most this many jobs at once from now on, whatever is wished; says whether that is a change."""

    def set_concurrency(self, concurrency: int) -> None:
        """Jobs at once from now on; those that run go on."""

    def begin(self, token: str) -> bool:
        """The handler is about to be called; False when the job is no longer wanted."""

    def add_chunk(self, token: str, chunk: bytes) -> tuple[Flow, bool]:
        """Stream a chunk. Gives how the generator goes on, and whether the next request may be due earlier now."""

    def set_progress(self, job_id: str, value: bytes) -> None:
        """Publish the progress of a running job; the newest wins."""

    def finish(self, token: str, outcome: Outcome, execution_ms: int) -> None:
        """The handler returned. The outcome of a job that is no longer wanted is dropped."""

    def give_up(self) -> list[str]:
        """Give back what still runs; returns the tokens of those jobs."""

    @property
    def settled(self) -> bool:
        """Whether a worker that leaves has nothing left to do or to say, or one that failed has said so."""

    @property
    def congested(self) -> bool:
        """Whether generators should pause until the gateway has taken more."""
