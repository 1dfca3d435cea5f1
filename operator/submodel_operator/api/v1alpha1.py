"""`SubModelEndpoint` v1alpha1 as pydantic models: the single source of the CRD, its defaults and its validation.

Field names are camelCase on the wire. Where a setting exists on the hosted platforms its word, unit and default are
kept, so that a copied configuration behaves the same. Every field has a description: `kubectl explain` shows it.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic.alias_generators import to_camel

from submodel.contract import limits

_QUANTITY = (
    r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))"
    r"(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$"
)


def _quantity(value: object, check: ValidatorFunctionWrapHandler) -> int | str:
    try:
        quantity: int | str = check(value)
    except ValidationError:
        raise ValueError('must be a quantity such as 1, "0.5", 500m or 2Gi') from None
    return quantity


Quantity = Annotated[int | Annotated[str, Field(pattern=_QUANTITY, max_length=64)], WrapValidator(_quantity)]
"""A Kubernetes quantity: a whole number or text, for example 1, 500m or 2Gi."""


def _idle_timeout(value: object, check: ValidatorFunctionWrapHandler) -> int | str:
    try:
        seconds: int | str = check(value)
    except ValidationError:
        raise ValueError("must be a whole number of seconds, or auto") from None
    return seconds


IdleTimeout = Annotated[int | Annotated[str, Field(pattern=r"^auto$", max_length=4)], WrapValidator(_idle_timeout)]
"""Whole seconds, or `auto`. A union has no numeric bounds in a structural schema: a rule of the spec holds them."""

Int64 = Annotated[int, Field(json_schema_extra={"format": "int64"})]
Instant = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class Model(BaseModel):
    """Base of all parts of the resource: camelCase, closed, immutable, and no value is converted to another type."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        strict=True,
        use_attribute_docstrings=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, value: object) -> object:
        """The API server drops nulls before it applies defaults; a manifest means the same without one."""
        if not isinstance(value, Mapping):
            return value
        known = {to_camel(name) for name in cls.model_fields}
        return {key: item for key, item in value.items() if item is not None or key not in known}


class StatusModel(Model):
    """Base of the parts of the status: fields of a newer operator are ignored."""

    model_config = ConfigDict(extra="ignore")


class ScalerType(StrEnum):
    """Rule by which workers are added."""

    QUEUE_DELAY = "QUEUE_DELAY"
    REQUEST_COUNT = "REQUEST_COUNT"
    ADAPTIVE = "ADAPTIVE"


class Handler(Model):
    """Source code that runs on the bundled runtime image."""

    inline: Annotated[str, Field(min_length=1, max_length=262_144)]
    """Python source that calls submodel.serverless.start(). A change is a new revision."""


class KeyRef(Model):
    """A key of a Secret or ConfigMap in the endpoint's namespace."""

    name: Annotated[str, Field(min_length=1, max_length=253)]
    """Name of the object."""

    key: Annotated[str, Field(min_length=1, max_length=253)]
    """Key within the object."""

    optional: bool = False
    """Whether the worker may start without it."""


class EnvVarSource(Model):
    """Where the value of an environment variable comes from."""

    secret_key_ref: KeyRef | None = None
    """A key of a Secret."""

    config_map_key_ref: KeyRef | None = None
    """A key of a ConfigMap."""

    @property
    def names_one_key(self) -> bool:
        """Whether it says where the value comes from, and says it once."""
        return (self.secret_key_ref is None) != (self.config_map_key_ref is None)


class EnvVar(Model):
    """One environment variable of the worker, in the shape of core/v1."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=253)]
    """Name of the variable. Names the platform sets itself (SUBMODEL_GATEWAY_URL, …) cannot be overridden."""

    value: Annotated[str, Field(max_length=32_768)] | None = None
    """The value, as text."""

    value_from: EnvVarSource | None = None
    """Takes the value from a Secret or ConfigMap instead."""


def _distinct_names(env: list[EnvVar]) -> list[EnvVar]:
    names = [variable.name for variable in env]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"repeats {', '.join(repeated)}; keep one entry for each name")
    return env


class Resources(Model):
    """Compute resources of one worker, in the shape of core/v1."""

    requests: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """What the scheduler reserves, by resource name."""

    limits: Annotated[dict[str, Quantity], Field(max_length=32)] = {}
    """What the worker may use at most, by resource name."""


class Worker(Model):
    """What a worker runs: exactly one of image and handler."""

    image: Annotated[str, Field(min_length=1, max_length=512)] | None = None
    """Container image of the worker, built on the submodel runtime or made for RunPod or SubModel. Exactly one of image
    and handler is set."""

    handler: Handler | None = None
    """Handler source for the bundled runtime image. Exactly one of image and handler is set."""

    env: Annotated[
        list[EnvVar],
        Field(max_length=256, json_schema_extra={"x-kubernetes-list-map-keys": ["name"]}),
        AfterValidator(_distinct_names),
    ] = []
    """Environment variables of the worker."""

    resources: Resources = Resources()
    """Compute resources of one worker."""

    concurrency: Annotated[int, Field(ge=1, le=1000)] = 1
    """Jobs that one worker runs at once; above 1 only async handlers gain."""


class Schedule(Model):
    """So many workers from an instant on."""

    cron: Annotated[str, Field(min_length=9, max_length=128, pattern=r"^\S+( \S+){4}$")]
    """When the entry comes into force: minute, hour, day of month, month and day of week, as in cron."""

    time_zone: Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+/-]*$")] = "UTC"
    """Name of the time zone of cron, for example Europe/Berlin."""

    workers_min: Annotated[int, Field(ge=0, le=1000)]
    """Workers that run from then on, if scaling.workersMin does not ask for more. 0 ends an earlier entry."""


class Scaling(Model):
    """How many workers run, and when they come and go."""

    workers_min: Annotated[int, Field(ge=0, le=1000)] = 0
    """Workers that always run. 0 lets the endpoint scale to zero."""

    workers_max: Annotated[int, Field(ge=0, le=1000)] = 3
    """Most workers that ever run. 0 parks the endpoint: jobs wait."""

    idle_timeout: IdleTimeout = 5
    """Seconds a worker stays after its last job, 1 to 3600; auto means as long as another start would take, at least
    5."""

    scaler_type: Annotated[ScalerType, Field(strict=False)] = ScalerType.QUEUE_DELAY
    """QUEUE_DELAY adds workers for jobs that wait longer than scalerValue seconds; REQUEST_COUNT keeps one worker per
    scalerValue jobs; ADAPTIVE aims at a wait of scalerValue seconds by the measured rate of arrivals, duration of jobs
    and duration of starts."""

    scaler_value: Annotated[float, Field(ge=0.5, le=10_000)] = 4
    """Seconds (QUEUE_DELAY, ADAPTIVE) or jobs per worker (REQUEST_COUNT, a whole number)."""

    standby: Annotated[int, Field(ge=0, le=100)] = 0
    """Workers kept free beside the busy ones as long as any job is queued or runs."""

    max_surge: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Most workers that start at the same time. Unset, as many as are needed."""

    stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] | None = None
    """Workers go only when so few were wanted for that long. Unset, 30 with ADAPTIVE and 0 else."""

    schedules: Annotated[list[Schedule], Field(max_length=20)] = []
    """Workers that are there at certain times. The entry that fired last is in force until the next one fires."""

    shadow: Annotated[ScalerType, Field(strict=False)] | None = None
    """A second scaler that decides beside the first and does nothing: the status shows what it would ask for."""


class Jobs(Model):
    """Limits of the jobs."""

    execution_timeout_ms: Annotated[Int64, Field(ge=0, le=limits.POLICY_MS_MAX)] = limits.EXECUTION_TIMEOUT_MS_DEFAULT
    """Milliseconds a job may run once a worker took it, at least 5000; 0 means no limit."""

    ttl_ms: Annotated[Int64, Field(ge=limits.TTL_MS_MIN, le=limits.POLICY_MS_MAX)] = limits.TTL_MS_DEFAULT
    """Milliseconds from submission after which an unfinished job ends as TIMED_OUT."""


class OpenAi(Model):
    """The endpoint as clients of OpenAI's API see it."""

    models: Annotated[list[Annotated[str, Field(min_length=1, max_length=256)]], Field(max_length=64)] = []
    """Names of the models that the handler serves. With them /openai/v1/models is answered without a worker; without,
    a worker is asked."""


class Rule(Model):
    """A cross-field rule, checked by the API server (CEL) and, in the same words, wherever there is none."""

    rule: str
    message: str
    field_path: str


SPEC_RULES = (
    Rule(
        rule="has(self.worker.image) != has(self.worker.handler)",
        message="set exactly one of worker.image and worker.handler",
        field_path=".worker",
    ),
    Rule(
        rule="self.scaling.workersMin <= self.scaling.workersMax",
        message="scaling.workersMin must not exceed scaling.workersMax; lower workersMin or raise workersMax",
        field_path=".scaling.workersMin",
    ),
    Rule(
        rule="self.scaling.scalerType != 'REQUEST_COUNT' || "
        "(self.scaling.scalerValue >= 1.0 && self.scaling.scalerValue == double(int(self.scaling.scalerValue)))",
        message="scaling.scalerValue counts jobs per worker with REQUEST_COUNT: use a whole number of at least 1",
        field_path=".scaling.scalerValue",
    ),
    Rule(
        rule="self.scaling.scalerType == 'REQUEST_COUNT' || self.scaling.scalerValue <= 3600.0",
        message="scaling.scalerValue means seconds with QUEUE_DELAY and ADAPTIVE: use at most 3600",
        field_path=".scaling.scalerValue",
    ),
    Rule(
        rule="type(self.scaling.idleTimeout) == string || "
        "(self.scaling.idleTimeout >= 1 && self.scaling.idleTimeout <= 3600)",
        message="scaling.idleTimeout is 1 to 3600 seconds, or auto",
        field_path=".scaling.idleTimeout",
    ),
    Rule(
        rule="self.scaling.standby <= self.scaling.workersMax",
        message="scaling.standby must not exceed scaling.workersMax; lower standby or raise workersMax",
        field_path=".scaling.standby",
    ),
    Rule(
        rule="!has(self.scaling.schedules) || self.scaling.schedules.all(s, s.workersMin <= self.scaling.workersMax)",
        message="scaling.schedules must not ask for more workers than scaling.workersMax",
        field_path=".scaling.schedules",
    ),
    Rule(
        rule="!has(self.scaling.shadow) || self.scaling.shadow != self.scaling.scalerType",
        message="scaling.shadow names another scaler than scaling.scalerType",
        field_path=".scaling.shadow",
    ),
    Rule(
        rule="self.jobs.executionTimeoutMs == 0 || self.jobs.executionTimeoutMs >= 5000",
        message="jobs.executionTimeoutMs is 0 (no limit) or at least 5000 milliseconds",
        field_path=".jobs.executionTimeoutMs",
    ),
    Rule(
        rule="self.jobs.ttlMs >= self.jobs.executionTimeoutMs",
        message="jobs.ttlMs must not be shorter than jobs.executionTimeoutMs; a job would end before its own limit",
        field_path=".jobs.ttlMs",
    ),
    Rule(
        rule="!has(self.worker.env) || self.worker.env.all(e, !(has(e.value) && has(e.valueFrom)))",
        message="worker.env entries set value or valueFrom, not both",
        field_path=".worker.env",
    ),
    Rule(
        rule="!has(self.worker.env) || self.worker.env.all(e, !has(e.valueFrom) || "
        "has(e.valueFrom.secretKeyRef) != has(e.valueFrom.configMapKeyRef))",
        message="worker.env entries with valueFrom set exactly one of secretKeyRef and configMapKeyRef",
        field_path=".worker.env",
    ),
)


NAME_RULES = (
    Rule(
        rule="size(self.metadata.name) <= 45",
        message="use a name of at most 45 characters, because the names of pods are built from it",
        field_path=".metadata.name",
    ),
    Rule(
        rule="!self.metadata.name.contains('.')",
        message="use hyphens instead of dots, because the endpoint's id is <namespace>.<name>",
        field_path=".metadata.name",
    ),
)


class BrokenRules(ValueError):
    """Cross-field rules that a spec breaks, all of them."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        super().__init__("; ".join(f"spec{rule.field_path}: {rule.message}" for rule in rules))
        self.rules = rules


class EndpointSpec(Model):
    """What the user wants."""

    worker: Worker
    """What a worker runs."""

    scaling: Scaling = Scaling()
    """How many workers run."""

    jobs: Jobs = Jobs()
    """Limits of the jobs."""

    openai: OpenAi = OpenAi()
    """The endpoint as clients of OpenAI's API see it."""

    @model_validator(mode="after")
    def _cross_field_rules(self) -> Self:
        if broken := tuple(rule for rule, holds in zip(SPEC_RULES, self._verdicts(), strict=True) if not holds):
            raise BrokenRules(broken)
        return self

    def _verdicts(self) -> tuple[bool, ...]:
        """One verdict per rule, in the order of `SPEC_RULES`."""
        scaling, jobs, worker = self.scaling, self.jobs, self.worker
        counts = scaling.scaler_type is ScalerType.REQUEST_COUNT
        return (
            (worker.image is None) != (worker.handler is None),
            scaling.workers_min <= scaling.workers_max,
            not counts or (scaling.scaler_value >= 1 and scaling.scaler_value == int(scaling.scaler_value)),
            counts or scaling.scaler_value <= 3600,
            isinstance(scaling.idle_timeout, str) or 1 <= scaling.idle_timeout <= 3600,
            scaling.standby <= scaling.workers_max,
            all(each.workers_min <= scaling.workers_max for each in scaling.schedules),
            scaling.shadow is None or scaling.shadow is not scaling.scaler_type,
            jobs.execution_timeout_ms == 0 or jobs.execution_timeout_ms >= limits.EXECUTION_TIMEOUT_MS_MIN,
            jobs.ttl_ms >= jobs.execution_timeout_ms,
            all(e.value is None or e.value_from is None for e in worker.env),
            all(source is None or source.names_one_key for source in (e.value_from for e in worker.env)),
        )


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

    in_progress: int = 0
    """Jobs that run."""


class DecisionInputs(StatusModel):
    """What a decision rested on."""

    queued: int | None = None
    """Jobs that waited."""

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


class EndpointStatus(StatusModel):
    """What is."""

    observed_generation: Int64 | None = None
    """Generation of the spec this status speaks of."""

    phase: Annotated[str, Field(max_length=64)] | None = None
    """Summary for people: Ready, Scaling, Idle, Parked or Degraded. Scripts use the conditions."""

    url: Annotated[str, Field(max_length=2048)] | None = None
    """Base URL of the endpoint's job API."""

    revision: Annotated[str, Field(max_length=63)] | None = None
    """Revision that takes new jobs."""

    workers: WorkersStatus | None = None
    """Workers by state."""

    jobs: JobsStatus | None = None
    """Jobs by state."""

    autoscaling: AutoscalingStatus | None = None
    """The scaler's account of itself."""

    failures: Annotated[list[FailureStatus], Field(max_length=32)] = []
    """The newest failures of workers, with the last lines that each of them wrote; the oldest comes first."""

    conditions: Annotated[
        list[Condition], Field(max_length=32, json_schema_extra={"x-kubernetes-list-map-keys": ["type"]})
    ] = []
    """Conditions: Ready, Available, WorkersHealthy, CapacityAvailable, RolloutComplete, ScalerHealthy."""


_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")


def _label(value: str) -> str:
    if not _LABEL.fullmatch(value):
        raise ValueError("must be lower-case letters, digits and hyphens, with a letter or digit at both ends")
    return value


def _endpoint_name(value: str) -> str:
    for rule, holds in zip(NAME_RULES, (len(value) <= 45, "." not in value), strict=True):
        if not holds:
            raise ValueError(rule.message)
    return _label(value)


class Metadata(BaseModel):
    """The part of `metadata` that is read from a manifest; the rest is the cluster's business."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    name: Annotated[str, AfterValidator(_endpoint_name)]
    namespace: Annotated[str, Field(max_length=63), AfterValidator(_label)] = "default"


class SubModelEndpoint(Model):
    """A serverless endpoint: a handler or image, a job queue, and workers that scale to zero and back."""

    api_version: Literal["serverless.submodel.ai/v1alpha1"]
    kind: Literal["SubModelEndpoint"]
    metadata: Metadata
    spec: EndpointSpec
    """What the user wants."""

    status: EndpointStatus | None = None
    """What is."""
