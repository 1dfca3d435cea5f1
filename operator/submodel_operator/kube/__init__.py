"""`ports.Cluster` on Kubernetes. The only importer of the `kubernetes` package."""

from submodel_operator.kube.caches import Caches
from submodel_operator.kube.client import KubeClient
from submodel_operator.kube.cluster import KubeCluster
from submodel_operator.kube.connection import Connection, load_connection, open_client
from submodel_operator.kube.listing import preload, resync_forever

__all__ = [
    "Caches",
    "Connection",
    "KubeClient",
    "KubeCluster",
    "load_connection",
    "open_client",
    "preload",
    "resync_forever",
]
