"""What the operator counts, as Prometheus reads it."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from submodel.contract.exchange import Startup
from submodel_operator.errors import ClusterUnavailable
from submodel_operator.metrics import Metrics
from submodel_operator.ports import Key, PodStart
from submodel_operator.reconcile import Controller, KeyedQueue, Reconciler
from tests.support.endpoints import KEY, manifest, signals, view, worker_settings
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
    assert value(metrics, "submodel_operator_reconcile_total", result=result) == 0
    queue.add(KEY)
    assert value(metrics, "submodel_operator_workqueue_depth") == 1
    async with asyncio.timeout(10):
        running = asyncio.create_task(Controller(world["reconciler"], queue, 1, metrics).run())
        while not value(metrics, "submodel_operator_reconcile_total", result=result):  # noqa: ASYNC110 # no event tells
            await asyncio.sleep(0)  # noqa: TID251 # lets the controller run
        running.cancel()
    assert value(metrics, "submodel_operator_reconcile_duration_seconds_count") == 1


async def test_what_each_rule_came_to_is_shown_and_what_none_says_any_more_is_not(world: dict[str, Any]) -> None:
    place = {"namespace": KEY.namespace, "name": KEY.name}
    metrics: Metrics = world["metrics"]
    world["cluster"].put(manifest(scaling={"workersMax": 2, "scalerType": "REQUEST_COUNT", "scalerValue": 1}))
    world["gateway"].say(signals(queued=7))
    await world["reconciler"].reconcile(KEY)
    wanted = "submodel_endpoint_workers_wanted"
    assert value(metrics, wanted, term="RequestCount", **place) == 7
    assert value(metrics, wanted, term="WorkersMax", **place) == 2
    assert value(metrics, "submodel_endpoint_scale_changes_total", term="WorkersMax", **place) == 1
    assert value(metrics, "submodel_endpoint_start_seconds", **place) == 10
    world["gateway"].say(signals(queued=0))
    await world["reconciler"].reconcile(KEY)
    assert value(metrics, wanted, term="WorkersMax", **place) is None
    assert value(metrics, wanted, term="RequestCount", **place) == 0


async def test_what_a_scaler_that_measures_believes_is_shown(world: dict[str, Any]) -> None:
    place = {"namespace": KEY.namespace, "name": KEY.name}
    metrics: Metrics = world["metrics"]
    world["gateway"].say(signals(queued=7, arrived_total=7))
    await world["reconciler"].reconcile(KEY)
    assert value(metrics, "submodel_endpoint_service_seconds", **place) is None
    world["cluster"].put(manifest(scaling={"scalerType": "ADAPTIVE", "scalerValue": 4}))
    await world["reconciler"].reconcile(KEY)
    assert value(metrics, "submodel_endpoint_service_seconds", **place) == 30
    assert value(metrics, "submodel_endpoint_workers_wanted", term="ArrivalRate", **place) is None
    assert value(metrics, "submodel_endpoint_workers_wanted", term="WorkersMax", **place) == 3


async def test_the_phases_of_a_start_are_counted_when_its_worker_comes_up(world: dict[str, Any]) -> None:
    place = {"namespace": KEY.namespace, "name": KEY.name}
    metrics, cluster, gateway = world["metrics"], world["cluster"], world["gateway"]
    gateway.say(signals(queued=1))
    await world["reconciler"].reconcile(KEY)
    cluster.start_missing()
    (pod,) = cluster.endpoints[KEY].workers
    cluster.set_workers(replace(pod, start=PodStart(created_at=100.0, scheduled_at=103.0, ran_at=110.0)))
    await world["reconciler"].reconcile(KEY)
    gateway.say(signals(view(pod.name, pod.revision, startup=Startup(import_ms=500, load_ms=4_500))))
    await world["reconciler"].reconcile(KEY)
    for phase, seconds in {"scheduling": 3.0, "pull": 7.0, "start": 0.5, "load": 4.5, "total": 15.0}.items():
        assert value(metrics, "submodel_endpoint_cold_start_seconds_sum", phase=phase, **place) == seconds
        assert value(metrics, "submodel_endpoint_cold_start_seconds_count", phase=phase, **place) == 1
