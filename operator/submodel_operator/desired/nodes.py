"""The part of a pod that chooses its node: affinity by labels, and a toleration for the taint of GPU nodes."""

from typing import Any

from submodel_operator.placement import NodeRule
from submodel_operator.resolve import ResolvedEndpoint

_HEAVIEST = 100


def placement(endpoint: ResolvedEndpoint) -> dict[str, Any]:
    """Fields of the pod's spec; none when any node will do."""
    fields: dict[str, Any] = {}
    if endpoint.gpu.count:
        # Nodes with GPUs are commonly tainted with the name of the resource, so that other pods stay away.
        fields["tolerations"] = [
            {"key": endpoint.gpu.resource_name, "operator": "Exists", "effect": "NoSchedule"},
        ]
    if affinity := _affinity(endpoint):
        fields["affinity"] = {"nodeAffinity": affinity}
    return fields


def _affinity(endpoint: ResolvedEndpoint) -> dict[str, Any]:
    affinity: dict[str, Any] = {}
    if rules := endpoint.placement.rules:
        term = {"matchExpressions": [_expression(rule) for rule in rules]}
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [term]}
    if preferred := endpoint.placement.preferred:
        step = _HEAVIEST // len(preferred)
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = [
            {"weight": _HEAVIEST - place * step, "preference": {"matchExpressions": [_expression(rule)]}}
            for place, rule in enumerate(preferred)
        ]
    return affinity


def _expression(rule: NodeRule) -> dict[str, Any]:
    return {"key": rule.label, "operator": "In" if rule.wanted else "NotIn", "values": list(rule.values)}
