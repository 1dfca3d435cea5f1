"""The rights that the chart gives, and the definition that it carries."""

import json
from collections.abc import Mapping
from typing import Any

import yaml

from submodel_operator.api import crd
from tests.support.helm import CHART, find, kinds, render

ROOT = CHART.parents[1]

DEFINITION = {("apiextensions.k8s.io", "customresourcedefinitions"): {"get"}}
SERVED = {
    ("serverless.submodel.ai", "submodelendpoints"): {"get", "list", "watch"},
    ("serverless.submodel.ai", "submodelendpoints/status"): {"patch"},
    ("serverless.submodel.ai", "submodelendpoints/finalizers"): {"update"},
    ("apps", "deployments"): {"get", "list", "watch", "create", "patch", "delete"},
    ("apps", "deployments/scale"): {"patch"},
    ("", "pods"): {"list", "watch", "patch", "delete"},
    ("", "configmaps"): {"get", "create", "patch", "delete"},
    ("", "secrets"): {"get", "create", "patch", "delete"},
    ("", "events"): {"create", "patch"},
}


def operators(kind: str, *settings: str) -> list[dict[str, Any]]:
    """The objects of a kind that are the operator's; the pod of `helm test` has its own."""
    return [each for each in kinds(kind, *settings) if each["metadata"]["name"].endswith("-operator")]


def rights(role: Mapping[str, Any]) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_the_operator_has_the_rights_it_needs_and_no_others() -> None:
    role = find("ClusterRole", "team-demo-operator")
    assert rights(role) == {**DEFINITION, **SERVED}
    assert role["rules"][0]["resourceNames"] == [crd.NAME]
    assert not operators("Role")


def test_the_gateway_may_ask_about_tokens_and_do_nothing_else() -> None:
    assert rights(find("ClusterRole", "team-demo-gateway")) == {
        ("authentication.k8s.io", "tokenreviews"): {"create"},
    }
    (binding,) = [each for each in kinds("ClusterRoleBinding") if each["metadata"]["name"] == "team-demo-gateway"]
    assert binding["roleRef"]["name"] == "team-demo-gateway"
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "demo-gateway", "namespace": "team"}]
    assert find("StatefulSet", "demo-gateway")["spec"]["template"]["spec"]["serviceAccountName"] == "demo-gateway"


def test_a_gateway_that_reviews_no_tokens_has_no_rights_at_all() -> None:
    without = "workerTokens.tokenReview=false"
    for kind in ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"):
        assert not [each for each in kinds(kind, without) if each["metadata"]["name"].endswith("-gateway")]


def test_an_operator_of_some_namespaces_has_rights_in_these_alone() -> None:
    some = "operator.namespaces={a,b}"
    assert rights(find("ClusterRole", "team-demo-operator", some)) == DEFINITION
    assert {role["metadata"]["namespace"]: rights(role) for role in operators("Role", some)} == {
        "a": SERVED,
        "b": SERVED,
    }
    assert [binding["metadata"]["namespace"] for binding in operators("RoleBinding", some)] == ["a", "b"]


def test_every_binding_joins_the_operators_account_to_a_role_that_exists() -> None:
    some = "operator.namespaces={a,b}"
    roles = {(r["kind"], r["metadata"]["name"], r["metadata"].get("namespace")) for r in render(some)}
    bindings = [*operators("RoleBinding", some), *operators("ClusterRoleBinding", some)]
    assert len(bindings) == 3
    for binding in bindings:
        assert (binding["roleRef"]["kind"], binding["roleRef"]["name"], binding["metadata"].get("namespace")) in roles
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "demo-operator", "namespace": "team"}]
    assert ("ServiceAccount", "demo-operator", "team") in roles
    assert find("Deployment", "demo-operator")["spec"]["template"]["spec"]["serviceAccountName"] == "demo-operator"


def test_no_role_holds_a_wildcard() -> None:
    for role in [*kinds("ClusterRole"), *kinds("Role", "operator.namespaces={a}")]:
        assert "*" not in json.dumps(role["rules"])


def test_viewers_see_endpoints_and_editors_change_them() -> None:
    view, edit = find("ClusterRole", "team-demo-endpoints-view"), find("ClusterRole", "team-demo-endpoints-edit")
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    assert {label for label in view["metadata"]["labels"] if label.startswith(aggregate)} == {
        f"{aggregate}{role}" for role in ("view", "edit", "admin")
    }
    assert f"{aggregate}view" not in edit["metadata"]["labels"]
    assert rights(view)["serverless.submodel.ai", "submodelendpoints"] == {"get", "list", "watch"}
    assert rights(edit)["serverless.submodel.ai", "submodelendpoints/scale"] == {"update", "patch"}
    assert "create" in rights(edit)["serverless.submodel.ai", "submodelendpoints"]
    assert {role["metadata"]["name"] for role in kinds("ClusterRole", "rbac.aggregateRoles=false")} == {
        "team-demo-gateway",
        "team-demo-operator",
    }


def test_the_definition_is_that_of_the_crds_folder_and_survives_an_uninstall() -> None:
    rendered = find("CustomResourceDefinition", crd.NAME)
    plain = yaml.safe_load((ROOT / crd.MANIFEST_PATH).read_text(encoding="utf-8"))
    assert rendered["metadata"] == {**plain["metadata"], "annotations": {"helm.sh/resource-policy": "keep"}}
    assert rendered["spec"] == plain["spec"]


def test_the_definition_can_be_left_out_and_left_to_helm() -> None:
    assert not kinds("CustomResourceDefinition", "crds.enabled=false")
    assert "annotations" not in find("CustomResourceDefinition", crd.NAME, "crds.keep=false")["metadata"]
