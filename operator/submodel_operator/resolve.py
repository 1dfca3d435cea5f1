"""Spec and operator settings become one flat, fully defaulted value. Pure; the first step of a reconcile.

Nothing that comes after sees an optional setting or reads a default of its own.
"""

import hashlib
import hmac
from dataclasses import dataclass

from submodel.contract import env as worker_env
from submodel_operator.api.v1alpha1 import EnvVar, ScalerType, SubModelEndpoint, Worker
from submodel_operator.errors import InvalidEndpoint
from submodel_operator.ports import Key
from submodel_operator.settings import WorkerSettings

GRACE_MARGIN_SECONDS = 30
"""Added to the longest run of a job to make the pod's termination grace."""

GOODBYE_SECONDS = 10
"""Part of the grace that the runtime leaves for reporting and leaving."""


@dataclass(frozen=True, slots=True)
class ResolvedScaling:
    """Bounds and rule of the scaler."""

    workers_min: int
    workers_max: int
    idle_timeout_seconds: int
    scaler_type: ScalerType
    scaler_value: float
    concurrency: int


@dataclass(frozen=True, slots=True)
class ResolvedEndpoint:
    """An endpoint with nothing left open."""

    key: Key
    uid: str
    generation: int
    url: str
    image: str
    handler_source: str | None
    env: tuple[EnvVar, ...]
    requests: tuple[tuple[str, str], ...]
    limits: tuple[tuple[str, str], ...]
    scaling: ResolvedScaling
    execution_timeout_ms: int
    ttl_ms: int
    models: tuple[str, ...]
    grace_seconds: int
    """Termination grace of a worker pod: a job that runs when its pod must go may end."""

    drain_seconds: int
    """How much of the grace the runtime may use for finishing; the rest is for the goodbye."""

    settings: WorkerSettings


def resolve(endpoint: SubModelEndpoint, uid: str, generation: int, settings: WorkerSettings) -> ResolvedEndpoint:
    """Combine a validated endpoint with the operator's settings.

    Raises:
        InvalidEndpoint: the worker's environment names a variable that the platform sets.
    """
    refuse_reserved_names(endpoint.spec.worker)
    key = Key(endpoint.metadata.namespace, endpoint.metadata.name)
    worker, scaling, jobs = endpoint.spec.worker, endpoint.spec.scaling, endpoint.spec.jobs
    longest_run_ms = jobs.execution_timeout_ms or jobs.ttl_ms
    grace_seconds = -(-longest_run_ms // 1000) + GRACE_MARGIN_SECONDS
    return ResolvedEndpoint(
        key=key,
        uid=uid,
        generation=generation,
        url=f"{settings.public_url}/v2/{key.endpoint_id}",
        image=worker.image or settings.runtime_image,
        handler_source=worker.handler.inline if worker.handler else None,
        env=tuple(worker.env),
        requests=tuple((name, str(quantity)) for name, quantity in sorted(worker.resources.requests.items())),
        limits=tuple((name, str(quantity)) for name, quantity in sorted(worker.resources.limits.items())),
        scaling=ResolvedScaling(
            workers_min=scaling.workers_min,
            workers_max=scaling.workers_max,
            idle_timeout_seconds=scaling.idle_timeout,
            scaler_type=scaling.scaler_type,
            scaler_value=scaling.scaler_value,
            concurrency=worker.concurrency,
        ),
        execution_timeout_ms=jobs.execution_timeout_ms,
        ttl_ms=jobs.ttl_ms,
        models=tuple(dict.fromkeys(endpoint.spec.openai.models)),
        grace_seconds=grace_seconds,
        drain_seconds=grace_seconds - GOODBYE_SECONDS,
        settings=settings,
    )


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
