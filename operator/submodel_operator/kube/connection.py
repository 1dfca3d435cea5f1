"""How to reach the API server: a kubeconfig when `KUBECONFIG` is set, else the pod's service account."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from submodel_operator.errors import UsageError
from submodel_operator.kube.client import KubeClient, read_deep_objects
from submodel_operator.metrics import Metrics

_load_kube_config: Final[Any] = config.load_kube_config  # has no types
_load_incluster_config: Final[Any] = config.load_incluster_config  # has no types


@dataclass(frozen=True, slots=True)
class Connection:
    """Server and credentials as plain values, for the watches."""

    server: str
    ca_path: str | None
    certificate_path: str | None
    private_key_path: str | None
    token: str | None
    insecure: bool
    proxy_url: str | None


async def load_connection(env: Mapping[str, str]) -> Connection:
    """Server and credentials as they are now: a service account's token is renewed every hour.

    Raises:
        UsageError: there is neither a kubeconfig nor a service account.
    """
    configuration = await _configuration(env)
    header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization")
    return Connection(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        token=header.split()[-1] if header else None,
        insecure=not configuration.verify_ssl,
        proxy_url=configuration.proxy,
    )


@asynccontextmanager
async def open_client(env: Mapping[str, str], metrics: Metrics | None = None) -> AsyncIterator[KubeClient]:
    """A client for the time of the context; its requests are counted in `metrics`.

    Raises:
        UsageError: there is neither a kubeconfig nor a service account.
    """
    read_deep_objects()
    async with ApiClient(await _configuration(env)) as api:
        yield KubeClient(api, metrics)


async def _configuration(env: Mapping[str, str]) -> Any:
    configuration = Configuration()
    # Else the client looks for ~/.netrc and for proxies in the environment with each request, in another thread, which
    # costs as much as the request; the watches know neither. A kubeconfig names its proxy itself.
    configuration.client_session_kwargs = {"trust_env": False}
    path = env.get("KUBECONFIG", "")
    try:
        if path:
            await _load_kube_config(path, client_configuration=configuration, persist_config=False)
        else:
            _load_incluster_config(configuration)
    except (config.ConfigException, OSError) as error:
        found = str(error).rstrip(".")
        place = f"KUBECONFIG={path}" if path else "KUBECONFIG is not set, and this is no pod with a service account"
        remedy = "set KUBECONFIG to the file that kubectl uses"
        raise UsageError(f"no way to reach Kubernetes: {place} ({found}); {remedy}") from error
    return configuration
