"""The pod of a worker: hardened by default, with the environment that the runtime needs."""

from collections.abc import Mapping
from typing import Any

from submodel.contract import env, legacy_env
from submodel_operator.api.base import Model
from submodel_operator.desired import names, nodes
from submodel_operator.pod_template import WORKER_CONTAINER, merged
from submodel_operator.resolve import ResolvedEndpoint

RUN_AS_USER = 65532
"""An unprivileged uid that no image uses for anything."""


TOKEN_SECONDS = 3600
"""The kubelet renews a token after four fifths of this. So workers go on for at least twelve minutes without an API
server that could make or review one."""

HOSTED_VOLUME_PATHS = ("/runpod-volume", "/submodel-volume", "/workspace")
"""Where images made for the hosted platforms look for the network volume."""


def pod_spec(endpoint: ResolvedEndpoint, pool: str) -> dict[str, Any]:
    """Spec of a worker pod. `pool` names the Secret and the ConfigMap it mounts."""
    spec: dict[str, Any] = {
        # With a process namespace of its own, a shell or an old SDK as PID 1 ignores SIGTERM and an idle worker
        # would hold its GPU for the whole grace.
        "shareProcessNamespace": True,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": endpoint.grace_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": RUN_AS_USER,
            "runAsGroup": RUN_AS_USER,
            "fsGroup": RUN_AS_USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_container(endpoint, pool)],
        "volumes": _volumes(endpoint, pool),
        **nodes.placement(endpoint),
    }
    if endpoint.image_pull_secrets:
        spec["imagePullSecrets"] = [{"name": name} for name in endpoint.image_pull_secrets]
    if endpoint.service_account_name:
        spec["serviceAccountName"] = endpoint.service_account_name
    return merged(spec, endpoint.pod_template.spec)


def pod_metadata(endpoint: ResolvedEndpoint, labels: Mapping[str, str]) -> dict[str, Any]:
    """Metadata of a worker pod: `labels`, and those of the user."""
    users = endpoint.pod_template.metadata
    metadata: dict[str, Any] = {"labels": {**users.labels, **labels}}
    if users.annotations:
        metadata["annotations"] = dict(users.annotations)
    return metadata


def _container(endpoint: ResolvedEndpoint, pool: str) -> dict[str, Any]:
    bundled = endpoint.handler_source is not None
    container: dict[str, Any] = {
        "name": WORKER_CONTAINER,
        "image": endpoint.image,
        "env": _environment(endpoint, pool),
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": bundled,  # images of others may write where they like
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    if bundled:
        container["args"] = [f"{names.HANDLER_FOLDER}/{names.HANDLER_KEY}"]
        container["volumeMounts"].append({"name": "handler", "mountPath": names.HANDLER_FOLDER, "readOnly": True})
    if endpoint.settings.token_audience:
        container["volumeMounts"].append({"name": "token", "mountPath": names.TOKEN_FOLDER, "readOnly": True})
    container["volumeMounts"] += _network_mounts(endpoint)
    for word, value in (("command", endpoint.command), ("args", endpoint.args)):
        if value:
            container[word] = list(value)
    if endpoint.env_from:
        container["envFrom"] = [_dumped(source) for source in endpoint.env_from]
    if resources := _resources(endpoint):
        container["resources"] = resources
    return container


def _environment(endpoint: ResolvedEndpoint, pool: str) -> list[dict[str, Any]]:
    variables = [*_native_environment(endpoint, pool), *(_dumped(variable) for variable in endpoint.env)]
    if endpoint.handler_source is None:
        variables += _legacy_environment(endpoint, pool)
    by_name: dict[str, dict[str, Any]] = {}
    for variable in variables:  # the API server takes each name once
        by_name.setdefault(variable["name"], variable)
    return list(by_name.values())


def has_derived_token(endpoint: ResolvedEndpoint) -> bool:
    """Whether workers are given one: images of others can use no other, the bundled runtime needs none beside its
    pod's own."""
    return endpoint.handler_source is None or not endpoint.settings.token_audience


def _native_environment(endpoint: ResolvedEndpoint, pool: str) -> list[dict[str, Any]]:
    tokens: list[dict[str, Any]] = []
    if has_derived_token(endpoint):
        tokens.append({"name": env.WORKER_TOKEN, **_token(pool)})
    if endpoint.settings.token_audience:
        tokens.append({"name": env.WORKER_TOKEN_FILE, "value": f"{names.TOKEN_FOLDER}/{names.TOKEN_KEY}"})
    return [
        {"name": env.GATEWAY_URL, "value": endpoint.settings.gateway_url},
        {"name": env.ENDPOINT_ID, "value": endpoint.endpoint_id},
        {"name": env.WORKER_ID, **_pod_name()},
        *tokens,
        {"name": env.CONCURRENCY, "value": str(endpoint.scaling.concurrency)},
        {"name": env.DRAIN_SECONDS, "value": str(endpoint.drain_seconds)},
    ]


def _legacy_environment(endpoint: ResolvedEndpoint, pool: str) -> list[dict[str, Any]]:
    """For images of others, whatever SDK they are made with."""
    variables: list[dict[str, Any]] = []
    for prefix in legacy_env.PREFIXES:
        settings = legacy_env.settings(prefix, endpoint.settings.gateway_url, endpoint.endpoint_id)
        variables += [{"name": name, "value": value} for name, value in settings.items()]
        variables += [
            {"name": prefix + legacy_env.API_KEY, **_token(pool)},
            {"name": prefix + legacy_env.POD_ID, **_pod_name()},
            {"name": prefix + legacy_env.POD_HOSTNAME, **_pod_name()},
        ]
    return variables + [{"name": name, "value": value} for name, value in legacy_env.DEFAULTS.items()]


def _pod_name() -> dict[str, Any]:
    return {"valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


def _token(pool: str) -> dict[str, Any]:
    return {"valueFrom": {"secretKeyRef": {"name": pool, "key": names.TOKEN_KEY}}}


def _dumped(part: Model) -> dict[str, Any]:
    """A part of the spec that has the shape of core/v1, as it is."""
    dumped: dict[str, Any] = part.model_dump(by_alias=True, exclude_none=True)
    return dumped


def _resources(endpoint: ResolvedEndpoint) -> dict[str, Any]:
    limits = dict(endpoint.limits)
    if endpoint.gpu.count:
        limits[endpoint.gpu.resource_name] = str(endpoint.gpu.count)
    parts = {"requests": dict(endpoint.requests), "limits": limits}
    return {name: quantities for name, quantities in parts.items() if quantities}


def _network_mounts(endpoint: ResolvedEndpoint) -> list[dict[str, Any]]:
    volume = endpoint.network_volume
    if volume is None:
        return []
    paths = (volume.mount_path,) if volume.mount_path else HOSTED_VOLUME_PATHS
    return [{"name": "network-volume", "mountPath": path, "readOnly": volume.read_only} for path in paths]


def _volumes(endpoint: ResolvedEndpoint, pool: str) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [{"name": "tmp", "emptyDir": {}}]
    if endpoint.handler_source is not None:
        volumes.append({"name": "handler", "configMap": {"name": pool}})
    if audience := endpoint.settings.token_audience:
        token = {"audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": names.TOKEN_KEY}
        volumes.append({"name": "token", "projected": {"sources": [{"serviceAccountToken": token}]}})
    if volume := endpoint.network_volume:
        claim = {"claimName": volume.claim_name, "readOnly": volume.read_only}
        volumes.append({"name": "network-volume", "persistentVolumeClaim": claim})
    return volumes
