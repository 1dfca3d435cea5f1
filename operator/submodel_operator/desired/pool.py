"""A pool: the Deployment of one revision with the Secret and ConfigMap that its pods mount.

The revision is the hash of everything that makes a worker what it is. So a pool's pod template never changes, and
Kubernetes never replaces a pod because of a rollout: a change starts a second pool, and the first is drained.
"""

import base64
from dataclasses import dataclass
from typing import Any

from submodel_operator.desired import names
from submodel_operator.desired.worker_pod import has_derived_token, pod_metadata, pod_spec
from submodel_operator.ports import Manifest
from submodel_operator.resolve import ResolvedEndpoint, worker_token


@dataclass(frozen=True, slots=True)
class DesiredPool:
    """The pool that takes new jobs. `children` are in the order in which they must be applied."""

    name: str
    revision: str
    hash: str
    """Changes with any child; every child carries it as an annotation, so an equal hash spares the apply."""

    children: tuple[Manifest, ...]


def desired_pool(endpoint: ResolvedEndpoint) -> DesiredPool:
    """The pool of the endpoint's present revision."""
    revision = _revision(endpoint)
    children = [_deployment(endpoint, revision)]
    if has_derived_token(endpoint):
        children.insert(0, _credential(endpoint, revision))
    if endpoint.handler_source is not None:
        children.insert(0, _handler(endpoint, revision, endpoint.handler_source))
    pool_hash = names.canonical_hash(children)
    return DesiredPool(
        name=names.pool_name(endpoint, revision),
        revision=revision,
        hash=pool_hash,
        children=tuple(names.annotated(child, pool_hash) for child in children),
    )


def _revision(endpoint: ResolvedEndpoint) -> str:
    """The token is part of it: when the installation's key changes, workers start anew with tokens of the new one."""
    identity = [endpoint.uid, worker_token(endpoint, revision="")]
    content = [endpoint.handler_source, pod_spec(endpoint, pool="")]
    more = [endpoint.reference_digest, pod_metadata(endpoint, {})]
    return names.canonical_hash([identity, *content, *(each for each in more if each not in ("", {"labels": {}}))])


def _handler(endpoint: ResolvedEndpoint, revision: str, source: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(endpoint, revision),
        "immutable": True,
        "data": {names.HANDLER_KEY: source},
    }


def _credential(endpoint: ResolvedEndpoint, revision: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.metadata(endpoint, revision),
        "type": "Opaque",
        "immutable": True,
        "data": {names.TOKEN_KEY: base64.b64encode(worker_token(endpoint, revision).encode()).decode()},
    }


def _deployment(endpoint: ResolvedEndpoint, revision: str) -> dict[str, Any]:
    """Without `replicas`: the count is written through the scale subresource alone."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(endpoint, revision),
        "spec": {
            "revisionHistoryLimit": 0,
            "selector": {"matchLabels": names.selector_labels(endpoint, revision)},
            "template": {
                "metadata": pod_metadata(endpoint, names.labels(endpoint, revision)),
                "spec": pod_spec(endpoint, names.pool_name(endpoint, revision)),
            },
        },
    }
