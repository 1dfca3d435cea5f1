"""The user's part of a pod: what it may hold, and how it is merged into ours. Pure; the way out of our few fields.

Objects are merged field by field, lists of named things by name, other lists are joined, and anything else is replaced.
Refused is what would break a promise of the platform, or give access to the node that runs the worker.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from submodel.contract import env as worker_env
from submodel_operator.api.constants import GROUP, MANAGED_BY_LABEL
from submodel_operator.api.worker import PodTemplate

WORKER_CONTAINER: Final = "worker"

_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "env": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""What tells the items of a list apart."""

DEPTH_MAX: Final = 24
"""Twice the levels of a pod's spec."""

_OURS: Final[Mapping[str, str]] = {
    "activeDeadlineSeconds": "jobs.executionTimeoutMs limits jobs; workers have no limit",
    "automountServiceAccountToken": "a worker runs the code of others; mount a projected token instead",
    "ephemeralContainers": "they belong to running pods; use kubectl debug",
    "nodeName": "the scheduler chooses the node; use nodeSelector or affinity",
    "restartPolicy": "workers are always started again",
    "serviceAccount": "use worker.serviceAccountName",
    "serviceAccountName": "use worker.serviceAccountName",
    "terminationGracePeriodSeconds": "it follows jobs.executionTimeoutMs, so that a running job may end",
}
_OURS_IN_WORKER: Final[Mapping[str, str]] = {
    "args": "use worker.args",
    "command": "use worker.command",
    "image": "use worker.image",
    "terminationMessagePath": "it keeps the last lines of a worker that dies",
    "terminationMessagePolicy": "it keeps the last lines of a worker that dies",
}
_NODE_ACCESS: Final = ("hostNetwork", "hostPID", "hostIPC")
_NODE_VOLUMES: Final = ("hostPath", "gitRepo", "flexVolume")
"""Kinds that show the node's files, or have the node run programs."""

_PRIVILEGES: Final = ("privileged", "allowPrivilegeEscalation")
_WITHOUT_ACCESS: Final = (
    "it opens the node to the worker; the operator allows it only with SUBMODEL_OPERATOR_NODE_ACCESS"
)


def problems(template: PodTemplate, node_access: bool) -> list[str]:
    """What the template may not hold, as sentences that begin with the field.

    Args:
        node_access: whether the installation lets pods reach their node.
    """
    if _is_deeper(template.spec, DEPTH_MAX):
        return [f"spec.worker.podTemplate.spec: has more than {DEPTH_MAX} levels; no pod has so many"]
    found = [*_metadata_problems(template), *_spec_problems(template.spec)]
    if not node_access:
        found += [f"{path}: remove it; {_WITHOUT_ACCESS}" for path in _access(template.spec)]
    return found


def merged(ours: Mapping[str, Any], users: Mapping[str, Any]) -> dict[str, Any]:
    """`ours` with what the user adds or changes."""
    result = dict(ours)
    for name, value in users.items():
        present = result.get(name)
        if isinstance(present, Mapping) and isinstance(value, Mapping):
            result[name] = merged(present, value)
        elif isinstance(present, Sequence) and isinstance(value, list) and not isinstance(present, str):
            result[name] = _merged_list(list(present), value, _KEYS.get(name))
        else:
            result[name] = value
    return result


def _merged_list(ours: list[Any], users: list[Any], key: str | None) -> list[Any]:
    if key is None:
        return [*ours, *users]
    result = list(ours)
    places = {item[key]: place for place, item in enumerate(ours)}
    for item in users:
        place = places.get(item.get(key)) if isinstance(item, Mapping) else None
        if place is None:
            result.append(item)
        else:
            result[place] = merged(result[place], item)
    return result


def _is_deeper(spec: Mapping[str, Any], levels: int) -> bool:
    """Looks level by level: whoever recurses fails on what this is there to find."""
    level: list[Any] = [spec]
    for _ in range(levels):
        lists = [each.values() if isinstance(each, Mapping) else each for each in level]
        level = [item for items in lists for item in items if isinstance(item, Mapping | list)]
        if not level:
            return False
    return True


def _metadata_problems(template: PodTemplate) -> Iterator[str]:
    where = "spec.worker.podTemplate.metadata"
    for kind, entries in (("labels", template.metadata.labels), ("annotations", template.metadata.annotations)):
        for name in entries:
            if name.partition("/")[0] == GROUP or name == MANAGED_BY_LABEL:
                yield f"{where}.{kind}: {name} is set by the platform; remove it"


def _spec_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    where = "spec.worker.podTemplate.spec"
    yield from (f"{where}.{name}: remove it; {why}" for name, why in _OURS.items() if name in spec)
    for kind in (*(name for name in _KEYS if name in spec), "tolerations"):
        if not isinstance(spec.get(kind, []), list) or not all(
            isinstance(each, Mapping) for each in spec.get(kind, [])
        ):
            yield f"{where}.{kind}: must be a list of objects"
            return
        yield from _names_that_are_no_texts(f"{where}.{kind}", kind, spec.get(kind, []))
    for index, container in enumerate(spec.get("containers", [])):
        place = f"{where}.containers[{index}]"
        if not container.get("name"):
            yield f"{place}.name: is missing; the container of the worker is called {WORKER_CONTAINER}"
        if container.get("name") == WORKER_CONTAINER:
            yield from _worker_problems(place, container)


def _worker_problems(place: str, container: Mapping[str, Any]) -> Iterator[str]:
    yield from (f"{place}.{name}: remove it; {why}" for name, why in _OURS_IN_WORKER.items() if name in container)
    for name in ("env", "volumeMounts"):
        entries = container.get(name, [])
        if not isinstance(entries, list) or not all(isinstance(each, Mapping) for each in entries):
            yield f"{place}.{name}: must be a list of objects"
            return
        yield from _names_that_are_no_texts(f"{place}.{name}", name, entries)
    for index, variable in enumerate(container.get("env", [])):
        if isinstance(variable.get("name"), str) and variable["name"] in worker_env.RESERVED:
            yield f"{place}.env[{index}].name: {variable['name']} is set by the platform; remove it"


def _names_that_are_no_texts(place: str, kind: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Things are found by them."""
    key = _KEYS.get(kind)
    for index, entry in enumerate(entries):
        if key is not None and not isinstance(entry.get(key, ""), str):
            yield f"{place}[{index}].{key}: must be a text"


def _access(spec: Mapping[str, Any]) -> Iterator[str]:
    """Paths of all that gives a worker access to its node."""
    where = "spec.worker.podTemplate.spec"
    yield from (f"{where}.{name}" for name in _NODE_ACCESS if spec.get(name))
    if _is_host_process(spec.get("securityContext")):
        yield f"{where}.securityContext.windowsOptions.hostProcess"
    for index, volume in enumerate(_objects(spec, "volumes")):
        yield from (f"{where}.volumes[{index}].{kind}" for kind in _NODE_VOLUMES if kind in volume)
    for kind in ("containers", "initContainers"):
        for index, container in enumerate(_objects(spec, kind)):
            place, context = f"{where}.{kind}[{index}]", container.get("securityContext")
            if isinstance(context, Mapping):
                yield from (f"{place}.securityContext.{name}" for name in _PRIVILEGES if context.get(name))
                if isinstance(capabilities := context.get("capabilities"), Mapping) and capabilities.get("add"):
                    yield f"{place}.securityContext.capabilities.add"
                if context.get("procMount", "Default") != "Default":
                    yield f"{place}.securityContext.procMount"
                if _is_host_process(context):
                    yield f"{place}.securityContext.windowsOptions.hostProcess"
            if any(port.get("hostPort") for port in _objects(container, "ports")):
                yield f"{place}.ports.hostPort"


def _is_host_process(context: object) -> bool:
    options = context.get("windowsOptions") if isinstance(context, Mapping) else None
    return isinstance(options, Mapping) and bool(options.get("hostProcess"))


def _objects(parent: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    entries = parent.get(name)
    return [each for each in entries if isinstance(each, Mapping)] if isinstance(entries, list) else []
