"""Spec and operator settings become one flat, fully defaulted value. Pure; the first step of a reconcile.

Nothing that comes after sees an optional setting or reads a default of its own.
"""

import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim, CronSimError

from submodel.contract import env as worker_env
from submodel_operator import pod_template
from submodel_operator.api.auth import AuthMode
from submodel_operator.api.hardware import Gpu, NetworkVolume
from submodel_operator.api.v1alpha1 import EndpointSpec, Jobs, ScalerType, Schedule, SubModelEndpoint
from submodel_operator.api.worker import EnvFromSource, EnvVar, PodTemplate, Worker
from submodel_operator.errors import InvalidEndpoint
from submodel_operator.placement import ResolvedPlacement, resolve_placement
from submodel_operator.ports import Key, Referenced
from submodel_operator.references import digest, handler_source
from submodel_operator.settings import WorkerSettings

GRACE_MARGIN_SECONDS = 30
"""Added to the longest run of a job to make the pod's termination grace."""

GOODBYE_SECONDS = 10
"""Part of the grace that the runtime leaves for reporting and leaving."""


_ANY_DAY = datetime(2026, 1, 1, tzinfo=UTC)

SERVICE_PRIOR_SECONDS_MAX = 30.0
"""Longest run of a job that is believed before any has ended."""

SCALER_VALUE_DEFAULT = 4.0


@dataclass(frozen=True, slots=True)
class ResolvedSchedule:
    """An entry of the schedule; both texts were understood."""

    cron: str
    time_zone: str
    workers_min: int


class ResolvedScaling(msgspec.Struct, frozen=True):
    """Bounds and rule of the scaler. A struct, because `shadow` makes another of it for each decision."""

    workers_min: int
    workers_max: int
    idle_timeout_seconds: int | None
    """None: as long as another start would take."""

    scaler_type: ScalerType
    scaler_value: float
    concurrency: int
    standby: int
    max_surge: int | None
    """None: any number of workers may start at once."""

    stabilization_seconds: int | None
    """None: as long as the policy thinks fit."""

    schedules: tuple[ResolvedSchedule, ...]
    shadow: ScalerType | None
    shadow_value: float
    """`scaler_value` of the shadow."""

    service_prior_seconds: float
    """How long a job is believed to run before any has ended."""


@dataclass(frozen=True, slots=True)
class ResolvedEndpoint:
    """An endpoint with nothing left open."""

    key: Key
    uid: str
    generation: int
    endpoint_id: str
    """The id in URLs."""

    url: str
    image: str
    handler_source: str | None
    reference_digest: str
    """Changes with the Secrets and ConfigMaps that the manifest names; empty when there are none."""

    command: tuple[str, ...]
    args: tuple[str, ...]
    env: tuple[EnvVar, ...]
    env_from: tuple[EnvFromSource, ...]
    image_pull_secrets: tuple[str, ...]
    service_account_name: str | None
    requests: tuple[tuple[str, str], ...]
    limits: tuple[tuple[str, str], ...]
    pod_template: PodTemplate
    gpu: Gpu
    placement: ResolvedPlacement
    network_volume: NetworkVolume | None
    suspended: bool
    replicas_are_set: bool
    """Whether the user gave the number of workers, so that the scaler has nothing to decide."""

    startup_deadline_seconds: int
    scaling: ResolvedScaling
    jobs: Jobs
    models: tuple[str, ...]
    open: bool
    """Whether callers need no API key."""

    key_secrets: tuple[str, ...]
    queue_workers: int
    """What bounds the queue: as many jobs for each; not fewer while the endpoint is suspended, for then jobs wait."""

    grace_seconds: int
    """Termination grace of a worker pod: a job that runs when its pod must go may end."""

    drain_seconds: int
    """How much of the grace the runtime may use for finishing; the rest is for the goodbye."""

    settings: WorkerSettings


def resolve(
    endpoint: SubModelEndpoint,
    uid: str,
    generation: int,
    settings: WorkerSettings,
    referenced: Referenced | None = None,
) -> ResolvedEndpoint:
    """Combine a validated endpoint with the operator's settings and with what its references hold.

    Raises:
        InvalidEndpoint: the worker's environment names a variable that the platform sets, a schedule cannot be read, or
            a GPU type is unknown.
    """
    refuse_reserved_names(endpoint.spec.worker)
    if refused := pod_template.problems(endpoint.spec.worker.pod_template, settings.node_access):
        raise InvalidEndpoint(refused)
    key = Key(endpoint.metadata.namespace, endpoint.metadata.name)
    worker, jobs = endpoint.spec.worker, endpoint.spec.jobs
    longest_run_ms = jobs.execution_timeout_ms or jobs.ttl_ms
    grace_seconds = -(-longest_run_ms // 1000) + GRACE_MARGIN_SECONDS
    found = referenced or {}
    endpoint_id = endpoint.spec.endpoint_id or key.endpoint_id
    return ResolvedEndpoint(
        key=key,
        uid=uid,
        generation=generation,
        endpoint_id=endpoint_id,
        url=f"{settings.public_url}/v2/{endpoint_id}",
        image=worker.image or settings.runtime_image,
        reference_digest=digest(worker, found),
        handler_source=handler_source(worker, found),
        command=tuple(worker.command),
        args=tuple(worker.args),
        env=tuple(worker.env),
        env_from=tuple(worker.env_from),
        image_pull_secrets=tuple(each.name for each in worker.image_pull_secrets),
        service_account_name=worker.service_account_name,
        requests=tuple((name, str(quantity)) for name, quantity in sorted(worker.resources.requests.items())),
        limits=tuple((name, str(quantity)) for name, quantity in sorted(worker.resources.limits.items())),
        pod_template=worker.pod_template,
        gpu=endpoint.spec.gpu,
        placement=resolve_placement(endpoint.spec.gpu, endpoint.spec.placement, settings.node_labels),
        network_volume=endpoint.spec.network_volume,
        suspended=endpoint.spec.suspend,
        replicas_are_set=endpoint.spec.scaling.replicas is not None,
        startup_deadline_seconds=worker.startup_deadline_seconds,
        scaling=resolve_scaling(endpoint.spec),
        jobs=jobs,
        models=tuple(dict.fromkeys(endpoint.spec.openai.models)),
        open=endpoint.spec.auth.mode is AuthMode.NONE,
        key_secrets=tuple(dict.fromkeys(each.name for each in endpoint.spec.auth.key_secrets)),
        queue_workers=endpoint.spec.scaling.workers_max,
        grace_seconds=grace_seconds,
        drain_seconds=grace_seconds - GOODBYE_SECONDS,
        settings=settings,
    )


def resolve_scaling(spec: EndpointSpec) -> ResolvedScaling:
    """The scaling settings with nothing left open.

    Raises:
        InvalidEndpoint: a schedule cannot be read.
    """
    scaling = spec.scaling
    if problems := list(_schedule_problems(scaling.schedules)):
        raise InvalidEndpoint(problems)
    adaptive = scaling.scaler_type is ScalerType.ADAPTIVE
    same_unit = ScalerType.REQUEST_COUNT not in (scaling.scaler_type, scaling.shadow)
    fewest, most = _bounds(spec)
    longest_run = spec.jobs.execution_timeout_ms / 1000 or float("inf")
    resolved = ResolvedScaling(
        workers_min=fewest,
        workers_max=most,
        idle_timeout_seconds=None if isinstance(scaling.idle_timeout, str) else scaling.idle_timeout,
        scaler_type=scaling.scaler_type,
        scaler_value=scaling.scaler_value,
        concurrency=spec.worker.concurrency,
        standby=scaling.standby,
        max_surge=scaling.max_surge,
        stabilization_seconds=None
        if adaptive and scaling.stabilization_seconds is None
        else scaling.stabilization_seconds or 0,
        schedules=tuple(ResolvedSchedule(each.cron, each.time_zone, each.workers_min) for each in scaling.schedules),
        shadow=scaling.shadow,
        shadow_value=scaling.scaler_value if same_unit else SCALER_VALUE_DEFAULT,
        service_prior_seconds=min(SERVICE_PRIOR_SECONDS_MAX, longest_run / 10),
    )
    if fewest != most or (scaling.replicas is None and not spec.suspend):
        return resolved
    return msgspec.structs.replace(resolved, standby=0, max_surge=None, stabilization_seconds=0, schedules=())


def _schedule_problems(schedules: Sequence[Schedule]) -> Iterator[str]:
    for index, schedule in enumerate(schedules):
        try:
            ZoneInfo(schedule.time_zone)
        except (LookupError, ValueError, OSError):
            yield (
                f"spec.scaling.schedules[{index}].timeZone: there is no time zone {schedule.time_zone}; "
                "write a name such as Europe/Berlin"
            )
        try:
            next(CronSim(schedule.cron, _ANY_DAY))
        except (CronSimError, StopIteration):
            yield (
                f"spec.scaling.schedules[{index}].cron: {schedule.cron!r} never comes; "
                "write minute, hour, day of month, month and day of week, such as 0 8 * * MON-FRI"
            )


def _bounds(spec: EndpointSpec) -> tuple[int, int]:
    """Fewest and most workers. A number that the user set is both, so the scaler needs no rule for it."""
    if spec.suspend:
        return 0, 0
    if spec.scaling.replicas is not None:
        return spec.scaling.replicas, spec.scaling.replicas
    return spec.scaling.workers_min, spec.scaling.workers_max


def worker_token(endpoint: ResolvedEndpoint, revision: str) -> str:
    """The bearer token of all workers of one revision.

    Derived, not stored: every operator process makes the same one, a new revision gets another, and so does a
    re-created namesake (its uid differs).
    """
    subject = f"{endpoint.key.endpoint_id}/{endpoint.uid}/{revision}".encode()
    return hmac.new(endpoint.settings.token_key, subject, hashlib.sha256).hexdigest()


def refuse_reserved_names(worker: Worker) -> None:
    """Raise `InvalidEndpoint` if the worker's environment names a variable that the platform sets."""
    problems = [
        f"spec.worker.env[{index}].name: {variable.name} is set by the platform; remove it"
        for index, variable in enumerate(worker.env)
        if variable.name in worker_env.RESERVED
    ]
    if problems:
        raise InvalidEndpoint(problems)
