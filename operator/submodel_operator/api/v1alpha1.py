"""`SubModelEndpoint` v1alpha1 as pydantic models: the single source of the CRD, its defaults and its validation.

Field names are camelCase on the wire. Where a setting exists on the hosted platforms its word, unit and default are
kept, so that a copied configuration behaves the same. Every field has a description: `kubectl explain` shows it.
"""

import re
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from submodel.contract import limits
from submodel_operator.api.auth import Auth, AuthMode
from submodel_operator.api.base import IdleTimeout, Int64, Model
from submodel_operator.api.hardware import Gpu, NetworkVolume, Placement
from submodel_operator.api.status import EndpointStatus
from submodel_operator.api.worker import Worker


class ScalerType(StrEnum):
    """Rule by which workers are added."""

    QUEUE_DELAY = "QUEUE_DELAY"
    REQUEST_COUNT = "REQUEST_COUNT"
    ADAPTIVE = "ADAPTIVE"


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

    replicas: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Exactly this many workers, whatever the load: kubectl scale and external scalers set it. Unset leaves the number
    to the scaler."""

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
    """Workers go only when so few were wanted for that long. Unset, 0; with ADAPTIVE and a fixed idleTimeout up to 30,
    by how long starts take."""

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

    max_attempts: Annotated[int, Field(ge=1, le=20)] = limits.ATTEMPTS_DEFAULT
    """Executions of a job that may be lost with their worker before it ends as FAILED; 1 never runs a job again. With
    retryErrors those count too that the handler failed."""

    retry_errors: bool = False
    """Whether a job whose handler failed runs again, after a while that doubles. For handlers that may run twice."""

    result_ttl_seconds: Annotated[int, Field(ge=1, le=604_800)] = limits.RESULT_TTL_ASYNC_SECONDS
    """Seconds that a finished job can be read."""

    sync_result_ttl_seconds: Annotated[int, Field(ge=1, le=604_800)] = limits.RESULT_TTL_SYNC_SECONDS
    """Seconds that a finished job of runsync can be read."""

    max_queued: Annotated[int, Field(ge=1, le=10_000_000)] | None = None
    """Queued jobs above which no more are taken, with 429. Unset, by scaling.workersMax (chart value
    gateway.limits.queuePerWorker)."""


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


RESERVED_IDS = (
    "billing",
    "cpus",
    "datacenters",
    "endpoints",
    "gpus",
    "health",
    "networkvolumes",
    "openapi",
    "pods",
    "registries",
    "serverless",
    "templates",
    "user",
)
"""Words in the paths of the hosted platforms' management APIs; no endpoint may stand in their way."""

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
        # The lower bound stands here too: the API server compares whole numbers with the whole part of a minimum.
        rule="self.scaling.scalerType == 'REQUEST_COUNT' || "
        "(self.scaling.scalerValue >= 0.5 && self.scaling.scalerValue <= 3600.0)",
        message="scaling.scalerValue means seconds with QUEUE_DELAY and ADAPTIVE: use 0.5 to 3600",
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
    Rule(
        rule="!has(self.worker.handler) || ((!has(self.worker.command) || size(self.worker.command) == 0) && "
        "(!has(self.worker.args) || size(self.worker.args) == 0))",
        message="worker.command and worker.args belong to worker.image; remove them, or use an image",
        field_path=".worker.command",
    ),
    Rule(
        rule="!has(self.worker.envFrom) || self.worker.envFrom.all(e, has(e.secretRef) != has(e.configMapRef))",
        message="worker.envFrom entries set exactly one of secretRef and configMapRef",
        field_path=".worker.envFrom",
    ),
    Rule(
        rule="!has(self.scaling.replicas) || self.scaling.replicas <= self.scaling.workersMax",
        message="scaling.replicas must not exceed scaling.workersMax; lower replicas or raise workersMax",
        field_path=".scaling.replicas",
    ),
    Rule(
        rule="self.gpu.count > 0 || (size(self.gpu.types) == 0 && size(self.gpu.excludedTypes) == 0 && "
        "size(self.gpu.allowedCudaVersions) == 0)",
        message="gpu.types, gpu.excludedTypes and gpu.allowedCudaVersions need gpu.count of at least 1",
        field_path=".gpu.count",
    ),
    Rule(
        rule="self.gpu.types.all(x, self.gpu.types.exists_one(y, y == x))",
        message="gpu.types must not repeat a type",
        field_path=".gpu.types",
    ),
    Rule(
        rule="self.gpu.types.all(x, !(x in self.gpu.excludedTypes))",
        message="gpu.excludedTypes must not name a type of gpu.types; remove it from one of them",
        field_path=".gpu.excludedTypes",
    ),
    Rule(
        rule="self.auth.mode != 'None' || !has(self.auth.keySecrets) || size(self.auth.keySecrets) == 0",
        message="auth.keySecrets have no effect with auth.mode None, which lets everybody in; remove one of them",
        field_path=".auth.keySecrets",
    ),
    Rule(
        rule="!has(self.worker.handler) || has(self.worker.handler.inline) != has(self.worker.handler.configMapRef)",
        message="set exactly one of worker.handler.inline and worker.handler.configMapRef",
        field_path=".worker.handler",
    ),
    Rule(
        rule=f"!has(self.endpointId) || !(self.endpointId in {list(RESERVED_IDS)})",
        message="endpointId is a word of the management paths; use another one",
        field_path=".endpointId",
    ),
)


TRANSITION_RULES = (
    Rule(
        rule="has(self.endpointId) == has(oldSelf.endpointId) && "
        "(!has(self.endpointId) || self.endpointId == oldSelf.endpointId)",
        message="endpointId cannot be set, changed or removed later, because the jobs belong to it; "
        "delete the endpoint and create it anew",
        field_path=".endpointId",
    ),
)
"""Rules about changes, which only the API server can check: it alone knows what was there before."""


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

    display_name: Annotated[str, Field(max_length=191)] | None = None
    """A name for people; it need not be unique. kubectl get -o wide shows it."""

    endpoint_id: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][-a-z0-9]*[a-z0-9]$")] | None = (
        None
    )
    """The id in URLs; unset, <namespace>.<name>. It is given when the endpoint is created and never changes. Of two
    endpoints that ask for the same one, the older has it."""

    suspend: bool = False
    """Whether the endpoint rests: no worker runs, those that do finish what they hold, and jobs wait."""

    worker: Worker
    """What a worker runs."""

    gpu: Gpu = Gpu()
    """GPUs of one worker."""

    network_volume: NetworkVolume | None = None
    """A volume that all workers share."""

    placement: Placement = Placement()
    """Where workers may run."""

    scaling: Scaling = Scaling()
    """How many workers run."""

    jobs: Jobs = Jobs()
    """Limits of the jobs."""

    openai: OpenAi = OpenAi()
    """The endpoint as clients of OpenAI's API see it."""

    auth: Auth = Auth()
    """Who may send jobs."""

    @model_validator(mode="after")
    def _cross_field_rules(self) -> Self:
        if broken := tuple(rule for rule, holds in zip(SPEC_RULES, self._verdicts(), strict=True) if not holds):
            raise BrokenRules(broken)
        return self

    def _verdicts(self) -> tuple[bool, ...]:
        """One verdict per rule, in the order of `SPEC_RULES`."""
        scaling, jobs, worker, gpu = self.scaling, self.jobs, self.worker, self.gpu
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
            worker.handler is None or not (worker.command or worker.args),
            all(source.names_one_source for source in worker.env_from),
            scaling.replicas is None or scaling.replicas <= scaling.workers_max,
            gpu.count > 0 or not (gpu.types or gpu.excluded_types or gpu.allowed_cuda_versions),
            len(gpu.types) == len(set(gpu.types)),
            not set(gpu.types) & set(gpu.excluded_types),
            self.auth.mode is AuthMode.API_KEY or not self.auth.key_secrets,
            worker.handler is None or (worker.handler.inline is None) != (worker.handler.config_map_ref is None),
            self.endpoint_id not in RESERVED_IDS,
        )


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
