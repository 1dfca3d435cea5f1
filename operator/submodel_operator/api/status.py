"""The status of a `SubModelEndpoint` v1alpha1 as models: what `submodel_operator.status` writes, for people to read."""

from typing import Annotated, Literal

from pydantic import Field

from submodel_operator.api.base import Instant, Int64, StatusModel


class Condition(StatusModel):
    """A condition as in the Kubernetes API conventions."""

    type: Annotated[str, Field(max_length=316)]
    """Name of the condition."""

    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""

    reason: Annotated[str, Field(max_length=1024)]
    """Why, as a stable CamelCase word."""

    message: Annotated[str, Field(max_length=32_768)]
    """Why, as a sentence."""

    last_transition_time: Instant
    """When the status changed last."""

    observed_generation: Int64
    """The generation of the spec that the condition speaks of."""


class WorkersStatus(StatusModel):
    """Workers by state."""

    total: int = 0
    """Workers that exist, those that are leaving included."""

    ready: int = 0
    """Workers that take jobs: busy and idle."""

    busy: int = 0
    """Workers that run at least one job."""

    idle: int = 0
    """Workers that wait for a job."""

    starting: int = 0
    """Workers that have not asked for a job yet."""

    draining: int = 0
    """Workers that finish what they hold and then leave."""

    outdated: int = 0
    """Workers of an earlier revision."""

    desired: int = 0
    """Workers that should run."""


class JobsStatus(StatusModel):
    """Jobs by state."""

    queued: int = 0
    """Jobs that wait for a worker."""

    queued_low_priority: int | None = None
    """Those of them that start no worker."""

    in_progress: int = 0
    """Jobs that run."""

    oldest_queued_at: Instant | None = None
    """Since when the oldest of the queued jobs waits that may start workers."""

    execution_seconds_p95: float | None = None
    """Of the last jobs that ended, 95 in a hundred ran no longer than this; two digits."""


class DecisionInputs(StatusModel):
    """What a decision rested on."""

    queued: int | None = None
    """Jobs that waited, without those of low priority."""

    queued_low_priority: int | None = None
    """Jobs of low priority that waited; they start no worker."""

    late: int | None = None
    """Jobs that had waited longer than scalerValue; counted with QUEUE_DELAY."""

    oldest_seconds: float | None = None
    """How long the oldest of them had waited."""

    running: int | None = None
    """Jobs that ran."""

    working: int | None = None
    """Workers that took jobs."""

    busy: int | None = None
    """Workers that held jobs."""

    starting: int | None = None
    """Workers on their way."""

    arrivals_per_second: float | None = None
    """Rate of arrivals; measured with ADAPTIVE."""

    service_seconds: float | None = None
    """Mean run of a job; measured with ADAPTIVE."""

    cold_start_seconds: float | None = None
    """What a start takes; believed until the first one was seen."""

    signals_age_seconds: float | None = None
    """How old the gateway's word was."""


class PolicyProposal(StatusModel):
    """What a policy asked for."""

    scaler_type: Annotated[str, Field(max_length=64)]
    """The policy."""

    desired: int
    """Workers it asked for."""

    reason: Annotated[str, Field(max_length=1024)]
    """Its term that decided."""

    message: Annotated[str, Field(max_length=32_768)]
    """Its reckoning in a sentence."""

    change: Annotated[str, Field(max_length=1024)] | None = None
    """What would have to happen for another number."""


class LastDecision(StatusModel):
    """Why the number of workers is what it is."""

    at: Instant
    """When the number last changed."""

    current: int
    """Workers before."""

    desired: int
    """Workers wanted."""

    reason: Annotated[str, Field(max_length=1024)]
    """The term that decided, as a stable word."""

    message: Annotated[str, Field(max_length=32_768)]
    """The decision in a sentence with its numbers."""

    inputs: DecisionInputs | None = None
    """What it rested on."""

    proposal: PolicyProposal | None = None
    """What the policy asked for before limits."""


class FailureStatus(StatusModel):
    """What happened to a worker that failed."""

    at: Instant
    """When it was seen first."""

    worker: Annotated[str, Field(max_length=253)]
    """Name of the worker's pod; it may be gone by now."""

    reason: Annotated[str, Field(max_length=1024)]
    """A reason of the condition WorkersHealthy, or the cluster's word for what its node did to it, such as Evicted."""

    message: Annotated[str, Field(max_length=32_768)]
    """The last lines that the worker wrote, or else the cluster's words."""


class AutoscalingStatus(StatusModel):
    """The scaler's account of itself."""

    last_decision: LastDecision | None = None
    """The newest decision that changed the number of workers."""

    shadow: PolicyProposal | None = None
    """What the scaler of spec.scaling.shadow would ask for; written when its number changes."""

    memory: Annotated[str, Field(max_length=131_072)] | None = None
    """What the scaler remembers between decisions, for itself."""


class RevisionStatus(StatusModel):
    """A revision that has workers or a Deployment."""

    revision: Annotated[str, Field(max_length=63)]
    """Its hash, as in the label serverless.submodel.ai/revision of its pods."""

    workers: int
    """Its workers, those that are leaving included."""

    ready: int
    """Of them, those that take jobs."""

    running: int
    """Jobs that they run."""

    never_ready: bool | None = None
    """True as long as none of its workers has come to take jobs; when all fail, it does not stay for a newer one."""


class ColdStartStatus(StatusModel):
    """What the newest start of a worker was made of, in seconds. A step that nobody measured is left out."""

    worker: Annotated[str, Field(max_length=253)]
    """Name of the worker's pod; it may be gone by now."""

    at: Instant
    """When its pod was created."""

    total_seconds: float
    """All steps together; then it asked for its first job."""

    scheduling_seconds: float | None = None
    """Until it got a node."""

    pull_seconds: float | None = None
    """From then until its container ran: the image was pulled, volumes were mounted."""

    start_seconds: float | None = None
    """Until its process had loaded the runtime; reported by the bundled runtime."""

    load_seconds: float | None = None
    """Until the handler's file had called start: its imports, and mostly the loading of a model."""

    check_seconds: float | None = None
    """The fitness checks."""

    first_poll_seconds: float | None = None
    """From there until the gateway heard it ask for its first job, good to a second. Of a worker with another SDK,
    which reports no steps of its own, all that its process did."""


class GpuStatus(StatusModel):
    """GPUs of one worker."""

    summary: Annotated[str, Field(max_length=256)]
    """Number and types in one word, for the columns of kubectl get."""


class EndpointStatus(StatusModel):
    """What is."""

    observed_generation: Int64 | None = None
    """Generation of the spec this status speaks of."""

    phase: Annotated[str, Field(max_length=64)] | None = None
    """Summary for people: Ready, Scaling, Idle, Parked, Suspended or Degraded. Scripts use the conditions."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    """Base URL of the endpoint's job API."""

    revision: Annotated[str, Field(max_length=63)] | None = None
    """Revision that takes new jobs."""

    selector: Annotated[str, Field(max_length=1024)] | None = None
    """Label selector of the workers' pods, as the scale subresource shows it."""

    workers: WorkersStatus | None = None
    """Workers by state."""

    gpu: GpuStatus | None = None
    """GPUs of one worker."""

    revisions: Annotated[list[RevisionStatus], Field(max_length=32)] = []
    """The revisions that have workers, the present one first."""

    jobs: JobsStatus | None = None
    """Jobs by state, and how long they wait and run."""

    cold_start: ColdStartStatus | None = None
    """What the newest start of a worker was made of."""

    autoscaling: AutoscalingStatus | None = None
    """The scaler's account of itself."""

    failures: Annotated[list[FailureStatus], Field(max_length=32)] = []
    """The newest failures of workers, with the last lines that each of them wrote; the oldest comes first."""

    warnings: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=32)] = []
    """Parts of the spec that have no effect as they stand, or not the one that was meant."""

    conditions: Annotated[
        list[Condition], Field(max_length=32, json_schema_extra={"x-kubernetes-list-map-keys": ["type"]})
    ] = []
    """Conditions: Ready, Available, WorkersHealthy, CapacityAvailable, RolloutComplete, Autoscaling, ScalerHealthy."""
