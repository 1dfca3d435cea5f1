"""What the operator counts, as Prometheus reads it."""

import asyncio
from typing import Any

import pytest

from submodel_operator.errors import ClusterUnavailable
from submodel_operator.metrics import Metrics
from submodel_operator.ports import Key
from submodel_operator.reconcile import Controller, KeyedQueue, Reconciler
from tests.support.endpoints import KEY, manifest, signals, worker_settings
from tests.support.memory_world import ManualClock, MemoryCluster, MemoryGateway


def value(metrics: Metrics, series: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series, labels)


@pytest.fixture
def world() -> dict[str, Any]:
    metrics, cluster, gateway = Metrics(), MemoryCluster(), MemoryGateway()
    cluster.put(manifest())
    reconciler = Reconciler(cluster, gateway, ManualClock(), worker_settings(), metrics=metrics)
    return {"metrics": metrics, "cluster": cluster, "gateway": gateway, "reconciler": reconciler}


async def test_numbers_of_an_endpoint_are_shown_and_go_with_it(world: dict[str, Any]) -> None:
    world["gateway"].say(signals(queued=7, queued_low_priority=2))
    await world["reconciler"].reconcile(KEY)
    place = {"namespace": KEY.namespace, "name": KEY.name}
    metrics: Metrics = world["metrics"]
    assert value(metrics, "submodel_endpoint_jobs_queued", **place) == 5
    assert value(metrics, "submodel_endpoint_jobs_queued_low_priority", **place) == 2
    assert value(metrics, "submodel_endpoint_workers_desired", **place) == 1
    assert value(metrics, "submodel_endpoint_ready", **place) == 1
    world["cluster"].endpoints.clear()
    await world["reconciler"].reconcile(KEY)
    assert b"submodel_endpoint_jobs_queued" not in b"".join(
        line for line in metrics.text().splitlines() if not line.startswith(b"#")
    )


@pytest.mark.parametrize(
    ("trouble", "result"), [(None, "done"), (ClusterUnavailable("away"), "retried"), (ZeroDivisionError(), "failed")]
)
async def test_every_reconcile_counts_by_how_it_ended(
    world: dict[str, Any], trouble: Exception | None, result: str
) -> None:
    metrics: Metrics = world["metrics"]
    world["cluster"].refuse_applies = trouble
    queue: KeyedQueue[Key] = KeyedQueue()
    metrics.watch_queue(lambda: len(queue))
    queue.add(KEY)
    assert value(metrics, "submodel_operator_workqueue_depth") == 1
    async with asyncio.timeout(10):
        running = asyncio.create_task(Controller(world["reconciler"], queue, 1, metrics).run())
        while not value(metrics, "submodel_operator_reconcile_total", result=result):  # noqa: ASYNC110 # no event tells
            await asyncio.sleep(0)  # noqa: TID251 # lets the controller run
        running.cancel()
    assert value(metrics, "submodel_operator_reconcile_duration_seconds_count") == 1
