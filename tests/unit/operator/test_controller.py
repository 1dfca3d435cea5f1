"""What the controller does with a key whose reconcile failed."""

import asyncio
import logging

import pytest

from submodel_operator.errors import ClusterUnavailable
from submodel_operator.ports import Key
from submodel_operator.reconcile import Controller, KeyedQueue, Reconciler
from tests.support.endpoints import KEY, manifest, worker_settings
from tests.support.memory_world import ManualClock, MemoryCluster, MemoryGateway


class Heard(logging.Handler):
    """Sets an event when a line is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


async def test_a_cluster_that_asks_for_a_rest_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    cluster, queue = MemoryCluster(), KeyedQueue[Key]()
    cluster.put(manifest())
    cluster.refuse_applies = ClusterUnavailable("too many requests", retry_after_seconds=70.0)
    reconciler = Reconciler(cluster, MemoryGateway(), ManualClock(), worker_settings())
    heard, log = Heard(), logging.getLogger("submodel_operator.reconcile.controller")
    log.addHandler(heard)
    caplog.set_level(logging.INFO, log.name)
    queue.add(KEY)
    running = asyncio.create_task(Controller(reconciler, queue, 1).run())
    try:
        await heard.event.wait()
    finally:
        running.cancel()
        log.removeHandler(heard)
    assert caplog.messages == ["team-a.tokens: too many requests; again in 70.0 s"]
