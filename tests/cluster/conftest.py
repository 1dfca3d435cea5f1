"""One installation of the chart for all cluster tests, a namespace for each, and the cluster's words on a failure."""

import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.helm import RELEASE, api_key, install, uninstall
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import kubectl, refuse_unknown_context

SYSTEM = "submodel-system"
RESTRICTED = "pod-security.kubernetes.io/enforce=restricted"
TEST_LABEL = "serverless.submodel.ai/test=true"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in this folder needs a cluster; what leaves another installation behind comes last."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.cluster)
    items.sort(key=lambda item: item.path == Path(__file__).parent / "test_uninstall.py")


@pytest.fixture(scope="session")
def cluster() -> None:
    """A cluster that may be used: skipped without one, failed where CI promises one."""
    missing = [tool for tool in ("kubectl", "helm") if shutil.which(tool) is None]
    reason = f"{' and '.join(missing)} not found; use make test-cluster" if missing else refuse_unknown_context()
    if reason:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)


@pytest.fixture(scope="session")
def release(cluster: None) -> Iterator[str]:
    """The chart, installed with helm into a namespace that enforces `restricted`; returns that namespace."""
    kubectl("create", "namespace", SYSTEM)
    try:
        kubectl("label", "namespace", SYSTEM, RESTRICTED)
        install(SYSTEM)
        yield SYSTEM
        # A worker that leaves delivers what was not acknowledged: without a gateway it tries for as long as it may.
        kubectl("wait", "namespaces", "-l", TEST_LABEL, "--for=delete", "--timeout=120s")
        uninstall(SYSTEM)
        kubectl("delete", "crd", "submodelendpoints.serverless.submodel.ai", "--ignore-not-found")
    finally:
        kubectl("delete", "namespace", SYSTEM)
        kubectl("wait", "namespaces", "-l", TEST_LABEL, "--for=delete", "--timeout=120s")


@pytest.fixture(scope="session")
def api(release: str) -> Iterator[JobApi]:
    """The job API of the installation."""
    opened = JobApi(release, f"{RELEASE}-gateway", api_key(release))
    yield opened
    opened.close()


@pytest.fixture
def namespace(release: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of this test's own that enforces `restricted`."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    kubectl("label", "namespace", name, RESTRICTED, TEST_LABEL)
    yield name
    if getattr(request.node, "failed", False):
        print(diagnosis(name))  # noqa: T201 # pytest shows it with the failure
    remove(name)


def remove(namespace: str) -> None:
    """Delete it with all that runs there; that takes ten seconds, which nobody needs to wait for.

    Workers may have minutes to leave, and the namespace's controller looks again after half of that. So they end at
    once, and news of the namespace make the controller look.
    """
    kubectl("delete", "namespace", namespace, "--wait=false")
    kubectl("delete", "pods", "--all", "-n", namespace, "--grace-period=0", "--force", "--wait=false", check=False)
    kubectl("label", "namespace", namespace, "emptied=true", check=False)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let the fixtures know that the test failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined] # pluggy's result object is untyped here
    if report.when == "call" and report.failed:
        item.failed = True  # type: ignore[attr-defined] # read by `namespace`


def diagnosis(namespace: str) -> str:
    """What a person would look at first."""
    looks = [
        ("get", "submodelendpoints,deployments,replicasets,pods", "-n", namespace, "-o", "wide"),
        ("get", "submodelendpoints", "-n", namespace, "-o", "yaml"),
        ("describe", "pods", "-n", namespace),
        ("get", "events", "-n", namespace, "--sort-by=.lastTimestamp"),
        (
            "logs",
            "-n",
            namespace,
            "--all-containers",
            "--prefix",
            "--tail=50",
            "-l",
            "app.kubernetes.io/part-of=submodel",
        ),
        ("get", "pods", "-n", SYSTEM, "-o", "wide"),
        ("logs", "-n", SYSTEM, f"deployment/{RELEASE}-operator", "--tail=80"),
        ("logs", "-n", SYSTEM, f"statefulset/{RELEASE}-gateway", "--tail=80"),
    ]
    parts = [(look, kubectl(*look, check=False)) for look in looks]
    return "\n".join(f"$ kubectl {' '.join(look)}\n{ran.out}{ran.err}" for look, ran in parts)
