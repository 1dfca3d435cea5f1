"""An operator with its ports in memory, that a test moves step by step."""

from typing import Any

from submodel_operator.metrics import Metrics
from submodel_operator.reconcile import Reconciler
from tests.support.endpoints import KEY, manifest, worker_settings
from tests.support.memory_world import ManualClock, MemoryCluster, MemoryGateway


class World:
    """An operator with a cluster and a gateway of its own."""

    def __init__(self, worker_spec: dict[str, Any] | None = None, **spec: Any) -> None:
        self.cluster, self.gateway, self.clock = MemoryCluster(), MemoryGateway(), ManualClock()
        self.metrics = Metrics()
        self.reconciler = Reconciler(self.cluster, self.gateway, self.clock, worker_settings(), metrics=self.metrics)
        self.cluster.put(manifest(worker_spec, **spec))

    async def step(self) -> Any:
        """One reconcile, a while after the one before."""
        self.clock.seconds += 2
        return await self.reconciler.reconcile(KEY)

    @property
    def replicas(self) -> list[int]:
        return [pool.replicas for pool in self.cluster.endpoints[KEY].pools]

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.cluster.endpoints[KEY].manifest["status"])

    def ready(self) -> dict[str, Any]:
        return self.condition("Ready")

    def condition(self, kind: str) -> dict[str, Any]:
        return next(dict(each) for each in self.status["conditions"] if each["type"] == kind)
