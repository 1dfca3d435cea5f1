"""Scaling on a real Kubernetes: up in one step, down to nothing, and never a worker that holds a job."""

import os
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from functools import partial
from operator import itemgetter
from random import Random
from typing import Any

import pytest

from tests.cluster.endpoints import OURS, apply_ready, apply_spec, inline, wait_for_reason, wait_ready
from tests.cluster.helm import RELEASE
from tests.cluster.job_api import JobApi
from tests.cluster.killing import kill
from tests.cluster.kubernetes import get, kubectl, wait_for_path
from tests.cluster.test_scale_in import departed, was_killed
from tests.cluster.watching import changes_of

SCALE_INS = int(os.environ.get("SCALE_INS", "20"))
"""How many workers leave while others are busy; 200 before a release."""

SLEEP = """
import asyncio, socket, time
import submodel

async def handler(job):
    await asyncio.sleep(job["input"]["seconds"])
    return {"worker": socket.gethostname(), "until": time.time()}

submodel.serverless.start({"handler": handler})
"""
EACH = {"scalerType": "REQUEST_COUNT", "scalerValue": 1, "idleTimeout": 1}
"""A worker for each job, which leaves a second after its last one."""

LONG_SECONDS = 12
LONG_AT_ONCE = 2
SHORT_SECONDS = 0.2, 2.5
TOGETHER = 8
"""Workers that come and go beside the busy ones."""


def test_a_burst_starts_its_workers_in_one_step_and_they_leave_when_it_is_over(namespace: str, api: JobApi) -> None:
    endpoint = apply_spec(namespace, inline(SLEEP, {**EACH, "workersMax": 5}))
    wait_ready(namespace)
    with changes_of("deployments", namespace) as counts:
        batch = api.ok(f"/v2/{endpoint}/run-batch", {"requests": [{"input": {"seconds": 2}}] * 5})
        assert {api.finished(endpoint, job["id"])["status"] for job in batch["requests"]} == {"COMPLETED"}
        wait_for_path("sme/it", ".status.phase", "Idle", namespace)
        grown = [each["spec"].get("replicas", 0) for each in counts()]
    assert max(grown) == 5
    assert not any(grown[: grown.index(5)]), grown
    kubectl("wait", "pods", "--all", "--for=delete", "-n", namespace, "--timeout=60s")


@pytest.mark.timeout(max(300, 6 * SCALE_INS))
def test_no_scale_in_ends_a_busy_worker(namespace: str, api: JobApi) -> None:
    endpoint = apply_ready(namespace, inline(SLEEP, {**EACH, "workersMax": TOGETHER + LONG_AT_ONCE}))
    answers: list[Future[dict[str, Any]]] = []
    chance = Random(SCALE_INS)
    with changes_of("pods", namespace) as pods, ThreadPoolExecutor(TOGETHER + LONG_AT_ONCE) as pool:

        def submit(seconds: float) -> Future[dict[str, Any]]:
            answers.append(pool.submit(api.finished, endpoint, api.run(endpoint, {"seconds": seconds})))
            return answers[-1]

        long = [submit(LONG_SECONDS) for _ in range(LONG_AT_ONCE)]
        while (left := len(departed(pods()))) < SCALE_INS:
            long = [submit(LONG_SECONDS) if each.done() else each for each in long]
            for short in [submit(chance.uniform(*SHORT_SECONDS)) for _ in range(TOGETHER)]:
                short.result()
            # Some go before the next jobs come, and others are on their way.
            pods.until(partial(_more_left, left + TOGETHER // 2))
        results = [answer.result() for answer in answers]
        wait_for_path("sme/it", ".status.phase", "Idle", namespace)
        states = pods()
    assert {each["status"] for each in results} == {"COMPLETED"}
    assert [each for each in results if each["retries"]] == []
    assert [pod for pod in states if was_killed(pod)] == []
    assert _chosen_while_busy(states, [each["output"] for each in results]) == []
    events = {event["reason"] for event in get("events", "-n", namespace)["items"]}
    assert "WrongWorkerLeft" not in events


def test_nobody_leaves_while_the_gateway_is_silent(release: str, namespace: str, api: JobApi) -> None:
    endpoint = apply_spec(namespace, inline(SLEEP, {**EACH, "workersMax": 2, "idleTimeout": 30}))
    wait_ready(namespace)
    jobs = [api.run(endpoint, {"seconds": 1}) for _ in range(2)]
    wait_for_path("sme/it", ".status.workers.ready", "2", namespace)
    assert {api.finished(endpoint, job)["status"] for job in jobs} == {"COMPLETED"}
    kubectl("scale", f"statefulset/{RELEASE}-gateway", "-n", release, "--replicas=0")
    try:
        kill(release, "gateway")  # before anybody has been idle for long enough
        before = _names(namespace)
        wait_for_reason(namespace, "ScalerHealthy", "SignalsStale")
        gone = kubectl("wait", "pods", OURS, "-n", namespace, "--for=delete", "--timeout=60s", check=False)
        assert "timed out" in gone.err
        assert _names(namespace) == before
    finally:
        kubectl("scale", f"statefulset/{RELEASE}-gateway", "-n", release, "--replicas=1")
    wait_for_path("sme/it", ".status.phase", "Idle", namespace)


def test_pods_that_find_no_node_are_not_joined_by_more_of_them(namespace: str, api: JobApi) -> None:
    nowhere = {"placement": {"dataCenters": ["NO-WHERE-1"]}}
    scaling = {"workersMax": 10, "scalerType": "QUEUE_DELAY", "scalerValue": 0.5, "idleTimeout": 1}
    endpoint = apply_spec(namespace, {**inline(SLEEP, scaling), **nowhere})
    wait_ready(namespace)
    first = api.run(endpoint, {"seconds": 0})
    wait_for_path("sme/it", ".status.autoscaling.lastDecision.desired", "1", namespace)
    wait_for_reason(namespace, "Ready", "Unschedulable")
    more = [api.run(endpoint, {"seconds": 0}) for _ in range(9)]
    wait_for_path("sme/it", ".status.jobs.queued", "10", namespace)
    # All of them are late by now; with room that would be a worker for each.
    storm = kubectl(
        "wait", "sme/it", "--for=jsonpath={.status.workers.desired}=2", "-n", namespace, "--timeout=10s", check=False
    )
    assert "timed out" in storm.err
    assert len(_names(namespace)) == 1
    apply_spec(namespace, inline(SLEEP, scaling))
    assert {api.finished(endpoint, job)["status"] for job in (first, *more)} == {"COMPLETED"}


def test_a_job_on_a_node_that_is_drained_ends_or_runs_once_more(namespace: str, api: JobApi) -> None:
    node = get("nodes")["items"][0]["metadata"]["name"]
    endpoint = apply_spec(namespace, inline(SLEEP, {**EACH, "workersMax": 2}))
    wait_ready(namespace)
    jobs = [api.run(endpoint, {"seconds": 6}) for _ in range(2)]
    wait_for_path("sme/it", ".status.workers.busy", "2", namespace)
    try:
        drain = ("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=60s")
        kubectl(*drain, f"--pod-selector={OURS.removeprefix('-l=')}")
    finally:
        kubectl("uncordon", node)
    results = [api.finished(endpoint, job) for job in jobs]
    assert {each["status"] for each in results} == {"COMPLETED"}
    assert all(each.get("retries", 0) <= 1 for each in results)


def _more_left(count: int, states: list[dict[str, Any]]) -> bool:
    return len(departed(states)) >= count


def _chosen_while_busy(states: list[dict[str, Any]], outputs: list[dict[str, Any]]) -> list[str]:
    """Pods whose deletion was asked for before their last job had ended, by the clock of the only node."""
    ended = {str(each["worker"]): float(each["until"]) for each in sorted(outputs, key=itemgetter("until"))}
    chosen = {
        state["metadata"]["name"]: datetime.fromisoformat(state["metadata"]["deletionTimestamp"]).timestamp()
        - state["metadata"]["deletionGracePeriodSeconds"]
        for state in reversed(states)  # the first word on it stands
        if state["metadata"].get("deletionGracePeriodSeconds")
    }
    whole_seconds = 1.0
    return [pod for pod, at in chosen.items() if ended.get(pod, 0.0) > at + whole_seconds]


def _names(namespace: str) -> set[str]:
    return {pod["metadata"]["name"] for pod in get("pods", OURS, "-n", namespace)["items"]}
