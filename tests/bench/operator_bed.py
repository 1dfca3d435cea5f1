"""What the operator's benchmark stands on: the bed's API server with its audit log, KWOK's nodes, a real gateway."""

import asyncio
import json
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from submodel_operator.api.crd import NAME as DEFINITION
from submodel_operator.clock import pause
from submodel_operator.kube import Connection, load_connection
from submodel_operator.kube.resources import Resource
from tests.cluster.kubernetes import kubectl
from tests.support.kube_api import KubeApi, Object, open_api
from tests.support.kubeconfig import write_kubeconfig

SYSTEM = "submodel-bench"
"""The namespace whose service accounts the bed's audit log speaks of."""

NODES = Resource("v1", "nodes", "Node")
KUBECONFIG = "/run/bed/kubeconfig"
AUDIT_LOG = Path("/run/bed/log/audit")
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})
FAKE_NODE = "kwok.x-k8s.io/node"
AUDIT_DELAY_SECONDS = 0.5

Requests = Counter[tuple[str, str]]
"""By verb and resource, with its subresource."""


class Audit:
    """The API server's own record of what the operator asked of it."""

    def __init__(self, path: Path = AUDIT_LOG) -> None:
        self._path = path
        self._position = 0

    def mark(self) -> None:
        """Forget what was asked before now."""
        self._position = self._path.stat().st_size

    async def requests(self) -> Requests:
        """What was asked since the mark. A request is recorded a moment after it was answered."""
        await pause(AUDIT_DELAY_SECONDS)
        found: Requests = Counter()
        with self._path.open("rb") as log:
            log.seek(self._position)
            for line in log:
                entry = json.loads(line)
                about = entry.get("objectRef") or {"resource": entry["requestURI"].partition("?")[0]}
                place = "/".join(filter(None, (about.get("resource"), about.get("subresource"))))
                found[entry["verb"], place] += 1
        return found


def writes(requests: Requests) -> int:
    """How many of them were writes."""
    return sum(count for (verb, _), count in requests.items() if verb in WRITES)


@asynccontextmanager
async def prepared(folder: Path) -> AsyncIterator[tuple[KubeApi, str]]:
    """The custom resource, and an operator's credentials; yields the API and the operator's kubeconfig."""
    if kubectl("get", "crd", DEFINITION, check=False).code == 0:
        raise SystemExit(f"{DEFINITION} is there: remove the installed operator first, it would do the work, too")
    crds = str(Path(__file__).parents[2] / "crds")
    kubectl("apply", "--server-side", "-f", crds)
    kubectl("wait", "crd", DEFINITION, "--for=condition=Established", "--timeout=60s")
    kubectl("create", "namespace", SYSTEM)
    kubectl("create", "serviceaccount", "operator", "-n", SYSTEM)
    account = f"--serviceaccount={SYSTEM}:operator"
    kubectl("create", "clusterrolebinding", SYSTEM, "--clusterrole=cluster-admin", account)
    try:
        env = {"KUBECONFIG": KUBECONFIG}
        connection = await load_connection(env)
        async with open_api(env) as api:
            yield api, _kubeconfig(connection, folder)
    finally:
        kubectl("delete", "clusterrolebinding", SYSTEM)
        kubectl("delete", "namespace", SYSTEM, "--wait=false")
        kubectl("delete", "crd", DEFINITION, "--timeout=170s")


def _kubeconfig(connection: Connection, folder: Path) -> str:
    token = kubectl("create", "token", "operator", "-n", SYSTEM, "--duration=12h").out.strip()
    authority = folder / "ca.crt"
    authority.write_bytes(Path(connection.ca_path or "").read_bytes())
    return write_kubeconfig(folder / "kubeconfig", connection.server, token, authority)


@contextmanager
def kwok(folder: Path) -> Iterator[None]:
    """KWOK for the time of the context: it says of pods on its nodes that they run."""
    program = shutil.which("kwok")
    if program is None:
        raise SystemExit("kwok is not found; `tests/cluster/bed/bed build kwok` makes it")
    command = [
        program,
        f"--kubeconfig={KUBECONFIG}",
        f"--manage-nodes-with-annotation-selector={FAKE_NODE}=fake",
        "--cidr=10.245.0.1/24",
        "--node-ip=10.99.0.1",
        "--node-lease-duration-seconds=40",
    ]
    with (folder / "kwok.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()


async def add_nodes(api: KubeApi, count: int) -> None:
    """Nodes that only say they are there; returns when they are ready."""
    room = {"cpu": "1000", "memory": "1Ti", "pods": "2000"}
    for number in range(count):
        node: Object = {
            "metadata": {
                "name": f"fake-{number}",
                "labels": {FAKE_NODE: "fake"},
                "annotations": {FAKE_NODE: "fake"},
            },
            "spec": {"taints": [{"key": FAKE_NODE, "value": "fake", "effect": "NoSchedule"}]},
            "status": {"capacity": room, "allocatable": room},
        }
        await api.create(NODES, None, node)
    await api.until(NODES, None, lambda found: sum(map(_is_ready, found)) == count, f"{FAKE_NODE}=fake")


async def remove_nodes(api: KubeApi) -> None:
    """Take them away again."""
    found = await api.all(NODES, None, f"{FAKE_NODE}=fake")
    await asyncio.gather(*(api.call("DELETE", f"/api/v1/nodes/{each['metadata']['name']}") for each in found))


def _is_ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
