"""Builders: a test states only what matters to it."""

from collections.abc import Mapping
from typing import Any

from submodel.contract.internal import EndpointSnapshot, WorkerView
from submodel.contract.states import WorkerPhase
from submodel_operator.api import constants
from submodel_operator.api.v1alpha1 import ScalerType, SubModelEndpoint
from submodel_operator.ports import Key, Observed, ObservedPool, ObservedWorker, Signals
from submodel_operator.resolve import ResolvedEndpoint, ResolvedScaling, resolve
from submodel_operator.settings import WorkerSettings

KEY = Key("team-a", "tokens")
UID = "0b6f9c0e-1111-4222-8333-944444444444"


def worker_settings(**changes: Any) -> WorkerSettings:
    """Operator settings for workers."""
    values: dict[str, Any] = {
        "gateway_url": "http://gateway:8000",
        "runtime_image": "registry.example/submodel-worker:1",
        "token_key": b"0123456789abcdef",
        "public_url": "https://jobs.example",
    }
    return WorkerSettings(**(values | changes))


def manifest(worker: Mapping[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    """An endpoint as a user writes it."""
    return {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND,
        "metadata": {"name": KEY.name, "namespace": KEY.namespace},
        "spec": {"worker": dict(worker or {"handler": {"inline": "pass"}}), **spec},
    }


def resolved(
    document: Mapping[str, Any] | None = None, uid: str = UID, generation: int = 1, **settings: Any
) -> ResolvedEndpoint:
    """The endpoint of `document`, resolved with `worker_settings(**settings)`."""
    endpoint = SubModelEndpoint.model_validate(document or manifest())
    return resolve(endpoint, uid, generation, worker_settings(**settings))


def scaling(**changes: Any) -> ResolvedScaling:
    """Scaling settings with the documented defaults."""
    values: dict[str, Any] = {
        "workers_min": 0,
        "workers_max": 3,
        "idle_timeout_seconds": 5,
        "scaler_type": ScalerType.QUEUE_DELAY,
        "scaler_value": 4.0,
        "concurrency": 1,
        "standby": 0,
        "max_surge": None,
        "stabilization_seconds": 0,
        "schedules": (),
        "shadow": None,
        "shadow_value": 4.0,
        "service_prior_seconds": 30.0,
    }
    return ResolvedScaling(**(values | changes))


def view(worker: str, revision: str = "r1", **changes: Any) -> WorkerView:
    """A ready, idle worker as the gateway sees it."""
    values: dict[str, Any] = {"phase": WorkerPhase.READY, "running": 0, "draining": False, "idle_since_ms": 0}
    return WorkerView(worker=worker, revision=revision, **(values | changes))


def signals(*workers: WorkerView, now_ms: int = 100_000, age_seconds: float = 0.1, **changes: Any) -> Signals:
    """The gateway's word on the endpoint."""
    values: dict[str, Any] = {"endpoint_id": KEY.endpoint_id, "registration": f"{UID}/1", "queued": 0, "late": 0}
    values["in_progress"] = 0
    snapshot = EndpointSnapshot(workers=list(workers), **(values | changes))
    return Signals(snapshot, now_ms, age_seconds)


def worker(name: str, revision: str = "r1", **changes: Any) -> ObservedWorker:
    """A running pod."""
    values: dict[str, Any] = {"phase": "Running", "age_seconds": 60.0}
    return ObservedWorker(name=name, uid=f"uid-{name}", revision=revision, **(values | changes))


def pool(revision: str = "r1", replicas: int = 0, desired_hash: str = "h1") -> ObservedPool:
    """A Deployment."""
    return ObservedPool(f"{KEY.name}-{revision}", revision, replicas, desired_hash)


def observed(
    *workers: ObservedWorker, pools: tuple[ObservedPool, ...] = (), document: Mapping[str, Any] | None = None
) -> Observed:
    """The facts about the endpoint."""
    return Observed(KEY, UID, 1, document or manifest(), pools=pools, workers=workers)
