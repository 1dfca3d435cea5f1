"""What the controller does with a key whose reconcile failed."""

import asyncio
import logging

import pytest

from submodel_operator.errors import ClusterRefused, ClusterUnavailable
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


class RememberingQueue(KeyedQueue[Key]):
    """Knows after how many seconds somebody wanted to look again."""

    def __init__(self) -> None:
        super().__init__(jitter=lambda: 0.5)
        self.asked: list[float] = []

    def add_after(self, key: Key, seconds: float) -> None:
        self.asked.append(seconds)
        super().add_after(key, seconds)


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


async def test_a_status_that_is_due_is_not_kept_back_by_what_the_cluster_refuses() -> None:
    cluster, queue, heard = MemoryCluster(), RememberingQueue(), Heard()
    cluster.put(manifest())
    log = logging.getLogger("submodel_operator.reconcile.controller")
    log.addHandler(heard)
    reconciler = Reconciler(cluster, MemoryGateway(), ManualClock(), worker_settings(), status_period_seconds=1.0)
    for _ in range(6):
        queue.fail(KEY)
    queue.asked.clear()
    running = asyncio.create_task(Controller(reconciler, queue, 1).run())
    try:
        for words in ("no room for it", "no room for it in March"):
            cluster.refuse_applies = ClusterRefused(words)
            heard.event.clear()
            queue.add(KEY)
            await heard.event.wait()
    finally:
        running.cancel()
        log.removeHandler(heard)
    assert queue.asked == [32.0, 60.0, 1.0], "the second refusal is news, which may be written a second after the first"
