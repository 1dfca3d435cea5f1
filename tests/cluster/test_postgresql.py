"""An installation with two gateways on one PostgreSQL: the operator, clients and workers meet whichever comes."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event

import pytest

from tests.cluster.endpoints import WAIT, apply_ready, inline, touch, worker
from tests.cluster.helm import RELEASE, helm_test, reset, upgrade
from tests.cluster.job_api import JobApi
from tests.cluster.killing import FORCE
from tests.cluster.kubernetes import get, kubectl, wait_for_path
from tests.cluster.test_endpoint import ECHO, OUTPUTS, apply
from tests.cluster.test_release import run_jobs_until
from tests.support.postgres import PostgresServer

SECRET = "jobs-database"
GATEWAYS = f"statefulset/{RELEASE}-gateway"


@dataclass(frozen=True)
class Installation:
    """The release on this server."""

    namespace: str
    server: PostgresServer

    def settle(self) -> None:
        """Returns when both gateways are ready."""
        kubectl("rollout", "status", GATEWAYS, "-n", self.namespace, "--timeout=120s")
        wait_for_path(GATEWAYS, ".status.readyReplicas", "2", self.namespace)


@pytest.fixture(scope="module")
def installation(release: str) -> Iterator[Installation]:
    if os.environ.get("SUBMODEL_TEST_CLUSTER") != "bed":
        pytest.skip("pods reach a server of this process in the project's own test cluster only; use make test-cluster")
    with PostgresServer(listen_addresses="*") as server:
        server.let_in("0.0.0.0/0")
        (node,) = get("nodes")["items"]
        address = next(each["address"] for each in node["status"]["addresses"] if each["type"] == "InternalIP")
        url = f"postgresql://postgres@{address}/postgres"
        kubectl("create", "secret", "generic", SECRET, "-n", release, f"--from-literal=url={url}")
        try:
            upgrade(release, f"--set=gateway.store.existingSecret={SECRET}", "--set=gateway.replicas=2")
            yield Installation(release, server)
        finally:
            reset(release)
            kubectl("delete", "secret", SECRET, "-n", release)


def test_helm_test_passes(installation: Installation) -> None:
    assert "Phase:          Succeeded" in (said := helm_test(installation.namespace)), said


def test_the_example_scales_from_zero_completes_and_scales_back_again_and_again(
    installation: Installation, namespace: str, api: JobApi
) -> None:
    endpoint = apply(namespace)
    for _ in range(2):
        assert api.finished(endpoint, api.run(endpoint))["output"] == OUTPUTS
        wait_for_path("sme/tokens", ".status.phase", "Idle", namespace)
    kubectl("wait", "pods", "--all", "--for=delete", "-n", namespace, "--timeout=60s")


def test_a_rolling_restart_under_load_loses_no_job_and_repeats_none(
    installation: Installation, namespace: str, api: JobApi
) -> None:
    echo = apply(namespace, ECHO.format(greeting="hello"), name="echo", workersMax=2)
    held = apply_ready(namespace, inline(WAIT), "held")
    long = api.run(held, {"until": "go"})
    wait_for_path("sme/held", ".status.workers.busy", "1", namespace)
    pod = worker(namespace, "held")["metadata"]["name"]
    restarted = Event()
    with ThreadPoolExecutor(max_workers=1) as pool:
        load = pool.submit(run_jobs_until, restarted, api, echo)
        try:
            kubectl("rollout", "restart", GATEWAYS, "-n", installation.namespace)
            installation.settle()
        finally:
            restarted.set()
        outputs = load.result()
    assert outputs == ["hello"] * len(outputs)
    touch("go", pod, namespace=namespace)
    result = api.finished(held, long)
    assert (result["status"], result["output"]) == ("COMPLETED", pod)


def test_a_gateway_that_is_killed_takes_no_job_with_it_and_the_operator_goes_on(
    installation: Installation, namespace: str, api: JobApi
) -> None:
    endpoint = apply(namespace)
    jobs = [api.run(endpoint) for _ in range(4)]
    for number in range(2):
        kubectl("delete", "pod", f"{RELEASE}-gateway-{number}", "-n", installation.namespace, *FORCE)
        jobs.append(api.run(endpoint))
        installation.settle()
    assert [api.finished(endpoint, job)["output"] for job in jobs] == [OUTPUTS] * len(jobs)
    wait_for_path("sme/tokens", ".status.phase", "Idle", namespace)


def test_a_database_that_is_restarted_ends_no_job_and_no_worker(
    installation: Installation, namespace: str, api: JobApi
) -> None:
    held = apply_ready(namespace, inline(WAIT))
    job = api.run(held, {"until": "go"})
    wait_for_path("sme/it", ".status.workers.busy", "1", namespace)
    pod = worker(namespace)["metadata"]["name"]
    installation.server.restart(immediate=True)
    touch("go", pod, namespace=namespace)
    result = api.finished(held, job)
    assert (result["status"], result["output"]) == ("COMPLETED", pod)
    wait_for_path("sme/it", ".status.phase", "Idle", namespace)
