"""Holds the operator at one step of a scale-in: the API server refuses what the step after it would write.

So an operator can be killed at an instant that is otherwise over within milliseconds, without any switch in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

from submodel_operator.api.constants import DELETION_COST_ANNOTATION as COST
from tests.cluster.kubernetes import kubectl

NAME = "submodel-test-holds"
HOLD = "serverless.submodel.ai/hold"
ONLY = "serverless.submodel.ai/hold-only"
MARK, UNMARK, SHRINK = "mark", "unmark", "shrink"

_VARIABLES = {
    "labels": "namespaceObject.metadata.labels",
    "hold": f"variables.labels['{HOLD}']",
    "meant": f"!('{ONLY}' in variables.labels) || variables.labels['{ONLY}'] == object.metadata.name",
    "was": f"has(oldObject.metadata.annotations) && '{COST}' in oldObject.metadata.annotations",
    "is": f"has(object.metadata.annotations) && '{COST}' in object.metadata.annotations",
    "before": "has(oldObject.spec.replicas) ? oldObject.spec.replicas : 0",
    "after": "has(object.spec.replicas) ? object.spec.replicas : 0",
}
_REFUSED = {
    "pods": f"(variables.hold == '{MARK}' && variables.is && !variables.was && variables.meant)"
    f" || (variables.hold == '{UNMARK}' && variables.was && !variables.is)",
    "deployments": f"variables.hold == '{SHRINK}' && variables.after < variables.before",
    "configmaps": "object.metadata.name == 'probe-' + variables.hold",
}

WORDS = {"pods": "the mark of a pod", "deployments": "the count of a Deployment", "configmaps": "its own probe"}


def _policy() -> list[dict[str, Any]]:
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": NAME}}
    rules = (("", "pods", "UPDATE"), ("apps", "deployments/scale", "UPDATE"), ("", "configmaps", "CREATE"))
    resources = [
        {"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource], "operations": [operation]}
        for group, resource, operation in rules
    ]
    policy = {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "namespaceSelector": {"matchExpressions": [{"key": HOLD, "operator": "Exists"}]},
            "resourceRules": resources,
        },
        "variables": [{"name": name, "expression": words} for name, words in _VARIABLES.items()],
        "validations": [
            {
                "expression": f"request.resource.resource != '{resource}' || !({refused})",
                "message": f"a test holds {WORDS[resource]}",
            }
            for resource, refused in _REFUSED.items()
        ],
    }
    binding = {"policyName": NAME, "validationActions": ["Deny"]}
    return [
        {**kind, "kind": "ValidatingAdmissionPolicy", "spec": policy},
        {**kind, "kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
    ]


@contextmanager
def holds() -> Iterator[None]:
    """The policy, for as long as the context lasts."""
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(_policy()))
    try:
        yield
    finally:
        both = (f"validatingadmissionpolicybinding/{NAME}", f"validatingadmissionpolicy/{NAME}")
        kubectl("delete", *both)


def hold(namespace: str, what: str, only: str = "") -> None:
    """Refuse this in the namespace, and with `only` for this pod alone, from the return on."""
    kubectl("label", "--overwrite", "namespace", namespace, f"{HOLD}={what}", f"{ONLY}={only}" if only else f"{ONLY}-")
    probe = ("create", "configmap", f"probe-{what}", "-n", namespace, "--dry-run=server")
    while WORDS["configmaps"] not in kubectl(*probe, check=False).err:
        pass


def release_hold(namespace: str) -> None:
    """Refuse nothing any more."""
    kubectl("label", "namespace", namespace, f"{HOLD}-", f"{ONLY}-")
