"""Conditions and their reasons: stable words that scripts compare, and what they mean to people. One table for both.

Called by the modules that decide and tell, and by `reference`, which writes the page that users read.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class ConditionType(StrEnum):
    """What a condition speaks of. All are good when true, so that `kubectl wait --for=condition=…` reads well."""

    READY = "Ready"
    AVAILABLE = "Available"
    WORKERS_HEALTHY = "WorkersHealthy"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    ROLLOUT_COMPLETE = "RolloutComplete"
    AUTOSCALING = "Autoscaling"
    SCALER_HEALTHY = "ScalerHealthy"
    KEYS_USABLE = "KeysUsable"
    UNDISTURBED = "Undisturbed"


class Reason(StrEnum):
    """Why a condition is what it is."""

    REGISTERED = "Registered"
    INVALID_SPEC = "InvalidSpec"
    ENDPOINT_ID_TAKEN = "EndpointIdTaken"
    REFERENCE_MISSING = "ReferenceMissing"
    HANDLER_INVALID = "HandlerInvalid"
    NAME_CONFLICT = "NameConflict"
    GATEWAY_UNREACHABLE = "GatewayUnreachable"
    GATEWAY_REFUSED = "GatewayRefused"
    REFUSED = "ObjectRefused"

    WORKERS_READY = "WorkersReady"
    WORKERS_STARTING = "WorkersStarting"
    NO_WORKERS = "NoWorkers"

    NO_FAILURE = "NoFailure"
    CRASH_LOOP = "CrashLoop"
    OUT_OF_MEMORY = "OutOfMemory"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONFIG_ERROR = "ConfigError"
    WORKER_UNFIT = "WorkerUnfit"
    STARTUP_DEADLINE = "StartupDeadline"

    SUFFICIENT = "Sufficient"
    UNSCHEDULABLE = "Unschedulable"
    VOLUME_MISSING = "VolumeMissing"
    QUOTA_EXCEEDED = "QuotaExceeded"

    COMPLETE = "Complete"
    IN_PROGRESS = "InProgress"
    ROLLOUT_FAILED = "RolloutFailed"

    ACTIVE = "Active"
    MANUAL_REPLICAS = "ManualReplicas"
    SUSPENDED = "Suspended"
    UNKNOWN = "SpecUnreadable"

    KEYS_KNOWN = "KeysKnown"
    KEY_SECRET_UNUSABLE = "KeySecretUnusable"

    LEFT_ALONE = "LeftAlone"
    SCALED_BY_OTHERS = "ScaledByOthers"
    DELETION_COST_BY_OTHERS = "DeletionCostByOthers"
    WRONG_WORKER_LEFT = "WrongWorkerLeft"
    CLOCK_JUMPED = "ClockJumped"
    UNREADY_WORKER = "UnreadyWorker"

    SIGNALS_FRESH = "SignalsFresh"
    SIGNALS_STALE = "SignalsStale"
    SIGNALS_UNKNOWN = "SignalsUnknown"


@dataclass(frozen=True, slots=True)
class ReasonText:
    """What a reason means, and what to do about it."""

    status: str
    """Value of the condition with this reason."""

    meaning: str
    remedy: str = ""
    """What to do; part of the condition's message. Empty when nothing is to be done."""


@dataclass(frozen=True, slots=True)
class ConditionText:
    """What a condition means, with its reasons."""

    meaning: str
    reasons: Mapping[Reason, ReasonText]


CONDITIONS: Final[Mapping[ConditionType, ConditionText]] = {
    ConditionType.READY: ConditionText(
        "Jobs are accepted and workers can be started. It stays true at zero workers. While no worker works although "
        "some should, it is false with the reason of WorkersHealthy or CapacityAvailable.",
        {
            Reason.REGISTERED: ReasonText("True", "The gateway takes jobs for the endpoint."),
            Reason.INVALID_SPEC: ReasonText(
                "False", "The manifest cannot be used although the schema lets it pass.", "change the field it names"
            ),
            Reason.ENDPOINT_ID_TAKEN: ReasonText(
                "False",
                "An older endpoint has the id of spec.endpointId. This one takes no jobs until the id is free.",
                "create it anew with another id, or delete the older endpoint; it goes on by itself",
            ),
            Reason.REFERENCE_MISSING: ReasonText(
                "False",
                "A Secret, ConfigMap or key that the manifest names is not there. Workers stay as they are.",
                "create it; the endpoint goes on by itself",
            ),
            Reason.HANDLER_INVALID: ReasonText(
                "False",
                "The source of the handler does not compile, and jobs wait. A worker that works all the same, with a "
                "newer Python, makes it true.",
                "mend the source",
            ),
            Reason.NAME_CONFLICT: ReasonText(
                "False",
                "An object of a name that the endpoint needs belongs to somebody else.",
                "rename or delete that object, or give the endpoint another name",
            ),
            Reason.GATEWAY_UNREACHABLE: ReasonText(
                "False", "The gateway does not answer the operator; workers are left as they are.", "look at its pod"
            ),
            Reason.GATEWAY_REFUSED: ReasonText(
                "False", "The gateway refuses what the operator tells it.", "look at the operator's credentials"
            ),
            Reason.REFUSED: ReasonText(
                "False",
                "The cluster refuses an object of the endpoint.",
                "change the endpoint, or the rule of the namespace",
            ),
        },
    ),
    ConditionType.AVAILABLE: ConditionText(
        "At least one worker takes jobs now. False at zero workers, which is no fault.",
        {
            Reason.WORKERS_READY: ReasonText("True", "Workers take jobs."),
            Reason.WORKERS_STARTING: ReasonText("False", "Workers start, and none takes jobs yet."),
            Reason.NO_WORKERS: ReasonText("False", "No worker runs; the first job starts one."),
        },
    ),
    ConditionType.WORKERS_HEALTHY: ConditionText(
        "No worker of the present revision fails.",
        {
            Reason.NO_FAILURE: ReasonText("True", "No worker fails."),
            Reason.CRASH_LOOP: ReasonText(
                "False",
                "A worker ends again and again before it takes a job. Its last lines are in status.failures.",
                "mend the handler or the image",
            ),
            Reason.OUT_OF_MEMORY: ReasonText(
                "False", "A worker was ended because it used more memory than it may.", "raise worker.resources.limits"
            ),
            Reason.IMAGE_PULL_FAILED: ReasonText(
                "False", "The image of the workers cannot be pulled.", "mend worker.image or the registry's credentials"
            ),
            Reason.CONFIG_ERROR: ReasonText(
                "False",
                "The container cannot be made: a Secret or ConfigMap that it needs is missing, or the image wants to "
                "run as root.",
                "create what the message names; an image that runs as root needs another user",
            ),
            Reason.WORKER_UNFIT: ReasonText(
                "False",
                "A worker reports that it cannot work: its handler cannot be loaded, or a fitness check fails.",
                "mend the handler, or install what it misses",
            ),
            Reason.STARTUP_DEADLINE: ReasonText(
                "False",
                "A worker did not ask for a job within worker.startupDeadlineSeconds, and was replaced.",
                "see its log, or raise worker.startupDeadlineSeconds",
            ),
        },
    ),
    ConditionType.CAPACITY_AVAILABLE: ConditionText(
        "The cluster has room for the workers that should run.",
        {
            Reason.SUFFICIENT: ReasonText("True", "No worker waits for a node."),
            Reason.UNSCHEDULABLE: ReasonText(
                "False",
                "No node takes a worker; the message holds the scheduler's words.",
                "add nodes, or ask for less",
            ),
            Reason.VOLUME_MISSING: ReasonText(
                "False", "A volume that the workers mount does not exist or is not bound.", "create the volume claim"
            ),
            Reason.QUOTA_EXCEEDED: ReasonText(
                "False",
                "A ResourceQuota of the namespace allows no further worker.",
                "raise the quota, or lower scaling.workersMax or worker.resources",
            ),
            Reason.REFUSED: ReasonText(
                "False",
                "An admission rule of the cluster, for example Pod Security, refuses the pods of the workers.",
                "change the endpoint, or the rule of the namespace",
            ),
        },
    ),
    ConditionType.ROLLOUT_COMPLETE: ConditionText(
        "All workers are of the present revision.",
        {
            Reason.COMPLETE: ReasonText("True", "No worker of an earlier revision is left."),
            Reason.IN_PROGRESS: ReasonText(
                "False", "Workers of an earlier revision finish what they hold, and then leave."
            ),
            Reason.ROLLOUT_FAILED: ReasonText(
                "False",
                "No worker of the present revision works, or most of its jobs fail and those of the one before do not. "
                "Workers of the revision before it that are left stay and take jobs.",
                "apply a revision that works; the manifest before this one goes back at once",
            ),
        },
    ),
    ConditionType.AUTOSCALING: ConditionText(
        "The scaler decides how many workers run.",
        {
            Reason.ACTIVE: ReasonText("True", "The number of workers follows spec.scaling."),
            Reason.MANUAL_REPLICAS: ReasonText(
                "False",
                "spec.scaling.replicas sets the number of workers, as kubectl scale does.",
                "remove spec.scaling.replicas to leave the number to the scaler",
            ),
            Reason.SUSPENDED: ReasonText("False", "spec.suspend is true: no worker runs, and jobs wait."),
            Reason.UNKNOWN: ReasonText("Unknown", "The spec could not be read yet; Ready says why."),
        },
    ),
    ConditionType.SCALER_HEALTHY: ConditionText(
        "The number of workers follows the load.",
        {
            Reason.SIGNALS_FRESH: ReasonText("True", "The gateway reports queue and workers."),
            Reason.SIGNALS_STALE: ReasonText(
                "False", "The gateway is silent; the number of workers is held.", "look at the gateway's pod"
            ),
            Reason.SIGNALS_UNKNOWN: ReasonText("Unknown", "The gateway has not reported on the endpoint yet."),
        },
    ),
    ConditionType.KEYS_USABLE: ConditionText(
        "What spec.auth.keySecrets name are API keys. Only where the spec names Secrets; the installation's keys work "
        "all the same.",
        {
            Reason.KEYS_KNOWN: ReasonText("True", "The gateway knows all keys of the Secrets."),
            Reason.KEY_SECRET_UNUSABLE: ReasonText(
                "False",
                "A Secret or one of its entries cannot be used; the message says which.",
                "change what it names",
            ),
        },
    ),
    ConditionType.UNDISTURBED: ConditionText(
        "Nobody but the operator changes how many workers run, or says who of them goes first. Shown once somebody "
        "did; it is false for ten minutes after that was last seen, for a minute after a clock jumped, and while a "
        "worker that Kubernetes calls not ready keeps others from leaving.",
        {
            Reason.LEFT_ALONE: ReasonText("True", "Nobody has meddled lately."),
            Reason.SCALED_BY_OTHERS: ReasonText(
                "False",
                "Somebody else wrote the count of the endpoint's Deployment: kubectl scale, or another autoscaler.",
                "set spec.scaling instead (kubectl scale sme), and remove other autoscalers of the Deployment",
            ),
            Reason.DELETION_COST_BY_OTHERS: ReasonText(
                "False",
                "Somebody else writes the deletion cost of the workers' pods, as a feature of Karpenter does.",
                "switch that off for this namespace",
            ),
            Reason.WRONG_WORKER_LEFT: ReasonText(
                "False",
                "A shrink took another worker than the idle one that was chosen. Its job had its grace to end.",
                "look for what deletes pods or sets their deletion cost",
            ),
            Reason.CLOCK_JUMPED: ReasonText(
                "False",
                "The operator's clock was set, so ages are not to be relied on: no worker goes for a minute.",
                "look at the time service of the operator's node",
            ),
            Reason.UNREADY_WORKER: ReasonText(
                "False",
                "Kubernetes calls a worker that is to stay not ready, and would take it before the idle one that is "
                "chosen: no worker goes meanwhile.",
                "look at the readiness probe in worker.podTemplate, or at the worker's node",
            ),
        },
    ),
}

REMEDIES: Final = {
    reason: text.remedy
    for condition in CONDITIONS.values()
    for reason, text in condition.reasons.items()
    if text.remedy
}
"""What to do about a reason."""


class EventReason(StrEnum):
    """Reasons of the events, in the past tense."""

    SCALED_UP = "ScaledUp"
    SCALED_DOWN = "ScaledDown"
    SCALED_FROM_ZERO = "ScaledFromZero"
    SCALED_TO_ZERO = "ScaledToZero"
    WORKER_FAILED = "WorkerFailed"
    ROLLOUT_STARTED = "RolloutStarted"
    ROLLOUT_COMPLETED = "RolloutCompleted"
    ROLLOUT_STOPPED = "RolloutStopped"
    BECAME_NOT_READY = "BecameNotReady"
    RECOVERED = "Recovered"
    CAPACITY_EXHAUSTED = "CapacityExhausted"
    SIGNALS_LOST = "SignalsLost"
    FIELD_IGNORED = "FieldIgnored"
    SCALED_BY_OTHERS = "ScaledByOthers"
    WRONG_WORKER_LEFT = "WrongWorkerLeft"
    DELETION_COST_REWRITTEN = "DeletionCostRewritten"
    CLOCK_JUMPED = "ClockJumped"


EVENTS: Final[Mapping[EventReason, tuple[str, str]]] = {
    EventReason.SCALED_UP: ("Normal", "More workers were asked for; the message is the decision with its numbers."),
    EventReason.SCALED_DOWN: ("Normal", "Idle workers left."),
    EventReason.SCALED_FROM_ZERO: ("Normal", "The first worker was asked for."),
    EventReason.SCALED_TO_ZERO: ("Normal", "The last worker left."),
    EventReason.WORKER_FAILED: ("Warning", "A worker ended or could not start; the message holds its last lines."),
    EventReason.ROLLOUT_STARTED: ("Normal", "A new revision takes the new jobs; earlier workers finish theirs."),
    EventReason.ROLLOUT_COMPLETED: ("Normal", "The last worker of an earlier revision left."),
    EventReason.ROLLOUT_STOPPED: (
        "Warning",
        "The new revision does not work, or its jobs fail; workers of the one before stay.",
    ),
    EventReason.BECAME_NOT_READY: ("Warning", "The condition Ready became false; the message says why."),
    EventReason.RECOVERED: ("Normal", "The condition Ready became true again."),
    EventReason.CAPACITY_EXHAUSTED: ("Warning", "The cluster has no room for a worker; the message says why."),
    EventReason.SIGNALS_LOST: ("Warning", "The gateway fell silent; the number of workers is held."),
    EventReason.FIELD_IGNORED: ("Warning", "A part of the spec has no effect as it stands; the message says why."),
    EventReason.SCALED_BY_OTHERS: (
        "Warning",
        "Somebody else changed the count of the endpoint's Deployment: a person, or another autoscaler.",
    ),
    EventReason.WRONG_WORKER_LEFT: (
        "Warning",
        "A shrink took another worker than the idle one that was chosen; the message names both.",
    ),
    EventReason.DELETION_COST_REWRITTEN: (
        "Warning",
        "Somebody else sets the deletion cost of the workers' pods, which tells Kubernetes who goes first.",
    ),
    EventReason.CLOCK_JUMPED: (
        "Warning",
        "The operator's clock was set forward or back; no worker goes for a minute.",
    ),
}
"""Type and meaning of each event."""
