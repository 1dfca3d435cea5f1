"""Objects of other projects' kinds, on an API server that has their definitions and none of their controllers."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.helm import CHART, template
from tests.cluster.kubernetes import get, kubectl, run
from tests.cluster.test_chart import DRY, FOREIGN

SETTINGS = (
    "crds.enabled=false",
    "rbac.aggregateRoles=false",
    "publicUrl=https://jobs.example.com",
    "gateway.httpRoute.enabled=true",
    "gateway.httpRoute.parentRefs[0].name=public",
    "gateway.httpRoute.parentRefs[0].namespace=gateways",
    "gateway.httpRoute.parentRefs[0].sectionName=https",
    "gateway.httpRoute.hostnames={jobs.example.com}",
    "gateway.httpRoute.annotations.owner=team",
    "gateway.store.cluster.enabled=true",
    "gateway.store.cluster.image=registry.example/postgresql:17",
    "gateway.store.cluster.storageClass=standard",
    "monitoring.enabled=true",
    "monitoring.labels.release=prometheus",
    "imagePullSecrets[0].name=registry",
)
KINDS = {"Cluster", "HTTPRoute", "PodMonitor", "PrometheusRule", "ServiceMonitor"}


@pytest.fixture(scope="module")
def definitions(cluster: None) -> Iterator[list[str]]:
    """The definitions of others, installed; afterwards nothing of them is left."""
    folder = os.environ.get("SUBMODEL_TEST_DEFINITIONS", "")
    files = sorted(Path(folder).glob("*.yaml")) if folder else []
    if not files:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)("no definitions; see `bed definitions`")
    chosen = [f"--filename={path}" for path in files]
    names = [f"crd/{yaml.safe_load(path.read_text(encoding='utf-8'))['metadata']['name']}" for path in files]
    try:
        kubectl("apply", "--server-side", *chosen)
        kubectl("wait", *names, "--for=condition=Established", "--timeout=60s")
        for name in names:  # what the API server lists as its kinds comes a while after that
            while kubectl("get", name.removeprefix("crd/"), "--all-namespaces", check=False).code:
                kubectl("get", "--raw", "/readyz")
        yield names
    finally:
        kubectl("delete", *chosen, "--ignore-not-found", "--timeout=60s")
    assert not kubectl("get", *names, "--ignore-not-found", "-o", "name").out


def foreign(namespace: str, *settings: str) -> list[dict[str, Any]]:
    """What the chart makes of kinds that are not Kubernetes' own."""
    objects = template("other", namespace, *SETTINGS, f"operator.namespaces={{{namespace}}}", *settings)
    return [each for each in objects if each["apiVersion"].startswith(FOREIGN)]


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("gateway.store.cluster.instances=1", "gateway.httpRoute.requestTimeout="),
        ("gateway.store.cluster.instances=2",),
    ],
    ids=["everything", "one instance and no timeout", "two instances"],
)
def test_definitions_of_others_take_every_field_of_the_chart(
    namespace: str, definitions: list[str], settings: tuple[str, ...]
) -> None:
    objects = foreign(namespace, *settings)
    assert {each["kind"] for each in objects} == KINDS
    ran = kubectl(*DRY, stdin=yaml.safe_dump_all(objects))
    assert len(ran.out.splitlines()) == len(objects)
    assert "Warning" not in ran.err


def test_a_field_that_they_do_not_have_would_be_refused(namespace: str, definitions: list[str]) -> None:
    for each in foreign(namespace):
        ran = kubectl(*DRY, stdin=yaml.safe_dump({**each, "spec": {**each["spec"], "nobodyHasThis": 1}}), check=False)
        assert "nobodyHasThis" in ran.err, each["kind"]


def test_an_installation_with_everything_of_others_is_kept_as_it_was_rendered_and_only_the_database_stays(
    namespace: str, definitions: list[str]
) -> None:
    """No pod of it runs: the images of this release do not exist here, and nothing waits for them."""
    chosen = [f"--set={each}" for each in (*SETTINGS, f"operator.namespaces={{{namespace}}}")]
    run("helm", "install", "other", str(CHART), "-n", namespace, *chosen)
    for each in foreign(namespace):
        group, name = each["apiVersion"].partition("/")[0], each["metadata"]["name"]
        held = get(f"{each['kind']}.{group}/{name}".lower(), "-n", namespace)
        assert holds(held["spec"], each["spec"]), f"{each['kind']} lost a part of what was sent"
    run("helm", "uninstall", "other", "-n", namespace)
    kinds = ",".join(each.removeprefix("crd/") for each in definitions)
    left = kubectl("get", kinds, "-n", namespace, "-o", "name").out.split()
    assert left == ["cluster.postgresql.cnpg.io/other-store"]


def holds(held: object, sent: object) -> bool:
    """Whether everything that was sent is there; defaults may have been added."""
    if isinstance(sent, Mapping) and isinstance(held, Mapping):
        return all(name in held and holds(held[name], value) for name, value in sent.items())
    if isinstance(sent, Sequence) and isinstance(held, Sequence) and not isinstance(sent, str):
        return len(held) == len(sent) and all(holds(*pair) for pair in zip(held, sent, strict=True))
    return held == sent
