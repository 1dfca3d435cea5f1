"""The user's part of a pod: merged last, and refused where it would break a promise or open the node."""

from typing import Any

import pytest

from submodel_operator.desired import desired_pool
from submodel_operator.desired.worker_pod import pod_spec
from submodel_operator.errors import InvalidEndpoint
from submodel_operator.pod_template import merged
from tests.support.endpoints import manifest, resolved


def pod(spec: dict[str, Any], **settings: Any) -> dict[str, Any]:
    document = manifest({"image": "x", "env": [{"name": "A", "value": "1"}], "podTemplate": {"spec": spec}})
    return pod_spec(resolved(document, **settings), "pool")


def worker_of(spec: dict[str, Any]) -> dict[str, Any]:
    return next(each for each in spec["containers"] if each["name"] == "worker")


def test_fields_that_we_have_no_word_for_are_added() -> None:
    spec = pod({"priorityClassName": "high", "nodeSelector": {"disk": "ssd"}, "runtimeClassName": "nvidia"})
    assert (spec["priorityClassName"], spec["nodeSelector"], spec["runtimeClassName"]) == (
        "high", {"disk": "ssd"}, "nvidia",
    )  # fmt: skip


def test_the_users_word_wins_and_leaves_the_rest_as_it_was() -> None:
    spec = pod({"shareProcessNamespace": False, "securityContext": {"runAsUser": 1000}})
    assert spec["shareProcessNamespace"] is False
    assert (spec["securityContext"]["runAsUser"], spec["securityContext"]["runAsNonRoot"]) == (1000, True)


def test_the_container_of_the_worker_is_found_by_its_name_and_others_stand_beside_it() -> None:
    mounts = [{"name": "cache", "mountPath": "/cache"}, {"name": "big-tmp", "mountPath": "/tmp"}]
    variables = [{"name": "A", "value": "2"}, {"name": "B", "value": "3"}]
    spec = pod(
        {
            "containers": [
                {"name": "worker", "env": variables, "volumeMounts": mounts, "stdin": True},
                {"name": "proxy", "image": "proxy:1"},
            ],
            "volumes": [{"name": "cache", "emptyDir": {}}, {"name": "big-tmp", "emptyDir": {"sizeLimit": "9Gi"}}],
        }
    )
    worker = worker_of(spec)
    values = {each["name"]: each.get("value") for each in worker["env"]}
    assert (values["A"], values["B"], worker["stdin"], worker["image"]) == ("2", "3", True, "x")
    assert {each["mountPath"]: each["name"] for each in worker["volumeMounts"]} == {
        "/tmp": "big-tmp",
        "/cache": "cache",
    }
    assert [each["name"] for each in spec["containers"]] == ["worker", "proxy"]
    assert [each["name"] for each in spec["volumes"]] == ["tmp", "cache", "big-tmp"]


def test_lists_of_nameless_things_are_joined() -> None:
    assert merged({"tolerations": [{"key": "a"}]}, {"tolerations": [{"key": "b"}]}) == {
        "tolerations": [{"key": "a"}, {"key": "b"}]
    }


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels):
        value = {"a": [value]}
    return value


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"terminationGracePeriodSeconds": 1}, "spec.terminationGracePeriodSeconds: remove it; it follows jobs."),
        ({"nodeName": "n"}, "spec.nodeName: remove it; the scheduler chooses the node"),
        ({"restartPolicy": "Never"}, "spec.restartPolicy: remove it"),
        ({"containers": [{"name": "worker", "image": "y"}]}, "spec.containers[0].image: remove it; use worker.image"),
        ({"containers": [{}]}, "spec.containers[0].name: is missing; the container of the worker is called worker"),
        ({"containers": "x"}, "spec.containers: must be a list of objects"),
        ({"volumes": [1]}, "spec.volumes: must be a list of objects"),
        ({"serviceAccount": "builder"}, "spec.serviceAccount: remove it; use worker.serviceAccountName"),
        ({"volumes": [{"name": ["v"]}]}, "spec.volumes[0].name: must be a text"),
        ({"containers": [{"name": {"a": "b"}}]}, "spec.containers[0].name: must be a text"),
        (
            {"containers": [{"name": "worker", "env": [{"name": ["A"]}]}]},
            "spec.containers[0].env[0].name: must be a text",
        ),
        (
            {"containers": [{"name": "worker", "volumeMounts": [{"mountPath": {}}]}]},
            "spec.containers[0].volumeMounts[0].mountPath: must be a text",
        ),
        ({"affinity": nested(200)}, "spec: has more than 24 levels"),
        ({"tolerations": {}}, "spec.tolerations: must be a list of objects"),
        ({"containers": [{"name": "worker", "env": {"A": "1"}}]}, "spec.containers[0].env: must be a list of objects"),
        (
            {"containers": [{"name": "worker", "env": [{"name": "SUBMODEL_WORKER_ID", "value": "me"}]}]},
            "spec.containers[0].env[0].name: SUBMODEL_WORKER_ID is set by the platform; remove it",
        ),
    ],
)
def test_what_belongs_to_the_platform_is_refused_with_the_way_to_say_it(spec: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidEndpoint) as refusal:
        pod(spec, node_access=True)
    assert refusal.value.problems[0].startswith(f"spec.worker.podTemplate.{problem}")


ACCESS = [
    ({"hostNetwork": True}, "hostNetwork"),
    ({"hostPID": True}, "hostPID"),
    ({"hostIPC": True}, "hostIPC"),
    ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, "volumes[0].hostPath"),
    ({"volumes": [{"name": "v", "gitRepo": {"repository": "r"}}]}, "volumes[0].gitRepo"),
    ({"volumes": [{"name": "v", "flexVolume": {"driver": "d"}}]}, "volumes[0].flexVolume"),
    ({"containers": [{"name": "worker", "securityContext": {"privileged": True}}]}, "securityContext.privileged"),
    (
        {"initContainers": [{"name": "i", "securityContext": {"allowPrivilegeEscalation": True}}]},
        "initContainers[0].securityContext.allowPrivilegeEscalation",
    ),
    (
        {"containers": [{"name": "p", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        "containers[0].securityContext.capabilities.add",
    ),
    ({"containers": [{"name": "p", "ports": [{"hostPort": 80}]}]}, "containers[0].ports.hostPort"),
    (
        {"containers": [{"name": "p", "securityContext": {"procMount": "Unmasked"}}]},
        "containers[0].securityContext.procMount",
    ),
    (
        {"securityContext": {"windowsOptions": {"hostProcess": True}}},
        "spec.securityContext.windowsOptions.hostProcess",
    ),
    (
        {"initContainers": [{"name": "i", "securityContext": {"windowsOptions": {"hostProcess": True}}}]},
        "initContainers[0].securityContext.windowsOptions.hostProcess",
    ),
]


@pytest.mark.parametrize(("spec", "place"), ACCESS)
def test_access_to_the_node_is_refused_unless_the_installation_allows_it(spec: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidEndpoint) as refusal:
        pod(spec)
    assert f"{place}: remove it" in refusal.value.problems[0]
    assert "SUBMODEL_OPERATOR_NODE_ACCESS" in refusal.value.problems[0]
    pod(spec, node_access=True)


def template(**metadata: dict[str, str]) -> dict[str, Any]:
    return manifest({"image": "x", "podTemplate": {"metadata": metadata}})


def test_labels_and_annotations_reach_the_pods_and_make_a_new_revision() -> None:
    pool = desired_pool(resolved(template(labels={"team": "a"}, annotations={"note": "b"})))
    metadata = pool.children[-1]["spec"]["template"]["metadata"]
    assert metadata["labels"]["team"] == "a"
    assert metadata["annotations"] == {"note": "b"}
    assert pool.revision != desired_pool(resolved(manifest({"image": "x"}))).revision


@pytest.mark.parametrize("label", ["serverless.submodel.ai/endpoint", "app.kubernetes.io/managed-by"])
def test_labels_of_the_platform_are_not_the_users_to_change(label: str) -> None:
    with pytest.raises(InvalidEndpoint, match=f"{label} is set by the platform"):
        resolved(template(labels={label: "x"}))
