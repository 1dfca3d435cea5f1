"""What the chart and the examples hold, judged by a real API server: every field, every rule, every admission."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.helm import CHART, template
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, run

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "docs/examples").rglob("*.yaml"))
FOREIGN = ("monitoring.coreos.com/", "gateway.networking.k8s.io/", "postgresql.cnpg.io/")
"""Kinds of others, which need definitions of theirs (test_other_kinds.py)."""

EVERYTHING = (
    "gateway.ingress.enabled=true",
    "gateway.ingress.host=jobs.example.com",
    "gateway.store.existingSecret=db",
    "gateway.autoscaling.enabled=true",
    "gateway.webhooks.existingSecret=hooks",
    "monitoring.enabled=true",
    "monitoring.dashboard.enabled=true",
    "imagePullSecrets[0].name=registry",
    "gateway.priorityClassName=system-cluster-critical",
    "operator.tolerations[0].operator=Exists",
    "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.name=monitoring",
)
DRY = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-")


@pytest.mark.parametrize(
    "settings", [(), EVERYTHING, ("operator.namespaces={NAMESPACE}",)], ids=["defaults", "everything", "namespaced"]
)
def test_the_api_server_takes_every_object_of_the_chart_without_a_warning(
    namespace: str, settings: tuple[str, ...]
) -> None:
    chosen = [setting.replace("NAMESPACE", namespace) for setting in settings]
    objects = template("other", namespace, "crds.enabled=false", *chosen)
    ours = [each for each in objects if not each["apiVersion"].startswith(FOREIGN)]
    kubectl("create", "serviceaccount", "other-test", "-n", namespace)  # a pod without a Deployment is refused without
    ran = kubectl(*DRY, stdin=yaml.safe_dump_all(ours))
    assert len(ran.out.splitlines()) == len(ours)
    assert "Warning" not in ran.err


def test_upgrades_may_change_the_store_and_the_numbers_and_nothing_is_refused(namespace: str) -> None:
    """No pod of it runs: the images of this release do not exist here, and nothing waits for them."""

    alone = ("crds.enabled=false", "rbac.aggregateRoles=false", f"operator.namespaces={{{namespace}}}")

    def change(command: str, *settings: str) -> None:
        run("helm", command, "other", str(CHART), "-n", namespace, *(f"--set={each}" for each in (*alone, *settings)))

    def gateways() -> dict[str, Any]:
        found: dict[str, Any] = get("statefulset/other-gateway", "-n", namespace)["spec"]
        return found

    change("install")
    key = get("secret/other-api-key", "-n", namespace)["data"]
    change("upgrade", "gateway.store.existingSecret=db", "gateway.replicas=3")
    assert gateways()["replicas"] == 3
    change("upgrade", "gateway.store.existingSecret=db", "gateway.autoscaling.enabled=true", "operator.replicas=2")
    kubectl("get", "hpa/other-gateway", "pvc/other-gateway-store", "-n", namespace)
    change("upgrade", "gateway.persistence.enabled=false")
    change("upgrade")
    volumes = {each["name"]: each for each in gateways()["template"]["spec"]["volumes"]}
    assert volumes["store"]["persistentVolumeClaim"]["claimName"] == "other-gateway-store"
    run("helm", "uninstall", "other", "-n", namespace)
    change("install")
    assert get("secret/other-api-key", "-n", namespace)["data"] == key
    run("helm", "uninstall", "other", "-n", namespace)


def test_the_definition_in_the_crds_folder_is_taken_with_server_side_apply(release: str) -> None:
    ran = kubectl("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", str(ROOT / "crds"))
    assert "submodelendpoints.serverless.submodel.ai serverside-applied" in ran.out


def test_the_api_server_takes_every_example_without_a_warning(namespace: str) -> None:
    files = [f"--filename={path}" for path in EXAMPLES]
    ran = kubectl("apply", "-n", namespace, "--dry-run=server", "--validate=strict", *files)
    assert len(ran.out.splitlines()) == len(EXAMPLES)
    assert "Warning" not in ran.err


def test_the_examples_become_ready_beside_each_other_and_those_without_an_image_run_a_job(
    namespace: str, api: JobApi
) -> None:
    for name, literal in (("my-keys", "token=0123456789abcdef"), ("with-keys", f"ci=smk_ci_{'k' * 64}")):
        kubectl("create", "secret", "generic", name, "-n", namespace, f"--from-literal={literal}")
    kubectl("apply", "-n", namespace, *[f"--filename={path}" for path in EXAMPLES])
    kubectl("wait", "sme", "--all", "--for=condition=Ready", "-n", namespace, "--timeout=120s")
    assert all(each["status"].get("failures", []) == [] for each in get("sme", "-n", namespace)["items"])

    asked = {
        "greeter": ({"name": "Ada"}, "Good morning, Ada! (Good morning)"),
        "with-secrets": ({}, {"characters of the token": 16}),
        "request-count": ({"seconds": 0}, "slept well"),
        "fixed-count": ({}, "one of two"),
    }
    jobs = {name: api.run(f"{namespace}.{name}", given) for name, (given, _) in asked.items()}
    outputs = {name: api.finished(f"{namespace}.{name}", job)["output"] for name, job in jobs.items()}
    assert outputs == {name: output for name, (_, output) in asked.items()}
