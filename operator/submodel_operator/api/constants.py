"""Names that belong to the API: group, kind, labels and annotations."""

from typing import Final

GROUP: Final = "serverless.submodel.ai"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "SubModelEndpoint"
PLURAL: Final = "submodelendpoints"
SINGULAR: Final = "submodelendpoint"
SHORT_NAME: Final = "sme"
CATEGORIES: Final = ("all", "submodel")

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "submodel-operator"
"""Every child carries it; the operator's watches select by it on the server."""

ENDPOINT_LABEL: Final = f"{GROUP}/endpoint"
"""Name of the endpoint a child belongs to."""

REVISION_LABEL: Final = f"{GROUP}/revision"
"""Hash of the worker template; one pool has one revision."""

DESIRED_HASH_ANNOTATION: Final = f"{GROUP}/desired-hash"
"""Hash of the child as the operator wanted it last; an equal hash spares the apply."""

SAFE_TO_EVICT_ANNOTATION: Final = "cluster-autoscaler.kubernetes.io/safe-to-evict"
DO_NOT_DISRUPT_ANNOTATION: Final = "karpenter.sh/do-not-disrupt"
DELETION_COST_ANNOTATION: Final = "controller.kubernetes.io/pod-deletion-cost"
VICTIM_COST: Final = "-2147483648"
"""The lowest there is: whatever others write, a worker that was chosen goes first."""

SCALE_MANAGER: Final = "submodel-operator-scale"
"""Whose the count of a Deployment is."""

"""Kubernetes removes pods of lower cost first; set on confirmed-empty workers right before a shrink."""
