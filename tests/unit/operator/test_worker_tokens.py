"""What a worker's pod shows to the gateway, and what the gateway is told of it."""

from typing import Any

import pytest

from submodel.contract import env
from submodel_operator.desired import desired_pool
from submodel_operator.reconcile import gather
from tests.support.endpoints import KEY, manifest, resolved

AUDIENCE = "submodel-gateway.test"
IMAGE = {"image": "theirs"}


def deployment(document: dict[str, Any], **settings: Any) -> dict[str, Any]:
    children = desired_pool(resolved(document, **settings)).children
    return next(dict(child) for child in children if child["kind"] == "Deployment")


def pod(document: dict[str, Any], **settings: Any) -> dict[str, Any]:
    spec: dict[str, Any] = deployment(document, **settings)["spec"]["template"]["spec"]
    return spec


def variables(spec: dict[str, Any]) -> dict[str, Any]:
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in spec["containers"][0]["env"]}


def kinds(document: dict[str, Any], **settings: Any) -> list[str]:
    return [child["kind"] for child in desired_pool(resolved(document, **settings)).children]


@pytest.mark.parametrize("document", [manifest(), manifest(IMAGE)], ids=["handler", "image"])
def test_every_pod_has_a_token_of_its_own_for_the_gateway_alone(document: dict[str, Any]) -> None:
    spec = pod(document, token_audience=AUDIENCE)
    (volume,) = [each for each in spec["volumes"] if "projected" in each]
    (source,) = volume["projected"]["sources"]
    assert source == {"serviceAccountToken": {"audience": AUDIENCE, "expirationSeconds": 3600, "path": "token"}}
    (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["name"] == volume["name"]]
    assert mount["readOnly"]
    assert variables(spec)[env.WORKER_TOKEN_FILE] == f"{mount['mountPath']}/token"
    assert spec["automountServiceAccountToken"] is False, "the token for the API server stays out"


def test_the_bundled_runtime_needs_no_other_token_and_images_of_others_do() -> None:
    assert env.WORKER_TOKEN not in variables(pod(manifest(), token_audience=AUDIENCE))
    assert kinds(manifest(), token_audience=AUDIENCE) == ["ConfigMap", "Deployment"]
    image = variables(pod(manifest(IMAGE), token_audience=AUDIENCE))
    assert image[env.WORKER_TOKEN] == image["RUNPOD_AI_API_KEY"]
    assert kinds(manifest(IMAGE), token_audience=AUDIENCE) == ["Secret", "Deployment"]


def test_without_an_audience_pods_have_derived_tokens_alone() -> None:
    assert env.WORKER_TOKEN_FILE not in variables(pod(manifest()))
    assert not [volume for volume in pod(manifest())["volumes"] if "projected" in volume]
    assert kinds(manifest()) == ["ConfigMap", "Secret", "Deployment"]


def test_another_audience_is_a_new_revision() -> None:
    assert desired_pool(resolved(token_audience=AUDIENCE)).revision != desired_pool(resolved()).revision


def test_the_gateway_is_told_whose_pods_are_workers_of_which_revision() -> None:
    endpoint = resolved(token_audience=AUDIENCE)
    told = gather.registration(endpoint, ["r1", "r2"])
    assert [(each.revision, each.namespace, each.deployment) for each in told.worker_pools] == [
        (revision, KEY.namespace, f"{KEY.name}-{revision}") for revision in ("r1", "r2")
    ]
    assert [each.revision for each in told.worker_tokens] == ["r1", "r2"], "workers from before the audience go on"
    assert deployment(manifest(), token_audience=AUDIENCE)["metadata"]["name"] == (
        gather.registration(endpoint, [desired_pool(endpoint).revision]).worker_pools[0].deployment
    )
    assert gather.registration(resolved(), ["r1"]).worker_pools == []
