"""Resolving an endpoint, and the settings of the operator."""

from dataclasses import replace

import pytest

from submodel.contract.internal import EndpointRegistration
from submodel_operator import settings
from submodel_operator.desired import desired_pool
from submodel_operator.errors import InvalidEndpoint, UsageError
from submodel_operator.placement import NodeRule
from submodel_operator.reconcile import gather
from submodel_operator.resolve import worker_token
from tests.support.endpoints import manifest, resolved, worker_settings

REQUIRED = {
    "SUBMODEL_OPERATOR_GATEWAY_URL": "http://gateway:8001/",
    "SUBMODEL_OPERATOR_GATEWAY_TOKEN": "secret",
    "SUBMODEL_OPERATOR_WORKER_GATEWAY_URL": "http://gateway:8000",
    "SUBMODEL_OPERATOR_WORKER_TOKEN_KEY": "key",
    "SUBMODEL_OPERATOR_RUNTIME_IMAGE": "image",
}


def test_the_grace_of_a_worker_covers_its_longest_job() -> None:
    assert resolved(manifest(jobs={"executionTimeoutMs": 600_000})).grace_seconds == 630


def test_without_an_execution_limit_the_time_to_live_bounds_the_grace() -> None:
    assert resolved(manifest(jobs={"executionTimeoutMs": 0, "ttlMs": 20_000})).grace_seconds == 50


def test_the_gateway_is_told_the_limits_of_the_jobs() -> None:
    usual = gather.registration(resolved(manifest()), ["r1"])
    unsaid = EndpointRegistration(endpoint_id="x", epoch="", generation=0)
    fields = ("max_attempts", "retry_errors", "result_ttl_seconds", "sync_result_ttl_seconds", "queued_max")
    assert [getattr(usual, name) for name in fields] == [getattr(unsaid, name) for name in fields]
    limits = {"maxAttempts": 5, "retryErrors": True, "resultTtlSeconds": 7, "syncResultTtlSeconds": 8, "maxQueued": 9}
    told = gather.registration(resolved(manifest(jobs=limits)), ["r1"])
    assert [getattr(told, name) for name in fields] == [5, True, 7, 8, 9]


def test_the_gateway_is_told_the_models_of_the_manifest_once_each() -> None:
    endpoint = resolved(manifest(openai={"models": ["b", "a", "b"]}))
    assert gather.registration(endpoint, ["r1"]).models == ["b", "a"]


def test_variables_of_the_platform_cannot_be_overridden() -> None:
    with pytest.raises(InvalidEndpoint, match=r"^spec.worker.env\[0\].name: SUBMODEL_WORKER_ID is set by the platform"):
        resolved(manifest({"image": "x", "env": [{"name": "SUBMODEL_WORKER_ID", "value": "me"}]}))


def test_worker_tokens_differ_by_revision_and_by_incarnation_of_the_endpoint() -> None:
    tokens = {worker_token(resolved(), "r1"), worker_token(resolved(), "r2"), worker_token(resolved(uid="u"), "r1")}
    assert len(tokens) == 3


@pytest.mark.parametrize(
    "change",
    [
        {"handler": {"inline": "print()"}},
        {"handler": {"inline": "pass"}, "env": [{"name": "A", "value": "1"}]},
        {"handler": {"inline": "pass"}, "resources": {"limits": {"cpu": "1"}}},
        {"image": "other"},
    ],
)
def test_every_change_of_the_worker_is_a_new_revision(change: dict[str, object]) -> None:
    assert desired_pool(resolved(manifest(change))).revision != desired_pool(resolved()).revision


def test_a_new_key_of_the_installation_is_a_new_revision() -> None:
    rotated = replace(resolved(), settings=worker_settings(token_key=b"another key"))
    assert desired_pool(rotated).revision != desired_pool(resolved()).revision


def test_a_change_of_scaling_is_no_new_revision() -> None:
    assert desired_pool(resolved(manifest(scaling={"workersMax": 9}))) == desired_pool(resolved())


def test_operator_settings_are_read_from_the_environment() -> None:
    loaded = settings.load(REQUIRED | {"SUBMODEL_OPERATOR_NAMESPACES": "a, b"})
    assert loaded.gateway_url == "http://gateway:8001"
    assert loaded.namespaces == ("a", "b")
    assert loaded.worker.public_url == "http://gateway:8000"


@pytest.mark.parametrize("missing", sorted(REQUIRED))
def test_a_missing_setting_is_named(missing: str) -> None:
    with pytest.raises(UsageError, match=f"{missing} is not set"):
        settings.load({name: value for name, value in REQUIRED.items() if name != missing})


@pytest.mark.parametrize("address", ["nonsense", "127.0.0.1:", "127.0.0.1:99999", ":8080"])
def test_a_probe_address_that_cannot_be_is_named(address: str) -> None:
    with pytest.raises(UsageError, match="SUBMODEL_OPERATOR_PROBE_LISTEN must be host:port"):
        settings.load(REQUIRED | {"SUBMODEL_OPERATOR_PROBE_LISTEN": address})


def test_a_credential_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UsageError, match="SUBMODEL_OPERATOR_GATEWAY_TOKEN_FILE cannot be read: No such file"):
        settings.load(REQUIRED | {"SUBMODEL_OPERATOR_GATEWAY_TOKEN_FILE": "/does/not/exist"})


def test_a_number_of_workers_that_the_user_set_is_fewest_and_most() -> None:
    scaling = resolved(manifest(scaling={"replicas": 2, "workersMin": 1})).scaling
    assert (scaling.workers_min, scaling.workers_max) == (2, 2)


def test_what_else_would_add_or_keep_workers_has_no_say_over_a_number_that_the_user_set() -> None:
    schedules = [{"cron": "0 8 * * *", "workersMin": 3}]
    wishes = {"standby": 2, "maxSurge": 1, "stabilizationSeconds": 60, "schedules": schedules}
    scaling = resolved(manifest(scaling={"replicas": 1, **wishes})).scaling
    assert (scaling.standby, scaling.max_surge, scaling.stabilization_seconds, scaling.schedules) == (0, None, 0, ())


def test_a_suspended_endpoint_has_no_workers_whatever_was_set() -> None:
    scaling = resolved(manifest(suspend=True, scaling={"replicas": 2})).scaling
    assert (scaling.workers_min, scaling.workers_max) == (0, 0)


LABELS = settings.NodeLabels({"AMPERE_80": ("A100-SXM4", "A100-PCIe"), "ADA_24": ("RTX-4090",)}, cuda="cuda")


def test_names_of_gpus_are_translated_into_values_of_the_node_label() -> None:
    document = manifest(gpu={"count": 1, "types": ["ADA_24", "AMPERE_80"], "allowedCudaVersions": ["12.4"]})
    found = resolved(document, node_labels=LABELS).placement
    assert found.rules == (
        NodeRule("nvidia.com/gpu.product", ("RTX-4090", "A100-SXM4", "A100-PCIe")),
        NodeRule("cuda", ("12.4",)),
    )
    assert [rule.values for rule in found.preferred] == [("RTX-4090",), ("A100-SXM4", "A100-PCIe")]
    assert found.warnings == ()


def test_a_gpu_that_the_installation_does_not_know_is_named_with_those_it_knows() -> None:
    with pytest.raises(InvalidEndpoint) as refusal:
        resolved(manifest(gpu={"count": 1, "types": ["ADA_24", "B200"]}), node_labels=LABELS)
    assert refusal.value.problems == (
        "spec.gpu.types[1]: B200 is no GPU type of this installation; use one of ADA_24, AMPERE_80",
    )


def test_labels_of_nodes_are_read_from_the_environment() -> None:
    loaded = settings.load(REQUIRED | {"SUBMODEL_OPERATOR_GPU_TYPES": '{"A100": ["x", "y"]}'})
    assert loaded.worker.node_labels.gpu_types == {"A100": ("x", "y")}
    assert loaded.worker.node_labels.gpu == "nvidia.com/gpu.product"


@pytest.mark.parametrize("text", ["x", "[1]", '{"A": "x"}', '{"A": []}', '{"A": [1]}', '{"A": 3}'])
def test_a_list_of_gpus_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    if text == '{"A": "x"}':
        text = '{"A": {"x": 1}, "B": []}'
    with pytest.raises(UsageError, match="SUBMODEL_OPERATOR_GPU_TYPES must be JSON such as"):
        settings.load(REQUIRED | {"SUBMODEL_OPERATOR_GPU_TYPES": text})
