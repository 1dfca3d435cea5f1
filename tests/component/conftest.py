"""One suite, two API servers: the fake one always, and the one of the test cluster where there is one."""

import os
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from submodel_operator.api.crd import NAME as DEFINITION
from submodel_operator.kube import load_connection
from tests.cluster.kubernetes import kubectl, refuse_unknown_context
from tests.component.world import World
from tests.support.fake_apiserver import FakeApiServer
from tests.support.fault_proxy import FaultProxy
from tests.support.kube_api import NAMESPACES, KubeApi, open_api
from tests.support.live_gateway import LiveGateway

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture(scope="session")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveGateway]:
    """One for all tests: their endpoints differ in the namespace."""
    with LiveGateway(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def definition() -> Iterator[None]:
    """The custom resource on the real server; away afterwards, because the chart installs its own."""
    if reason := refuse_unknown_context():
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(reason)
    if kubectl("get", "crd", DEFINITION, check=False).code == 0:
        pytest.fail(f"{DEFINITION} is there already: an installed operator would act on these tests, too")
    kubectl("apply", "--server-side", "-f", str(CRDS))
    kubectl("wait", "crd", DEFINITION, "--for=condition=Established", "--timeout=60s")
    yield
    kubectl("delete", "crd", DEFINITION, "--timeout=60s")


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.cluster)])
async def world(request: pytest.FixtureRequest, gateway: LiveGateway, tmp_path: Path) -> AsyncIterator[World]:
    """An API server behind a proxy."""
    namespace = f"c-{uuid.uuid4().hex[:8]}"
    if request.param == "real":
        request.getfixturevalue("definition")
    opened = _fake(tmp_path) if request.param == "fake" else _real(namespace)
    async with opened as (api, env), FaultProxy(await load_connection(env)).running() as proxy:
        yield World(api, proxy, gateway, namespace, tmp_path)


@asynccontextmanager
async def _fake(folder: Path) -> AsyncIterator[tuple[KubeApi, Mapping[str, str]]]:
    async with FakeApiServer().running() as server:
        env = {"KUBECONFIG": server.kubeconfig(folder)}
        async with open_api(env) as api:
            yield api, env


@asynccontextmanager
async def _real(namespace: str) -> AsyncIterator[tuple[KubeApi, Mapping[str, str]]]:
    env = {"KUBECONFIG": os.environ.get("KUBECONFIG") or str(Path.home() / ".kube/config")}
    async with open_api(env) as api:
        await api.create(NAMESPACES, None, {"metadata": {"name": namespace}})
        try:
            yield api, env
        finally:
            await api.call("DELETE", f"{NAMESPACES.path(None)}/{namespace}")
