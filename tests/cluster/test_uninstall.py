"""Last: what `helm uninstall` leaves, as the documentation says, and what later installations make of it."""

import yaml

from tests.cluster.endpoints import OURS
from tests.cluster.helm import RELEASE, helm_test, install, uninstall
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait
from tests.cluster.test_endpoint import GATED, apply


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
    _remove_test_pod(release)
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
    # Kubernetes looks again at a namespace only after half the grace of the pods that it saw in it.
    kubectl("delete", "sme/tokens", "-n", namespace)
    kubectl("wait", "pods", OURS, "--for=delete", "-n", namespace, "--timeout=90s")


def test_a_last_uninstall_leaves_no_pod_and_nothing_holds_up_the_deletion_of_endpoints(
    release: str, namespace: str, api: JobApi
) -> None:
    apply(namespace, GATED, workersMin=1)
    api.close()
    uninstall(release)
    _remove_test_pod(release)
    kubectl("wait", "pods", "--all", "--for=delete", "-n", release, "--timeout=60s")
    kubectl("delete", "sme/tokens", "-n", namespace)
    kubectl("wait", "pods", OURS, "--for=delete", "-n", namespace, "--timeout=90s")
    left = get("secrets,persistentvolumeclaims", "-n", release, "-l=app.kubernetes.io/instance=submodel")["items"]
    kept = ["submodel-api-key", "submodel-api-keys", "submodel-credentials", "submodel-gateway-store"]
    assert sorted(each["metadata"]["name"] for each in left) == sorted(kept)
    wait(f"pvc/{RELEASE}-gateway-store", "jsonpath={.status.phase}=Bound", release)


def test_a_release_for_some_namespaces_serves_these_alone_and_may_have_a_standby(release: str, namespace: str) -> None:
    install(release, f"--set=operator.namespaces={{{namespace}}}", "--set=operator.replicas=2")
    apply_only(release, "elsewhere")
    said = helm_test(release)
    assert f"endpoint {namespace}.{RELEASE}-test made" in said
    assert "Phase:          Succeeded" in said, said
    assert "status" not in get("sme/elsewhere", "-n", release)
    holder = get("lease", f"{RELEASE}-operator", "-n", release)["spec"]["holderIdentity"]
    pods = [pod["metadata"]["name"] for pod in get("pods", "-n", release, OPERATORS)["items"]]
    assert len(pods) == 2
    assert holder.partition("_")[0] in pods
    kubectl("delete", "sme/elsewhere", "-n", release)


def _remove_test_pod(release: str) -> None:
    """Its pod stays for its log, also after an uninstall."""
    kubectl("delete", "pod", f"{RELEASE}-test", "-n", release, "--ignore-not-found")


OPERATORS = "-l=app.kubernetes.io/component=operator"


def apply_only(namespace: str, name: str) -> None:
    """Apply an endpoint that nobody is expected to look at."""
    document = {
        "apiVersion": "serverless.submodel.ai/v1alpha1",
        "kind": "SubModelEndpoint",
        "metadata": {"name": name},
        "spec": {"worker": {"handler": {"inline": "pass"}}},
    }
    kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(document))
