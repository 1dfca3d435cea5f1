"""The kinds of objects the operator touches, and where the API server serves them."""

import re
from dataclasses import dataclass
from typing import Final

from submodel_operator.api import constants
from submodel_operator.errors import ClusterRefused

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:-]{0,251}[A-Za-z0-9])?")


@dataclass(frozen=True, slots=True)
class Resource:
    """A namespaced kind."""

    api_version: str
    plural: str
    kind: str

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Path of the collection (of all namespaces when `namespace` is None), the object or its subresource.

        Names come from manifests too. One that leads elsewhere, as `../../other/secrets/name` does, would be read with
        the rights of the operator, which are those of all namespaces. Raises `ClusterRefused` for such a name.
        """
        for each in filter(None, (namespace, name)):
            if not _NAME.fullmatch(each):
                raise ClusterRefused(
                    f"{each!r} cannot be the name of an object; use lower-case letters, digits, - and ."
                )
        root = "/api" if "/" not in self.api_version else "/apis"
        parts = [root, self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *filter(None, (name, subresource))])


ENDPOINTS: Final = Resource(constants.API_VERSION, constants.PLURAL, constants.KIND)
DEPLOYMENTS: Final = Resource("apps/v1", "deployments", "Deployment")
PODS: Final = Resource("v1", "pods", "Pod")
CONFIG_MAPS: Final = Resource("v1", "configmaps", "ConfigMap")
SECRETS: Final = Resource("v1", "secrets", "Secret")
LEASES: Final = Resource("coordination.k8s.io/v1", "leases", "Lease")
EVENTS: Final = Resource("v1", "events", "Event")

CHILDREN: Final = {each.kind: each for each in (CONFIG_MAPS, SECRETS, DEPLOYMENTS)}

SELECTOR: Final = f"{constants.MANAGED_BY_LABEL}={constants.MANAGED_BY}"
"""Label selector of everything the operator made; objects of others never reach the process."""
