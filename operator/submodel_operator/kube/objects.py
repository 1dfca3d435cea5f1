"""Slim views of raw Kubernetes objects: the few fields a decision needs, parsed once when an event arrives. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from submodel_operator.api import constants
from submodel_operator.pod_template import WORKER_CONTAINER
from submodel_operator.ports import Key, Manifest, ObservedPool, ObservedWorker, PodStart, WorkerEnd
from submodel_operator.protection import ANNOTATIONS

MESSAGE_LENGTH = 500
LAST_LINES_LENGTH = 1000
_STARTING_REASONS = frozenset({"ContainerCreating", "PodInitializing"})
_FINISHED_PHASES = frozenset({"Succeeded", "Failed"})


@dataclass(frozen=True, slots=True)
class View:
    """What all cached objects have."""

    owner: Key
    """The endpoint it belongs to (itself, for an endpoint)."""

    name: str
    uid: str
    version: str
    """The resourceVersion."""


@dataclass(frozen=True, slots=True)
class EndpointView(View):
    """A custom resource."""

    generation: int
    deleting: bool
    created_at: str
    """As it is written: instants of one length and zone compare as texts."""

    wanted_id: str
    """What its spec asks for as the id in URLs; empty when it leaves that to us."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class PoolView(View):
    """A Deployment."""

    owner_uid: str
    """Uid of the endpoint that controls it; a re-created namesake of that endpoint has another."""

    deleting: bool
    observed: ObservedPool


@dataclass(frozen=True, slots=True)
class PodView(View):
    """A pod."""

    pool: str
    """Name of its Deployment."""

    start: PodStart
    observed: ObservedWorker
    """With an age of 0; the age comes with the instant of observation."""

    finished: bool
    """Whether all its containers have ended for good: it is no worker any more."""


def endpoint_view(raw: Mapping[str, Any]) -> EndpointView:
    """The view of a custom resource. Managed fields and annotations are left behind."""
    metadata = raw["metadata"]
    key = Key(metadata["namespace"], metadata["name"])
    manifest = {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND,
        "metadata": {"namespace": key.namespace, "name": key.name},
        "spec": raw.get("spec", {}),
    }
    if "status" in raw:
        manifest["status"] = raw["status"]
    return EndpointView(
        owner=key,
        name=key.name,
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        generation=metadata["generation"],
        deleting="deletionTimestamp" in metadata,
        created_at=metadata["creationTimestamp"],
        wanted_id=manifest["spec"].get("endpointId") or "",
        manifest=manifest,
    )


def pool_view(raw: Mapping[str, Any]) -> PoolView | None:
    """The view of a Deployment; None when it lacks the labels of a pool."""
    metadata = raw["metadata"]
    labels = metadata.get("labels") or {}
    if constants.ENDPOINT_LABEL not in labels:
        return None
    controller = controlling_owner(metadata)
    return PoolView(
        owner=Key(metadata["namespace"], labels[constants.ENDPOINT_LABEL]),
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        owner_uid=controller.get("uid", ""),
        deleting="deletionTimestamp" in metadata,
        observed=ObservedPool(
            name=metadata["name"],
            revision=labels.get(constants.REVISION_LABEL, ""),
            replicas=raw["spec"].get("replicas", 1),
            desired_hash=(metadata.get("annotations") or {}).get(constants.DESIRED_HASH_ANNOTATION, ""),
            refusal=_refusal(raw.get("status") or {}),
            counted_by=_counted_by(metadata.get("managedFields") or ()),
        ),
    )


def pod_view(raw: Mapping[str, Any]) -> PodView | None:
    """The view of a pod; None when it lacks the labels of a worker."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    labels = metadata.get("labels") or {}
    if constants.ENDPOINT_LABEL not in labels:
        return None
    endpoint, revision = labels[constants.ENDPOINT_LABEL], labels.get(constants.REVISION_LABEL, "")
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    cost = annotations.get(constants.DELETION_COST_ANNOTATION)
    phase, message = pod_phase(status)
    start = PodStart(_instant(metadata["creationTimestamp"]), _scheduled_at(status), _started_at(status))
    return PodView(
        owner=Key(metadata["namespace"], endpoint),
        name=metadata["name"],
        uid=metadata["uid"],
        version=metadata["resourceVersion"],
        pool=f"{endpoint}-{revision}",
        start=start,
        observed=ObservedWorker(
            name=metadata["name"],
            uid=metadata["uid"],
            revision=revision,
            phase=phase,
            age_seconds=0.0,
            terminating="deletionTimestamp" in metadata,
            message=message,
            ended=worker_end(status),
            start=start,
            protected=annotations.items() >= ANNOTATIONS.items(),
            marked=cost == constants.VICTIM_COST,
            unready=_is_unready(status),
            foreign_cost=cost not in (None, constants.VICTIM_COST),
        ),
        finished=status.get("phase") in _FINISHED_PHASES,
    )


def _is_unready(status: Mapping[str, Any]) -> bool:
    """A probe of the user's failed, or its node is not heard of."""
    told = {each.get("status") for each in status.get("conditions") or () if each.get("type") == "Ready"}
    return status.get("phase") == "Running" and bool(told) and "True" not in told


def _counted_by(managed_fields: Iterable[Mapping[str, Any]]) -> str:
    """Who wrote the count last, when it was not this operator."""
    writers = (
        each.get("manager", "")
        for each in managed_fields
        if "f:replicas" in ((each.get("fieldsV1") or {}).get("f:spec") or {})
    )
    return next((writer for writer in writers if writer and writer != constants.SCALE_MANAGER), "")


def controlling_owner(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    """The owner reference of the controller; empty when nobody controls the object."""
    owners: Iterable[Mapping[str, Any]] = metadata.get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), {})


def pod_phase(status: Mapping[str, Any]) -> tuple[str, str]:
    """Phase and message of a pod: `Running`, `Pending` or the reason why not, and the words that explain it.

    A worker that crashes says why in its termination message; those words are worth more than the cluster's. A pod
    that its node gave up (`Evicted`, `NodeShutdown`, …) says so itself, whatever its containers' exit codes are.
    """
    if status.get("phase") == "Failed" and status.get("reason"):
        return status["reason"], _cut(status.get("message", ""))
    for container in _containers(status):
        state = container.get("state") or {}
        if (waiting := state.get("waiting")) and waiting.get("reason") not in _STARTING_REASONS:
            return waiting.get("reason", "Waiting"), _crash_words(container) or _cut(_pull_words(waiting))
        if (terminated := state.get("terminated")) and terminated.get("exitCode") != 0:
            return terminated.get("reason", "Error"), _last_words(terminated)
    if unschedulable := _condition(status, "PodScheduled", "False"):
        return unschedulable.get("reason", "Unschedulable"), _cut(unschedulable.get("message", ""))
    return status.get("reason") or status.get("phase", "Pending"), _cut(status.get("message", ""))


def worker_end(status: Mapping[str, Any]) -> WorkerEnd | None:
    """How the worker's last run ended; None while its first one goes on."""
    for container in _workers(status):
        states = (container.get("state") or {}, container.get("lastState") or {})
        for terminated in (state["terminated"] for state in states if state.get("terminated")):
            return WorkerEnd(
                reason=terminated.get("reason", "Error"),
                exit_code=terminated.get("exitCode", 0),
                lines=terminated.get("message", "")[-LAST_LINES_LENGTH:],
                count=container.get("restartCount", 0),
                at=_instant(at) if (at := terminated.get("finishedAt")) else None,
            )
    return None


def _started_at(status: Mapping[str, Any]) -> float | None:
    states = (container.get("state") or {} for container in _workers(status))
    started = (state["running"].get("startedAt") for state in states if state.get("running"))
    return next((_instant(at) for at in started if at), None)


def _scheduled_at(status: Mapping[str, Any]) -> float | None:
    scheduled = _condition(status, "PodScheduled", "True") or {}
    return _instant(at) if (at := scheduled.get("lastTransitionTime")) else None


def _instant(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _workers(status: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The worker's container alone: those that the user put beside it have nothing to do with jobs."""
    containers: Iterable[Mapping[str, Any]] = status.get("containerStatuses") or ()
    return (each for each in containers if each.get("name", WORKER_CONTAINER) == WORKER_CONTAINER)


def _containers(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _crash_words(container: Mapping[str, Any]) -> str:
    """Why the last run of a container that waits for its next one ended. The cluster's text counts seconds."""
    terminated = (container.get("lastState") or {}).get("terminated")
    return _last_words(terminated) if terminated else ""


def _pull_words(waiting: Mapping[str, Any]) -> str:
    """A failed pull alternates between two reasons, and between two texts of which one holds the other."""
    text: str = waiting.get("message", "")
    return text.partition(": ErrImagePull: ")[2] or text


def _last_words(terminated: Mapping[str, Any]) -> str:
    reason, code = terminated.get("reason", "Error"), terminated.get("exitCode")
    if reason == "OOMKilled":
        return "OOMKilled: it used more memory than worker.resources.limits allows"
    lines = [line.strip() for line in terminated.get("message", "").splitlines() if line.strip()]
    return _cut(lines[-1]) if lines else f"{reason} (exit code {code})"


def _refusal(status: Mapping[str, Any]) -> str:
    failure = _condition(status, "ReplicaFailure", "True")
    return _cut(failure.get("message", "") or failure.get("reason", "")) if failure else ""


def _condition(status: Mapping[str, Any], kind: str, holds: str) -> Mapping[str, Any] | None:
    conditions: Iterable[Mapping[str, Any]] = status.get("conditions") or ()
    return next((each for each in conditions if each.get("type") == kind and each.get("status") == holds), None)


def _cut(text: str) -> str:
    return text if len(text) <= MESSAGE_LENGTH else text[: MESSAGE_LENGTH - 1] + "…"
