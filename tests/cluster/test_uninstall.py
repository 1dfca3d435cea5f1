"""Last: what `helm uninstall` leaves, as the chart's README says."""

from tests.cluster.conftest import RELEASE
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, run
from tests.cluster.test_endpoint import ECHO, OURS, apply


def test_uninstalling_keeps_the_crd_the_endpoints_and_their_workers(release: str, namespace: str, api: JobApi) -> None:
    endpoint = apply(namespace, ECHO.format(greeting="hello"), workersMin=1)
    assert api.finished(endpoint, api.run(endpoint))["output"] == "hello"
    api.close()
    run("helm", "uninstall", RELEASE, "-n", release, "--wait")
    assert kubectl("get", "crd", "submodelendpoints.serverless.submodel.ai").code == 0
    assert len(get("sme", "-n", namespace)["items"]) == 1
    assert len(get("deployments", OURS, "-n", namespace)["items"]) == 1
    kubectl("wait", "pods", "--all", "--for=delete", "-n", release, "--timeout=60s")
    kubectl("delete", "sme/tokens", "-n", namespace)
    kubectl("wait", "pods", OURS, "--for=delete", "-n", namespace, "--timeout=60s")
