"""Which workers node autoscalers shall leave alone: those that run a job, and no others. Pure.

Cluster Autoscaler and Karpenter remove nodes that could be spared, with the pods on them. A worker's grace lets its job
end, but a node may not wait that long, so a busy worker says by annotation that it is not to be moved. An idle one says
nothing, or no node could ever go. Each change is a write to the API server, therefore it comes only once a worker has
been busy, or idle, for a while: a stream of short jobs costs one write, and a single short job none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from submodel.contract.internal import WorkerView
from submodel_operator.api.constants import DO_NOT_DISRUPT_ANNOTATION, SAFE_TO_EVICT_ANNOTATION
from submodel_operator.ports import Observed

SETTLED_SECONDS: Final = 5.0
ANNOTATIONS: Final[Mapping[str, str]] = {SAFE_TO_EVICT_ANNOTATION: "false", DO_NOT_DISRUPT_ANNOTATION: "true"}


@dataclass(frozen=True, slots=True)
class Since:
    """What a worker has been doing, and from when on, by the operator's monotonic clock."""

    busy: bool
    at: float


Memory = Mapping[str, Since]
"""By the uid of the worker. Without it (after a restart) changes come a little later."""


@dataclass(frozen=True, slots=True)
class Protection:
    """What is to be changed."""

    changes: Mapping[str, bool]
    """By the name of the worker: whether it shall be protected."""

    again_after_seconds: float | None = None
    """When the next change may be due."""


def protection(
    observed: Observed, views: Mapping[str, WorkerView], memory: Memory, now: float
) -> tuple[Protection, Memory]:
    """The changes that are due. `views` must be fresh: who is not in them holds nothing."""
    changes: dict[str, bool] = {}
    waits: list[float] = []
    seen: dict[str, Since] = {}
    for worker in observed.workers:
        view = views.get(worker.name)
        busy = view is not None and view.running > 0
        if worker.terminating or (view is not None and view.draining and not busy):
            continue  # it leaves
        since = memory.get(worker.uid)
        seen[worker.uid] = since = since if since and since.busy == busy else Since(busy, now)
        if busy == worker.protected:
            continue
        left = since.at + SETTLED_SECONDS - now
        if left > 0:
            waits.append(left)
        else:
            changes[worker.name] = busy
    return Protection(changes, min(waits, default=None)), seen
