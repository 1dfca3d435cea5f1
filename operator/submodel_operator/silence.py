"""How long workers have not been heard at work, as far as this operator can tell. Called by the reconciler.

A gateway that was started again has heard of no idle worker yet, and nor has a new operator: one that has worked for
hours is as silent then as one that never came up. So a worker is late only when it was silent for a while at a stretch,
to an operator that listened, whatever its age; those that work are back within seconds.
"""

from collections.abc import Mapping
from typing import Final

from submodel.contract.internal import WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.ports import Key, Observed

RETURN_SECONDS: Final = 60.0
"""Within which a worker asks a gateway that is back, also one with an SDK that asks rarely."""

_SILENT = (WorkerPhase.STARTING, WorkerPhase.UNHEALTHY)


def at_work(view: WorkerView | None) -> bool:
    """Whether the gateway has heard a worker ask for jobs."""
    return view is not None and view.phase not in _SILENT


class Silence:
    """One for all endpoints. Instants are in seconds of the monotonic clock."""

    def __init__(self) -> None:
        self._since: dict[Key, dict[str, float]] = {}

    def look(self, observed: Observed, views: Mapping[str, WorkerView], monotonic: float) -> dict[str, float]:
        """By name, for how many seconds each silent worker has been silent. `views` must be fresh."""
        before = self._since.get(observed.key, {})
        silent = [worker for worker in observed.workers if not at_work(views.get(worker.name))]
        since = self._since[observed.key] = {worker.uid: before.get(worker.uid, monotonic) for worker in silent}
        return {worker.name: monotonic - since[worker.uid] for worker in silent}

    def forget(self, key: Key) -> None:
        """Nobody listens to the endpoint's workers, or it is gone."""
        self._since.pop(key, None)
