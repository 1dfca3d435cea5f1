"""Last: what `helm uninstall` leaves, as the documentation says, and that a later installation takes it up."""

from tests.cluster.helm import RELEASE, install, uninstall
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait
from tests.cluster.test_endpoint import GATED, OURS, apply


def test_an_uninstall_under_load_keeps_everything_and_a_later_install_goes_on_with_it(
    release: str, namespace: str, api: JobApi
) -> None:
    endpoint = apply(namespace, GATED, workersMax=1)
    running, *queued = [api.run(endpoint) for _ in range(3)]
    while not api.ok(f"/v2/{endpoint}/stream/{running}?offset=0")["stream"]:
        pass
    (worker,) = (pod["metadata"]["name"] for pod in get("pods", "-n", namespace)["items"])

    api.close()
    uninstall(release)
    kubectl("wait", "pods", "-l=app.kubernetes.io/component", "--for=delete", "-n", release, "--timeout=60s")
    assert kubectl("get", "crd", "submodelendpoints.serverless.submodel.ai").code == 0
    assert len(get("sme", "-n", namespace)["items"]) == 1
    assert len(get("deployments", OURS, "-n", namespace)["items"]) == 1
    assert [pod["metadata"]["name"] for pod in get("pods", "-n", namespace)["items"]] == [worker]

    kubectl("exec", "-n", namespace, worker, "-c", "worker", "--", "python", "-c", "open('/tmp/go', 'w').close()")
    install(release)
    for job in (running, *queued):
        result = api.finished(endpoint, job)
        assert (result["status"], result["output"]) == ("COMPLETED", ["started", "went on"])
        assert result["workerId"] == worker, "a job was run again although its worker never went"


def test_a_last_uninstall_leaves_no_pod_and_nothing_holds_up_the_deletion_of_endpoints(
    release: str, namespace: str, api: JobApi
) -> None:
    apply(namespace, GATED, workersMin=1)
    api.close()
    uninstall(release)
    kubectl("delete", "pod", f"{RELEASE}-test", "-n", release, "--ignore-not-found")
    kubectl("wait", "pods", "--all", "--for=delete", "-n", release, "--timeout=60s")
    kubectl("delete", "sme/tokens", "-n", namespace)
    kubectl("wait", "pods", OURS, "--for=delete", "-n", namespace, "--timeout=90s")
    left = get("secrets,persistentvolumeclaims", "-n", release, "-l=app.kubernetes.io/instance=submodel")["items"]
    kept = ["submodel-api-key", "submodel-api-keys", "submodel-credentials", "submodel-gateway-store"]
    assert sorted(each["metadata"]["name"] for each in left) == sorted(kept)
    wait(f"pvc/{RELEASE}-gateway-store", "jsonpath={.status.phase}=Bound", release)
