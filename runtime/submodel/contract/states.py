"""Names that clients and workers see on the wire: job states and worker phases."""

from enum import Enum


class _Word(str, Enum):
    """A text among a few. (The standard library's own is younger than the oldest Python that handlers run on.)"""

    def __str__(self) -> str:
        return str.__str__(self)

    def __format__(self, format_spec: str) -> str:
        return str.__format__(self, format_spec)


class JobState(_Word):
    """State of a job, spelled as on the hosted platforms."""

    IN_QUEUE = "IN_QUEUE"
    IN_PROGRESS = "IN_PROGRESS"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"
    TIMED_OUT = "TIMED_OUT"

    def __init__(self, text: str) -> None:
        self.terminal = text not in ("IN_QUEUE", "IN_PROGRESS")
        """Whether the state is final: a terminal job changes only by an explicit retry. Kept, for the engine asks a
        dozen times for each job."""


class WorkerPhase(_Word):
    """What a worker says of itself in each exchange."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    UNHEALTHY = "unhealthy"
