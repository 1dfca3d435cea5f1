"""The program of `helm test` against a fake API server; operator, gateway and worker are real as far as it gets."""

import asyncio
import base64
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from submodel.contract import env
from tests.support.fake_apiserver import FakeApiServer, Kubelet
from tests.support.helm import CHART
from tests.support.live_gateway import INTERNAL_TOKEN, LiveGateway
from tests.support.operator_thread import operating, settings_for
from tests.support.worker_process import WorkerProcess

PROGRAM = CHART / "files/end_to_end.py"
NAMESPACE, NAME = "team", "demo-test"
ENDPOINTS = "submodelendpoints"

pytestmark = pytest.mark.slow


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer().running() as server:
        yield server


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    (tmp_path / "gateway").mkdir()
    with LiveGateway(tmp_path / "gateway") as gateway:
        yield gateway


async def run(server: FakeApiServer, folder: Path, url: str, seconds: float = 30) -> tuple[int, str]:
    """Exit code of the program and what it printed."""
    environ = {
        "KUBECONFIG": server.kubeconfig(folder),
        "TEST_NAMESPACE": NAMESPACE,
        "TEST_NAME": NAME,
        "TEST_SECONDS": str(seconds),
        "SUBMODEL_ENDPOINT_BASE_URL": f"{url}/v2",
    }
    pipe = asyncio.subprocess.PIPE
    program = await asyncio.create_subprocess_exec(sys.executable, str(PROGRAM), env=environ, stdout=pipe, stderr=pipe)
    out, err = await program.communicate()
    assert not err, err.decode()
    assert program.returncode is not None
    return program.returncode, out.decode()


def report(server: FakeApiServer, *conditions: dict[str, str], **status: Any) -> None:
    """Play the operator: every endpoint gets these conditions as soon as it is made."""

    def react(plural: str, kind: str, changed: dict[str, Any]) -> None:
        if plural == ENDPOINTS and kind == "ADDED":
            changed["status"] = {"conditions": [{**each, "observedGeneration": 1} for each in conditions], **status}

    server.store.reactions.append(react)


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "message": message}


READY = condition("Ready", "True", "Registered")


async def test_a_job_runs_from_end_to_end_and_nothing_is_left(
    server: FakeApiServer, gateway: LiveGateway, tmp_path: Path
) -> None:
    kubelet = Kubelet(server.store)
    with ExitStack() as workers:

        def start(pod: dict[str, Any]) -> None:
            pool = pod["metadata"]["generateName"].removesuffix("-")
            token = server.store.get("secrets", NAMESPACE, pool)["data"]["token"]
            source = server.store.get("configmaps", NAMESPACE, pool)["data"]["handler.py"]
            environ = {
                env.GATEWAY_URL: gateway.public,
                env.ENDPOINT_ID: f"{NAMESPACE}.{NAME}",
                env.WORKER_ID: pod["metadata"]["name"],
                env.WORKER_TOKEN: base64.b64decode(token).decode(),
            }
            workers.enter_context(WorkerProcess(tmp_path, source, environ))

        kubelet.started = start
        settings = settings_for(gateway.internal, INTERNAL_TOKEN)
        async with operating(server, server.kubeconfig(tmp_path), settings):
            code, said = await run(server, tmp_path, gateway.public)
    assert code == 0, said
    assert f"endpoint {NAMESPACE}.{NAME} made" in said
    assert "job COMPLETED" in said
    assert not server.store.all(ENDPOINTS)


async def test_what_keeps_an_endpoint_from_being_ready_is_told_and_the_endpoint_removed(
    server: FakeApiServer, tmp_path: Path
) -> None:
    pull = condition("WorkersHealthy", "False", "ImagePullFailed", "the image x cannot be pulled")
    failure = {"at": "", "worker": "demo-test-1", "reason": "ImagePullFailed", "message": "no such host"}
    report(server, condition("Ready", "False", "ImagePullFailed", "no worker works"), pull, failures=[failure])
    code, said = await run(server, tmp_path, "http://127.0.0.1:9", seconds=1)
    assert code == 1
    assert "FAILED: after 1 seconds this did not come true: it is Ready" in said
    assert "WorkersHealthy is False, ImagePullFailed: the image x cannot be pulled" in said
    assert "worker demo-test-1 failed, ImagePullFailed: no such host" in said
    assert not server.store.all(ENDPOINTS)


async def test_an_operator_that_is_silent_is_suspected(server: FakeApiServer, tmp_path: Path) -> None:
    code, said = await run(server, tmp_path, "http://127.0.0.1:9", seconds=0)
    assert code == 1
    assert "The operator has not looked at the endpoint" in said


async def test_a_refusal_of_the_kubernetes_api_is_told_in_its_words(server: FakeApiServer, tmp_path: Path) -> None:
    server.faults.append(lambda request: (403, "endpoints are not for you") if request.method == "POST" else None)
    code, said = await run(server, tmp_path, "http://127.0.0.1:9")
    assert code == 1
    assert "FAILED: the Kubernetes API refuses (403): endpoints are not for you" in said


async def test_a_missing_api_key_leads_to_the_value_that_names_one(server: FakeApiServer, tmp_path: Path) -> None:
    report(server, READY)
    (tmp_path / "keys").mkdir()
    keys = {"SUBMODEL_GATEWAY_KEYS": str(tmp_path / "keys"), "SUBMODEL_GATEWAY_KEY_PEPPER": "pepper"}
    with LiveGateway(tmp_path, **keys) as gateway:
        code, said = await run(server, tmp_path, gateway.public)
    assert code == 1
    assert "(401)" in said
    assert "test.apiKeySecret" in said


async def test_an_endpoint_that_was_left_behind_is_replaced(server: FakeApiServer, tmp_path: Path) -> None:
    left = server.store.create(ENDPOINTS, NAMESPACE, {"metadata": {"name": NAME}, "spec": {"worker": {"image": "x"}}})
    code, said = await run(server, tmp_path, "http://127.0.0.1:9", seconds=0)
    assert code == 1
    made = [changed for _, plural, kind, changed in server.store.events if (plural, kind) == (ENDPOINTS, "ADDED")]
    assert [each["metadata"]["uid"] == left["metadata"]["uid"] for each in made] == [True, False], said
