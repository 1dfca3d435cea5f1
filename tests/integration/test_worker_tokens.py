"""A worker that has nothing but the token of its pod, against the real gateway and an API server that vouches."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.pod_tokens import AUDIENCE, LIFE_SECONDS, ReviewServer, pod_token
from tests.support.worker_process import WorkerProcess

POD = "app-r1-5d9c7b8f4c-abcde"
HANDLER = """
    import submodel.serverless
    submodel.serverless.start({"handler": lambda job: job["input"]})
"""


@dataclass
class Cluster:
    """A gateway, the API server that it asks, and the folder in which the kubelet keeps the token of one pod."""

    gateway: GatewayProcess
    server: ReviewServer
    folder: Path

    @property
    def file(self) -> Path:
        return self.folder / "pod-token"

    def renew(self, salt: int) -> str:
        """Give the pod a token, as the kubelet does; returns it."""
        now = time.time_ns() // 1_000_000_000
        token = pod_token(POD, expires_at=now + LIFE_SECONDS, salt=salt)
        self.server.vouch(token, POD)
        self.file.write_text(token)
        return token

    def worker(self, name: str = POD, endpoint: str = "ns.app") -> WorkerProcess:
        variables = self.gateway.environment(
            endpoint, SUBMODEL_WORKER_ID=name, SUBMODEL_WORKER_TOKEN="", SUBMODEL_WORKER_TOKEN_FILE=str(self.file)
        )
        folder = self.folder / name
        folder.mkdir()
        return WorkerProcess(folder, HANDLER, variables)

    def answer(self, value: int) -> Any:
        return self.gateway.call("POST", "ns.app/runsync?wait=20000", {"input": value})["output"]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    (tmp_path / "token").write_text("gateways-own")
    settings = {
        "SUBMODEL_GATEWAY_WORKER_TOKEN_AUDIENCE": AUDIENCE,
        "SUBMODEL_GATEWAY_KUBERNETES_CREDENTIALS": str(tmp_path),
    }
    with ReviewServer().running() as server:
        with GatewayProcess(tmp_path, SUBMODEL_GATEWAY_KUBERNETES_URL=server.url, **settings) as gateway:
            pool = {"revision": "r1", "namespace": "ns", "deployment": "app-r1"}
            gateway.register("ns.app", workerTokens=[], workerPools=[pool])
            yield Cluster(gateway, server, tmp_path)


def test_a_worker_is_let_in_by_the_token_of_its_pod_and_goes_on_without_the_api_server(cluster: Cluster) -> None:
    token = cluster.renew(1)
    with cluster.worker() as worker:
        assert cluster.answer(1) == 1
        cluster.server.answer = 503
        assert cluster.answer(2) == 2
        assert worker.terminate() == 0
        assert token not in worker.log
    assert cluster.server.credentials == ["Bearer gateways-own"]


@pytest.mark.slow
def test_a_worker_that_comes_while_the_api_server_is_away_waits_for_it(cluster: Cluster) -> None:
    cluster.renew(1)
    cluster.server.answer = 500
    with cluster.worker() as worker:
        worker.wait_log("cannot be checked while the API server is away")
        cluster.server.answer = None
        assert cluster.answer(1) == 1
        assert worker.terminate() == 0


def test_a_worker_whose_token_was_void_goes_on_with_the_one_that_took_its_place(cluster: Cluster) -> None:
    cluster.file.write_text("void")
    with cluster.worker() as worker:
        worker.wait_log("the gateway refused the request (401)")
        cluster.renew(1)
        assert cluster.answer(1) == 1
        assert worker.terminate() == 0


@pytest.mark.slow
def test_a_gateway_that_was_started_anew_lets_the_workers_in_before_the_operator_has_spoken(cluster: Cluster) -> None:
    cluster.renew(1)
    with cluster.worker() as worker:
        assert cluster.answer(1) == 1
        cluster.gateway.kill()
        cluster.gateway.start()
        assert cluster.answer(2) == 2
        assert worker.terminate() == 0
