"""The operator's settings: read once, at process start, from a mapping. `__main__` passes the environment."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from submodel_operator.errors import UsageError

PREFIX: Final = "SUBMODEL_OPERATOR_"
POD_NAMESPACE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
LEASE_SECONDS_MIN: Final = 5


@dataclass(frozen=True, slots=True)
class NodeLabels:
    """Which labels of nodes tell what an endpoint asks for."""

    gpu_types: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Values of `gpu` by the names that endpoints use, as JSON (`SUBMODEL_OPERATOR_GPU_TYPES`). When there are any, no
    other name is taken."""

    gpu: str = "nvidia.com/gpu.product"
    """Label that tells the GPU of a node (`SUBMODEL_OPERATOR_GPU_LABEL`)."""

    cuda: str = ""
    """Label that tells the CUDA version of a node, as 12.4 (`SUBMODEL_OPERATOR_GPU_CUDA_LABEL`); empty: none does."""

    data_center: str = "topology.kubernetes.io/region"
    """Label that tells the data center of a node (`SUBMODEL_OPERATOR_DATA_CENTER_LABEL`)."""


@dataclass(frozen=True, slots=True)
class WorkerSettings:
    """What every worker is started with; the part of the settings that pure code needs."""

    gateway_url: str
    """Base URL under which workers reach the gateway (`SUBMODEL_OPERATOR_WORKER_GATEWAY_URL`)."""

    runtime_image: str
    """Image that runs inline handlers (`SUBMODEL_OPERATOR_RUNTIME_IMAGE`)."""

    token_key: bytes
    """Key from which worker tokens are derived (`SUBMODEL_OPERATOR_WORKER_TOKEN_KEY[_FILE]`)."""

    public_url: str
    """Base URL shown in `status.url` (`SUBMODEL_OPERATOR_PUBLIC_URL`; the workers' URL when unset)."""

    token_audience: str = ""
    """Audience of the service-account tokens by which the gateway knows worker pods
    (`SUBMODEL_OPERATOR_WORKER_TOKEN_AUDIENCE`); empty: pods have derived tokens alone."""

    node_labels: NodeLabels = NodeLabels()

    node_access: bool = False
    """Whether `worker.podTemplate` may open the node to a worker: host network, host paths, privileges
    (`SUBMODEL_OPERATOR_NODE_ACCESS`)."""


@dataclass(frozen=True, slots=True)
class LeaseSettings:
    """The Lease of which the holder acts, where several operators run."""

    name: str
    """`SUBMODEL_OPERATOR_LEASE`."""

    namespace: str
    """`SUBMODEL_OPERATOR_LEASE_NAMESPACE`; by default that of the pod."""

    seconds: float = 15
    """How long a dead holder keeps it (`SUBMODEL_OPERATOR_LEASE_SECONDS`)."""


@dataclass(frozen=True, slots=True)
class OperatorSettings:
    """Everything the operator process is told from outside."""

    gateway_url: str
    """Base URL of the gateway's internal API (`SUBMODEL_OPERATOR_GATEWAY_URL`)."""

    gateway_token: str
    """Bearer credential of the internal API (`SUBMODEL_OPERATOR_GATEWAY_TOKEN[_FILE]`)."""

    worker: WorkerSettings

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch (`SUBMODEL_OPERATOR_NAMESPACES`, comma-separated); empty watches all."""

    probe_listen: str = "127.0.0.1:8080"
    """Address of `/livez`, `/readyz` and `/metrics` (`SUBMODEL_OPERATOR_PROBE_LISTEN`)."""

    reconcile_workers: int = 10
    """Endpoints reconciled at once (`SUBMODEL_OPERATOR_RECONCILE_WORKERS`)."""

    resync_seconds: int = 600
    """Period of the full list that finds what the watches missed (`SUBMODEL_OPERATOR_RESYNC_SECONDS`)."""

    lease: LeaseSettings | None = None
    """None: it is the only operator."""

    log_level: str = "INFO"
    """`SUBMODEL_OPERATOR_LOG_LEVEL`."""

    decision_log: str = ""
    """File to which every scaling decision that changes a number is appended
    (`SUBMODEL_OPERATOR_DECISION_LOG`); empty writes none."""

    log_format: str = "text"
    """`text` or `json`, one object per line (`SUBMODEL_OPERATOR_LOG_FORMAT`)."""


def load(env: Mapping[str, str]) -> OperatorSettings:
    """Settings from `env`.

    Raises:
        UsageError: a required variable is missing, a file cannot be read, or a number is none.
    """
    worker_gateway_url = _required(env, "WORKER_GATEWAY_URL").rstrip("/")
    return OperatorSettings(
        gateway_url=_required(env, "GATEWAY_URL").rstrip("/"),
        gateway_token=_secret(env, "GATEWAY_TOKEN"),
        worker=WorkerSettings(
            gateway_url=worker_gateway_url,
            runtime_image=_required(env, "RUNTIME_IMAGE"),
            token_key=_secret(env, "WORKER_TOKEN_KEY").encode(),
            public_url=env.get(PREFIX + "PUBLIC_URL", "").rstrip("/") or worker_gateway_url,
            token_audience=env.get(PREFIX + "WORKER_TOKEN_AUDIENCE", "").strip(),
            node_access=_one_of(env, "NODE_ACCESS", "false", ("true", "false")) == "true",
            node_labels=NodeLabels(
                gpu_types=_gpu_types(env),
                gpu=env.get(PREFIX + "GPU_LABEL") or NodeLabels().gpu,
                cuda=env.get(PREFIX + "GPU_CUDA_LABEL", ""),
                data_center=env.get(PREFIX + "DATA_CENTER_LABEL") or NodeLabels().data_center,
            ),
        ),
        namespaces=tuple(filter(None, (part.strip() for part in env.get(PREFIX + "NAMESPACES", "").split(",")))),
        probe_listen=_address(env, "PROBE_LISTEN", "127.0.0.1:8080"),
        reconcile_workers=_positive(env, "RECONCILE_WORKERS", 10),
        resync_seconds=_positive(env, "RESYNC_SECONDS", 600),
        lease=_lease(env),
        log_level=_one_of(env, "LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")),
        decision_log=env.get(PREFIX + "DECISION_LOG", "").strip(),
        log_format=_one_of(env, "LOG_FORMAT", "text", ("text", "json")),
    )


def _required(env: Mapping[str, str], name: str) -> str:
    if value := env.get(PREFIX + name, "").strip():
        return value
    raise UsageError(f"{PREFIX}{name} is not set; docs/reference/settings.md says what it is")


def _secret(env: Mapping[str, str], name: str) -> str:
    if path := env.get(f"{PREFIX}{name}_FILE"):
        try:
            value = Path(path).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise UsageError(f"{PREFIX}{name}_FILE cannot be read: {error.strerror}: {path}") from error
        if value:
            return value
        raise UsageError(f"{PREFIX}{name}_FILE names an empty file: {path}")
    return _required(env, name)


def _gpu_types(env: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    try:
        found = json.loads(env.get(PREFIX + "GPU_TYPES") or "{}")
        types = {str(name): tuple(values) for name, values in found.items()}
    except (ValueError, AttributeError, TypeError):
        types = {"": ()}
    if all(values and all(isinstance(value, str) for value in values) for values in types.values()):
        return types
    raise UsageError(f'{PREFIX}GPU_TYPES must be JSON such as {{"A100": ["NVIDIA-A100-SXM4-80GB"]}}')


def _lease(env: Mapping[str, str]) -> LeaseSettings | None:
    name, namespace = (env.get(PREFIX + each, "").strip() for each in ("LEASE", "LEASE_NAMESPACE"))
    seconds = _positive(env, "LEASE_SECONDS", 15)
    if seconds < LEASE_SECONDS_MIN:
        raise UsageError(f"{PREFIX}LEASE_SECONDS must be at least {LEASE_SECONDS_MIN}, not {seconds}")
    if not name:
        return None
    try:
        return LeaseSettings(name, namespace or POD_NAMESPACE.read_text(encoding="utf-8").strip(), seconds)
    except OSError:
        raise UsageError(f"{PREFIX}LEASE_NAMESPACE is not set, and this is no pod that would have one") from None


def _address(env: Mapping[str, str], name: str, default: str) -> str:
    text = env.get(PREFIX + name) or default
    host, _, port = text.rpartition(":")
    if host and port.isdecimal() and int(port) <= 65535:
        return text
    raise UsageError(f"{PREFIX}{name} must be host:port with a port up to 65535, not {text!r}")


def _positive(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(PREFIX + name, str(default))
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise UsageError(f"{PREFIX}{name} must be a whole number above 0, not {text!r}")


def _one_of(env: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    text = env.get(PREFIX + name, default)
    for choice in choices:
        if text.lower() == choice.lower():
            return choice
    raise UsageError(f"{PREFIX}{name} must be one of {', '.join(choices)}, not {text!r}")
