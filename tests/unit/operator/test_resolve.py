"""Resolving an endpoint, and the settings of the operator."""

from dataclasses import replace

import pytest

from submodel_operator import settings
from submodel_operator.desired import desired_pool
from submodel_operator.errors import InvalidEndpoint, UsageError
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
