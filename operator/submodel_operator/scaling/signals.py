"""What the scaling decision reads. Ages instead of instants, so that no two clocks ever meet here.

Structs of msgspec, as all that a decision makes: a frozen dataclass takes ten times as long to build, which came to a
third of a decision under QUEUE_DELAY.
"""

from enum import StrEnum

import msgspec

from submodel_operator.resolve import ResolvedScaling


class Trouble(StrEnum):
    """Why a starting worker does not come up by waiting for it alone."""

    UNSCHEDULABLE = "Unschedulable"
    """No node has room for it."""

    FAILING = "Failing"
    """It was placed and fails: a crash loop, an image that cannot be pulled, a worker that says it is unhealthy."""


class WorkerSignal(msgspec.Struct, frozen=True):
    """A worker of the present revision that takes jobs, or did until it was drained."""

    name: str
    running: int
    """Jobs it holds."""

    idle_seconds: float | None
    """How long it has held nothing; None while it holds a job."""

    draining: bool = False
    """Whether it was asked to take no more jobs."""

    start_seconds: float = 0.0
    """Time from its creation until it first asked for a job; its age where nobody knows when that was."""

    unready: bool = False
    """Whether the cluster calls it not ready, and would take it before any other."""

    coming: bool = False
    """Whether the cluster has not said yet that it runs; until then it would take it before any other."""


class StartingWorker(msgspec.Struct, frozen=True):
    """A worker of the present revision that exists but takes no jobs yet: it starts, or it fails to."""

    name: str
    age_seconds: float
    draining: bool = False
    trouble: Trouble | None = None
    runs: bool = True
    """Whether its container runs and is ready by the cluster's word: those that do not go before those that do."""

    coming: bool = False
    """Whether it does not yet, and will any moment."""


class Demand(msgspec.Struct, frozen=True):
    """The queue of the endpoint, without jobs of low priority: those start no worker, and run where one is."""

    queued: int
    late: int
    """Queued jobs that have waited longer than the QUEUE_DELAY target."""

    oldest_seconds: float | None
    """How long the oldest queued job has waited."""

    in_progress: int
    """Jobs held by workers of the present revision; those of older revisions end where they are."""

    arrived_total: int = 0
    """Jobs accepted since the endpoint's first one. The total begins again when the gateway lost its store."""

    finished_total: int = 0
    """Jobs that ran to an end, good or bad."""

    age_seconds: float = 0.0
    """How old this word of the gateway is."""

    fresh: bool = True
    """Whether a shrink may rest on it. The last word of a silent gateway still lets the endpoint grow."""

    queued_low: int = 0
    """Queued jobs of low priority, which `queued` does not count."""

    running_everywhere: int | None = None
    """Jobs held by workers of any revision; None when there is no other than the present one."""

    running_low: int = 0
    """Running jobs of low priority, which `in_progress` counts: they fill their workers as others do."""

    @property
    def running(self) -> int:
        """Jobs held by any worker: what totals of completions are to be compared with."""
        return self.in_progress if self.running_everywhere is None else self.running_everywhere

    @property
    def calling(self) -> int:
        """Jobs, queued and running, that are a reason for workers.

        One of low priority that runs is none for itself; but where others wait, it is in their way.
        """
        return self.queued + (self.in_progress if self.queued else self.running_usual)

    @property
    def running_usual(self) -> int:
        """Running jobs that are not of low priority."""
        return max(0, self.in_progress - self.running_low)


class ScalingInputs(msgspec.Struct, frozen=True):
    """All facts of one decision."""

    scaling: ResolvedScaling
    replicas: int
    """Workers asked for at present."""

    workers: tuple[WorkerSignal, ...]
    starting: tuple[StartingWorker, ...]
    demand: Demand | None
    """None when the gateway has not spoken of the endpoint: unknown, never zero."""

    revision: str = ""
    """What the workers are made of; what was learned of starts holds for one revision."""

    refusal: str = ""
    """Why the cluster creates no more workers (quota, admission), in its own words."""

    hold: str = ""
    """Why nobody may go at the moment, whatever is wanted; empty when somebody may."""

    @property
    def settled(self) -> bool:
        """Whether as many workers exist as were asked for. Only then is it known whom a shrink would remove."""
        return len(self.workers) + len(self.starting) == self.replicas

    @property
    def busy(self) -> int:
        """Workers that hold a job."""
        return len([worker for worker in self.workers if worker.running])

    def troubled(self, trouble: Trouble) -> list[StartingWorker]:
        """Starting workers that this keeps from coming up."""
        return [worker for worker in self.starting if worker.trouble is trouble]

    @property
    def pending(self) -> int:
        """Workers that were asked for and do not work yet: capacity on its way."""
        return max(0, self.replicas - len(self.workers))
