"""An endpoint as Kubernetes has it, for the commands that read one."""

import asyncio
import os
from pathlib import Path

from submodel_operator.errors import ClusterUnavailable, UsageError
from submodel_operator.ports import Manifest


def read_cluster_endpoint(namespace: str, name: str) -> Manifest:
    """The endpoint with its status, by `KUBECONFIG` or `~/.kube/config`.

    Raises:
        UsageError: there is none, or Kubernetes does not answer.
    """
    usual = Path.home() / ".kube" / "config"
    path = os.environ.get("KUBECONFIG") or (str(usual) if usual.is_file() else "")
    try:
        return asyncio.run(_read(path, namespace, name))
    except UsageError as error:
        if path:
            raise
        raise UsageError(f"{error}; for an endpoint of submodel up, add --data .submodel") from error


async def _read(path: str, namespace: str, name: str) -> Manifest:
    from submodel_operator.kube import open_client  # loads the Kubernetes client; local mode has none
    from submodel_operator.kube.resources import ENDPOINTS

    async with open_client({"KUBECONFIG": path}) as client:
        try:
            found = await client.get(ENDPOINTS, namespace, name)
        except ClusterUnavailable as error:
            raise UsageError(
                f"Kubernetes does not answer: {error}; see whether kubectl get sme does, with the same KUBECONFIG"
            ) from error
    if found is None:
        raise UsageError(f"there is no endpoint {name} in namespace {namespace}; kubectl get sme -A lists them all")
    return found
