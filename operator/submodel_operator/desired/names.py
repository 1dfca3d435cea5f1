"""Names and labels of all children, in one place."""

import hashlib
import json
from typing import Any, Final

from submodel_operator.api import constants
from submodel_operator.resolve import ResolvedEndpoint

HANDLER_KEY: Final = "handler.py"
HANDLER_FOLDER: Final = "/submodel/handler"
TOKEN_KEY: Final = "token"
TOKEN_FOLDER: Final = "/submodel/token"


def canonical_hash(value: Any) -> str:
    """Ten hex digits that change with the content, not with the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def pool_name(endpoint: ResolvedEndpoint, revision: str) -> str:
    """Name shared by the Deployment, ConfigMap and Secret of one revision."""
    return f"{endpoint.key.name}-{revision}"


def selector_labels(endpoint: ResolvedEndpoint, revision: str) -> dict[str, str]:
    """What selects the pods of one pool; immutable, so minimal."""
    return {constants.ENDPOINT_LABEL: endpoint.key.name, constants.REVISION_LABEL: revision}


def labels(endpoint: ResolvedEndpoint, revision: str) -> dict[str, str]:
    """Labels of every child."""
    return {
        "app.kubernetes.io/name": "submodel-worker",
        "app.kubernetes.io/instance": endpoint.key.name,
        "app.kubernetes.io/component": "worker",
        "app.kubernetes.io/part-of": "submodel",
        constants.MANAGED_BY_LABEL: constants.MANAGED_BY,
        **selector_labels(endpoint, revision),
    }


def metadata(endpoint: ResolvedEndpoint, revision: str) -> dict[str, Any]:
    """Metadata of a child: named after its pool, owned by the endpoint, so the garbage collector removes it."""
    return {
        "name": pool_name(endpoint, revision),
        "namespace": endpoint.key.namespace,
        "labels": labels(endpoint, revision),
        "ownerReferences": [
            {
                "apiVersion": constants.API_VERSION,
                "kind": constants.KIND,
                "name": endpoint.key.name,
                "uid": endpoint.uid,
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }


def annotated(manifest: dict[str, Any], pool_hash: str) -> dict[str, Any]:
    """The manifest with the hash of its pool as an annotation."""
    annotations = {constants.DESIRED_HASH_ANNOTATION: pool_hash}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}
