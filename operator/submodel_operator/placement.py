"""Which nodes may run the workers of an endpoint, as rules over node labels. Pure; part of `resolve`.

The names that endpoints use are not those of nodes: the installation's settings translate them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from submodel_operator.api.hardware import Gpu, Placement
from submodel_operator.errors import InvalidEndpoint
from submodel_operator.settings import NodeLabels


@dataclass(frozen=True, slots=True)
class NodeRule:
    """A node's label must, or must not, have one of the values."""

    label: str
    values: tuple[str, ...]
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class ResolvedPlacement:
    """Where workers may run."""

    rules: tuple[NodeRule, ...] = ()
    """All of them must hold."""

    preferred: tuple[NodeRule, ...] = ()
    """What is liked best comes first."""

    warnings: tuple[str, ...] = ()
    """What was asked for and cannot be looked for on these nodes."""


def resolve_placement(gpu: Gpu, placement: Placement, labels: NodeLabels) -> ResolvedPlacement:
    """The rules for nodes.

    Raises:
        InvalidEndpoint: a GPU type is none of those that the installation knows.
    """
    _refuse_unknown(gpu, labels)
    types = [_values((name,), labels) for name in gpu.types]
    rules, warnings = [], []
    if types:
        rules.append(NodeRule(labels.gpu, _values(gpu.types, labels)))
    if gpu.excluded_types:
        rules.append(NodeRule(labels.gpu, _values(gpu.excluded_types, labels), wanted=False))
    if gpu.allowed_cuda_versions and labels.cuda:
        rules.append(NodeRule(labels.cuda, tuple(gpu.allowed_cuda_versions)))
    elif gpu.allowed_cuda_versions:
        warnings.append(
            "spec.gpu.allowedCudaVersions: any version is taken, because this installation names no node label that "
            "tells CUDA versions (chart value nodes.cudaLabel)"
        )
    if placement.data_centers:
        rules.append(NodeRule(labels.data_center, tuple(placement.data_centers)))
    preferred = tuple(NodeRule(labels.gpu, values) for values in types) if len(types) > 1 else ()
    return ResolvedPlacement(tuple(rules), preferred, tuple(warnings))


def _values(names: Iterable[str], labels: NodeLabels) -> tuple[str, ...]:
    return tuple(value for name in names for value in labels.gpu_types.get(name, (name,)))


def _refuse_unknown(gpu: Gpu, labels: NodeLabels) -> None:
    if not labels.gpu_types:
        return
    known = ", ".join(sorted(labels.gpu_types))
    problems = [
        f"spec.gpu.{field}[{index}]: {name} is no GPU type of this installation; use one of {known}"
        for field, names in _named(gpu)
        for index, name in enumerate(names)
        if name not in labels.gpu_types
    ]
    if problems:
        raise InvalidEndpoint(problems)


def _named(gpu: Gpu) -> tuple[tuple[str, Sequence[str]], ...]:
    return ("types", gpu.types), ("excludedTypes", gpu.excluded_types)
