"""`helm test`: the pod, and how little it may do."""

from typing import Any

import pytest

from tests.support.helm import CHART, find, kinds, render

NAME = "demo-test"
PROGRAM = (CHART / "files/end_to_end.py").read_text(encoding="utf-8")


def pod(*settings: str) -> dict[str, Any]:
    return find("Pod", NAME, *settings)


def container(*settings: str) -> dict[str, Any]:
    (only,) = pod(*settings)["spec"]["containers"]
    found: dict[str, Any] = only
    return found


def environment(*settings: str) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container(*settings)["env"]}


def rules(*settings: str) -> set[tuple[str, str, tuple[str, ...]]]:
    """Verb, resource and names of everything that the role allows."""
    (role,) = [each for each in kinds("Role", *settings) if each["metadata"]["name"] == "team-demo-test"]
    return {
        (verb, resource, tuple(rule.get("resourceNames", ())))
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_pod_may_make_an_endpoint_and_see_and_delete_its_own() -> None:
    endpoints = "submodelendpoints"
    assert rules() == {("create", endpoints, ()), ("get", endpoints, (NAME,)), ("delete", endpoints, (NAME,))}
    (binding,) = [each for each in kinds("RoleBinding") if each["metadata"]["name"] == "team-demo-test"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": "team"}]
    assert pod()["spec"]["serviceAccountName"] == NAME
    assert environment()["TEST_NAME"] == NAME


def test_the_endpoint_is_made_where_the_operator_looks() -> None:
    for settings, namespace in (((), "team"), (("operator.namespaces={a,b}",), "a")):
        (role,) = [each for each in kinds("Role", *settings) if each["metadata"]["name"] == "team-demo-test"]
        assert role["metadata"]["namespace"] == environment(*settings)["TEST_NAMESPACE"] == namespace
        assert pod(*settings)["metadata"]["namespace"] == "team"


def test_only_the_pod_is_made_for_the_test_because_helm_takes_all_that_is_for_pods() -> None:
    hooks = [each for each in render() if "helm.sh/hook" in each["metadata"].get("annotations", {})]
    assert [each["kind"] for each in hooks] == ["Pod"]
    assert hooks[0]["metadata"]["annotations"]["helm.sh/hook-delete-policy"] == "before-hook-creation"


def test_the_program_is_that_of_the_chart_and_reads_what_it_is_given() -> None:
    assert container()["command"] == ["python", "-c"]
    assert container()["args"] == [PROGRAM]
    settings = ("imagePullSecrets[0].name=a", "imagePullSecrets[1].name=b")
    assert environment(*settings)["TEST_PULL_SECRETS"] == "a,b"
    for name in environment(*settings):
        assert f"`{name}`" in PROGRAM


def test_the_image_is_the_operators() -> None:
    (operator,) = find("Deployment", "demo-operator")["spec"]["template"]["spec"]["containers"]
    assert container()["image"] == operator["image"]


@pytest.mark.parametrize(
    ("settings", "secret"),
    [
        ((), "demo-api-key"),
        (("auth.existingSecret=keys", "test.apiKeySecret=mine"), "mine"),
        (("auth.existingSecret=keys",), None),
        (("auth.mode=None",), None),
    ],
)
def test_the_key_is_the_generated_one_or_the_one_that_is_named(settings: tuple[str, ...], secret: str | None) -> None:
    expected = {"secretKeyRef": {"name": secret, "key": "api-key"}} if secret else None
    assert environment(*settings).get("SUBMODEL_API_KEY") == expected


def test_the_pod_keeps_the_restricted_standard() -> None:
    assert pod()["spec"]["securityContext"]["runAsNonRoot"] is True
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_program_ends_before_its_pod_is_ended() -> None:
    settings = ("test.timeoutSeconds=100",)
    assert environment(*settings)["TEST_SECONDS"] == "100"
    assert pod(*settings)["spec"]["activeDeadlineSeconds"] > 100


def test_without_the_test_nothing_of_it_is_made() -> None:
    assert not [each for each in render("test.enabled=false") if NAME in each["metadata"]["name"]]
