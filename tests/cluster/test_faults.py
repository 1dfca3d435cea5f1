"""Operator and gateway killed in the middle: nothing that was accepted is lost."""

from tests.cluster.helm import RELEASE
from tests.cluster.job_api import JobApi
from tests.cluster.killing import kill
from tests.cluster.kubernetes import kubectl, wait_for_path
from tests.cluster.test_endpoint import OUTPUTS, apply


def test_a_killed_operator_loses_nothing_and_goes_on(release: str, namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace)
    first = api.run(endpoint)
    while not api.ok(f"/v2/{endpoint}/stream/{first}?offset=0")["stream"]:
        pass
    kill(release, "operator")
    later = [api.run(endpoint) for _ in range(3)]
    assert [api.finished(endpoint, job)["output"] for job in (first, *later)] == [OUTPUTS] * 4
    kubectl("rollout", "status", f"deployment/{RELEASE}-operator", "-n", release, "--timeout=60s")
    wait_for_path("sme/tokens", ".status.phase", "Idle", namespace)


def test_a_killed_gateway_comes_back_with_every_accepted_job(release: str, namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace)
    jobs = [api.run(endpoint) for _ in range(4)]
    while not api.ok(f"/v2/{endpoint}/stream/{jobs[0]}?offset=0")["stream"]:
        pass
    kill(release, "gateway")
    kubectl("rollout", "status", f"statefulset/{RELEASE}-gateway", "-n", release, "--timeout=60s")
    results = [api.finished(endpoint, job) for job in jobs]
    assert [result["output"] for result in results] == [OUTPUTS] * 4
    wait_for_path("sme/tokens", ".status.phase", "Idle", namespace)
