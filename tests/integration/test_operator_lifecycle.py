"""The whole operator against a fake API server and a real gateway: what the suite for every server cannot show."""

import base64
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from submodel_operator.errors import UsageError
from submodel_operator.handlers import PartFailed
from tests.support.fake_apiserver import FakeApiServer, Kubelet
from tests.support.live_gateway import INTERNAL_TOKEN, LiveGateway
from tests.support.operator_thread import OperatorThread, operating, settings_for

NAMESPACE = "team-a"
ENDPOINTS = "submodelendpoints"
Object = dict[str, Any]


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer().running() as server:
        yield server


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


Operating = Callable[..., Any]


@pytest.fixture
def operate(server: FakeApiServer, gateway: LiveGateway, tmp_path: Path) -> Operating:
    def start(**changes: Any) -> Any:
        return operating(server, server.kubeconfig(tmp_path), settings_for(gateway.internal, INTERNAL_TOKEN, **changes))

    return start


_names = itertools.count(1)


@pytest.fixture
def name() -> str:
    """An endpoint name that no other test of this module uses: they share the gateway."""
    return f"tokens-{next(_names)}"


def create(server: FakeApiServer, name: str, **scaling: Any) -> Object:
    spec = {"worker": {"handler": {"inline": "pass"}}, "scaling": {"idleTimeout": 1, **scaling}}
    return server.store.create("submodelendpoints", NAMESPACE, {"metadata": {"name": name}, "spec": spec})


def condition(server: FakeApiServer, name: str, kind: str) -> Object:
    endpoint = server.store.find("submodelendpoints", NAMESPACE, name) or {}
    conditions = (endpoint.get("status") or {}).get("conditions") or ()
    return next((each for each in conditions if each["type"] == kind), {})


def is_settled(server: FakeApiServer, name: str) -> bool:
    """Whether the status tells that the endpoint works and that the gateway knows it."""
    return all(condition(server, name, kind).get("status") == "True" for kind in ("Ready", "ScalerHealthy"))


def deployment(server: FakeApiServer, name: str) -> Object:
    (found,) = (each for each in server.store.all("deployments") if each["metadata"]["name"].startswith(f"{name}-"))
    return found


def replicas(server: FakeApiServer, name: str) -> int:
    found = [each for each in server.store.all("deployments") if each["metadata"]["name"].startswith(f"{name}-")]
    return sum(each["spec"]["replicas"] for each in found)


async def submit(http: aiohttp.ClientSession, gateway: LiveGateway, name: str) -> None:
    async with http.post(f"{gateway.public}/v2/{NAMESPACE}.{name}/run", json={"input": {}}) as answer:
        assert answer.status == 200, await answer.text()


async def exchange(
    http: aiohttp.ClientSession, gateway: LiveGateway, server: FakeApiServer, name: str, pod: str, **fields: Any
) -> Object:
    """What the worker in this pod says to the gateway, with the credential that the operator made."""
    secret = server.store.get("secrets", NAMESPACE, deployment(server, name)["metadata"]["name"])
    token = base64.b64decode(secret["data"]["token"]).decode()
    async with http.post(
        f"{gateway.public}/v2/{NAMESPACE}.{name}/workers/{pod}/exchange",
        json={"session": "s", "request": 1, "phase": "ready", **fields},
        headers={"Authorization": f"Bearer {token}"},
    ) as answer:
        assert answer.status == 200, await answer.text()
        found: Object = await answer.json()
        return found


async def test_idle_workers_leave_and_only_they_do(
    server: FakeApiServer, operate: Operating, gateway: LiveGateway, http: aiohttp.ClientSession, name: str
) -> None:
    kubelet = Kubelet(server.store)
    async with operate():
        create(server, name, workersMin=3, workersMax=3)
        await server.store.until(lambda: replicas(server, name) == 3 and is_settled(server, name))
        pool = deployment(server, name)["metadata"]["name"]
        pods = [pod["metadata"]["name"] for pod in kubelet.alive(NAMESPACE, pool)]
        await submit(http, gateway, name)
        busy = pods[2]  # the one that the ReplicaSet would take first
        held = await exchange(http, gateway, server, name, busy, capacity=1, waitMs=1000)
        assert len(held["jobs"]) == 1
        for pod in pods[:2]:
            await exchange(http, gateway, server, name, pod)
        lower_minimum(server, name)
        await server.store.until(lambda: replicas(server, name) == 1)
        assert [pod["metadata"]["name"] for pod in kubelet.alive(NAMESPACE, pool)] == [busy]


def lower_minimum(server: FakeApiServer, name: str) -> None:
    endpoint = server.store.get("submodelendpoints", NAMESPACE, name)
    scaling = {**endpoint["spec"]["scaling"], "workersMin": 0}
    changed = {**endpoint, "spec": {**endpoint["spec"], "scaling": scaling}, "metadata": {**endpoint["metadata"]}}
    server.store.replace("submodelendpoints", changed)


async def test_a_later_apply_never_resets_the_number_of_workers(
    server: FakeApiServer, operate: Operating, name: str
) -> None:
    async with operate():
        create(server, name, workersMin=2)
        await server.store.until(lambda: replicas(server, name) == 2 and is_settled(server, name))
        found = deployment(server, name)
        metadata = {**found["metadata"], "annotations": {"serverless.submodel.ai/desired-hash": "of an older release"}}
        server.store.replace("deployments", {**found, "metadata": metadata})
        await server.store.until(lambda: not has_old_hash(server, name))
        assert replicas(server, name) == 2


def has_old_hash(server: FakeApiServer, name: str) -> bool:
    annotations = deployment(server, name)["metadata"]["annotations"]
    return bool(annotations["serverless.submodel.ai/desired-hash"] == "of an older release")


async def test_a_failing_worker_tells_its_last_lines_in_status_and_event(
    server: FakeApiServer, operate: Operating, name: str
) -> None:
    kubelet = Kubelet(server.store)
    lines = "Traceback\n  ...\nModuleNotFoundError: torch"
    async with operate():
        create(server, name, workersMin=1)
        await server.store.until(lambda: replicas(server, name) == 1)
        (pod,) = kubelet.alive(NAMESPACE, deployment(server, name)["metadata"]["name"])
        terminated = {"reason": "Error", "exitCode": 1, "message": f"{lines}\n"}
        crashed = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": terminated}}
        status = {"phase": "Running", "containerStatuses": [crashed]}
        kubelet.set_status(NAMESPACE, pod["metadata"]["name"], status)
        await server.store.until(lambda: condition(server, name, "Ready").get("reason") == "CrashLoop")
        await server.store.until(lambda: "WorkerFailed" in told(server, name))
    assert "fails: ModuleNotFoundError: torch (exit code 1)" in condition(server, name, "Ready")["message"]
    (failure,) = server.store.get(ENDPOINTS, NAMESPACE, name)["status"]["failures"]
    assert (failure["worker"], failure["message"]) == (pod["metadata"]["name"], lines)
    assert lines in told(server, name)["WorkerFailed"]["message"]


def told(server: FakeApiServer, name: str) -> dict[str, Object]:
    """Events of the endpoint by their reason."""
    found = server.store.all("events", NAMESPACE)
    return {each["reason"]: each for each in found if each["involvedObject"]["name"] == name}


@pytest.mark.slow
async def test_a_burst_of_endpoints_settles(server: FakeApiServer, operate: Operating, name: str) -> None:
    names = [f"{name}-{number}" for number in range(500)]
    async with operate():
        for each in names:
            create(server, each)
        await server.store.until(lambda: all(is_settled(server, each) for each in names))
        await server.store.until(lambda: len(server.store.all("deployments")) == 500)
    # Per endpoint: three children and the two statuses before and after the gateway has spoken.
    assert len(server.writes) <= 500 * 5


async def test_without_its_resource_definition_the_operator_says_what_to_apply(
    server: FakeApiServer, gateway: LiveGateway, tmp_path: Path
) -> None:
    server.served = False
    settings = settings_for(gateway.internal, INTERNAL_TOKEN)
    operator = OperatorThread(server, server.kubeconfig(tmp_path), settings, crd_patience_seconds=0.1)
    await operator.run_out()
    assert isinstance(operator.error, UsageError)
    assert "submodelendpoints.serverless.submodel.ai" in str(operator.error)


@pytest.mark.slow
async def test_a_watch_that_cannot_go_on_ends_the_operator(
    server: FakeApiServer, gateway: LiveGateway, tmp_path: Path
) -> None:
    operator = OperatorThread(server, server.kubeconfig(tmp_path), settings_for(gateway.internal, INTERNAL_TOKEN))
    await operator.watching()
    server.served = False
    server.cut_watches()
    await operator.run_out()
    assert isinstance(operator.error, PartFailed)
    assert "the watch of the cluster" in str(operator.error)


async def test_keys_in_secrets_open_their_endpoint_until_they_are_gone(
    server: FakeApiServer, http: aiohttp.ClientSession, name: str, tmp_path: Path
) -> None:
    (tmp_path / "keys").mkdir()
    keys = {"SUBMODEL_GATEWAY_KEYS": str(tmp_path / "keys"), "SUBMODEL_GATEWAY_KEY_PEPPER": "pepper"}
    text = "a-key-of-the-team-that-is-long-enough"
    secret = {"metadata": {"name": "team-keys"}, "data": {"ci": base64.b64encode(text.encode()).decode()}}

    async def health(gateway: LiveGateway, endpoint: str) -> int:
        url, headers = f"{gateway.public}/v2/{NAMESPACE}.{endpoint}/health", {"x-apikey": text}
        async with http.get(url, headers=headers) as answer:
            return answer.status

    with LiveGateway(tmp_path, **keys) as gateway:
        settings = settings_for(gateway.internal, INTERNAL_TOKEN)
        async with operating(server, server.kubeconfig(tmp_path), settings):
            server.store.create("secrets", NAMESPACE, secret)
            create(server, f"{name}-other")
            spec = {"worker": {"handler": {"inline": "pass"}}, "auth": {"keySecrets": [{"name": "team-keys"}]}}
            server.store.create(ENDPOINTS, NAMESPACE, {"metadata": {"name": name}, "spec": spec})
            await server.store.until(lambda: is_settled(server, name) and is_settled(server, f"{name}-other"))
            assert condition(server, name, "KeysUsable")["reason"] == "KeysKnown"
            assert await health(gateway, name) == 200
            assert await health(gateway, f"{name}-other") == 404


async def test_an_older_resource_definition_ends_the_operator_with_what_to_apply(
    server: FakeApiServer, gateway: LiveGateway, tmp_path: Path
) -> None:
    schema = server.definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["gpu"]
    operator = OperatorThread(server, server.kubeconfig(tmp_path), settings_for(gateway.internal, INTERNAL_TOKEN))
    await operator.run_out()
    assert isinstance(operator.error, UsageError)
    assert "it lacks spec.gpu" in str(operator.error)
    assert server.writes == []


async def test_of_two_endpoints_that_ask_for_one_id_the_older_has_it_and_the_other_follows(
    server: FakeApiServer, operate: Operating, gateway: LiveGateway, http: aiohttp.ClientSession, name: str
) -> None:
    spec = {"worker": {"handler": {"inline": "pass"}}, "endpointId": f"speech-{name}"}

    async def health() -> int:
        async with http.get(f"{gateway.public}/v2/speech-{name}/health") as answer:
            return answer.status

    async with operate():
        server.store.create(ENDPOINTS, NAMESPACE, {"metadata": {"name": name}, "spec": spec})
        await server.store.until(lambda: is_settled(server, name))
        assert await health() == 200
        server.store.create(ENDPOINTS, NAMESPACE, {"metadata": {"name": f"{name}-b"}, "spec": spec})
        await server.store.until(lambda: condition(server, f"{name}-b", "Ready").get("reason") == "EndpointIdTaken")
        server.store.delete(ENDPOINTS, NAMESPACE, name)
        await server.store.until(lambda: is_settled(server, f"{name}-b"))
        assert await health() == 200
