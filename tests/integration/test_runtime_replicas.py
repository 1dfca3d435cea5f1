"""A worker and two real gateways on one PostgreSQL, one of which dies: no result is lost, no job runs twice."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_runtime_faults import HANDLER, executions
from tests.integration.test_runtime_lifecycle import open_gate
from tests.support.balancer import Balancer
from tests.support.free_ports import free_port
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import Http, LiveGateway
from tests.support.postgres import shared_server
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

JOBS = 60


class Replicas:
    """Two gateways at fixed addresses, the first of which is that of the worker."""

    def __init__(self, folder: Path, store: str) -> None:
        self._folder = folder
        self._store = store
        self._ports = (free_port(), free_port())
        self._running: dict[int, LiveGateway] = {}
        for number in (0, 1):
            self.start(number)

    def start(self, number: int) -> None:
        """Start one; the operator tells it of the endpoint."""
        listen = f"127.0.0.1:{self._ports[number]}"
        environ = {"SUBMODEL_GATEWAY_STORE": self._store, "SUBMODEL_GATEWAY_LISTEN": listen}
        self._running[number] = LiveGateway(self._folder, **environ)
        register(self._running[number])

    @property
    def running(self) -> list[LiveGateway]:
        return list(self._running.values())

    def kill(self, number: int) -> None:
        """SIGKILL to all of its processes' parent: the port refuses from then on."""
        self._running.pop(number).kill()

    def close(self) -> None:
        for gateway in self._running.values():
            gateway.kill()

    def environment(self, *addresses: int) -> dict[str, str]:
        """That of a worker; `addresses` are ports of others in front of the gateways."""
        return {
            "SUBMODEL_GATEWAY_URL": ",".join(f"http://127.0.0.1:{port}" for port in addresses or self._ports),
            "SUBMODEL_ENDPOINT_ID": "e",
            "SUBMODEL_WORKER_ID": "w-1",
            "SUBMODEL_WORKER_TOKEN": TOKEN,
        }

    def call(self, number: int, method: str, path: str, document: Any = None) -> Any:
        with Http(f"http://127.0.0.1:{self._ports[number]}") as client:
            return client.ok(method, f"/v2/e/{path}", document)

    def submit(self, number: int, **fields: Any) -> str:
        id: str = self.call(number, "POST", "run", {"input": fields})["id"]
        return id

    def final(self, number: int, id: str) -> Any:
        while True:
            status = self.call(number, "GET", f"status-sync/{id}?wait=20000")
            if status["status"] in ("COMPLETED", "FAILED"):
                return status

    def stream(self, number: int, id: str, count: int) -> list[Any]:
        seen: list[Any] = []
        while len(seen) < count:
            answer = self.call(number, "GET", f"stream/{id}?wait=20000&offset={len(seen)}")
            seen += [item["output"] for item in answer["stream"]]
        return seen


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[Replicas]:
    with shared_server().database() as store:
        both = Replicas(tmp_path, store)
        try:
            yield both
        finally:
            both.close()


def test_what_a_job_gives_arrives_by_the_other_gateway_when_one_dies_in_its_middle(
    replicas: Replicas, tmp_path: Path
) -> None:
    with WorkerProcess(tmp_path, HANDLER, replicas.environment()) as worker:
        id = replicas.submit(0, chunks=2, wait=True)
        assert replicas.stream(1, id, 2) == [0, 1]
        replicas.kill(0)
        open_gate(tmp_path)
        status = replicas.final(1, id)
        assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", [0, 1, "last"], 0)
        assert replicas.stream(1, id, 3) == [0, 1, "last"]
        assert worker.terminate() == 0
    assert executions(tmp_path) == {id: 1}


def test_a_worker_goes_from_one_to_the_other_and_back_as_they_die_and_come_back(
    replicas: Replicas, tmp_path: Path
) -> None:
    with WorkerProcess(tmp_path, HANDLER, replicas.environment()) as worker:
        first = replicas.submit(1, chunks=1, wait=True)
        assert replicas.stream(1, first, 1) == [0]
        replicas.kill(0)
        open_gate(tmp_path)
        assert replicas.final(1, first)["retries"] == 0
        replicas.start(0)
        (tmp_path / "gate").unlink()
        second = replicas.submit(0, chunks=1, wait=True)
        assert replicas.stream(0, second, 1) == [0]
        replicas.kill(1)
        open_gate(tmp_path)
        status = replicas.final(0, second)
        assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", [0, "last"], 0)
        assert worker.terminate() == 0
    assert executions(tmp_path) == {first: 1, second: 1}


@pytest.mark.timeout(150)
def test_a_gateway_that_dies_under_load_costs_no_job_and_no_second_run(replicas: Replicas, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, HANDLER, replicas.environment()):
        ids = [replicas.submit(1, chunks=5) for _ in range(JOBS)]
        replicas.final(1, ids[JOBS // 4])
        replicas.kill(0)
        found = [replicas.final(1, id) for id in ids]
    assert {status["status"] for status in found} == {"COMPLETED"}
    assert [status["output"] for status in found] == [[*range(5), "last"]] * JOBS
    assert executions(tmp_path) == Counter(ids)
    assert Counter(status["retries"] for status in found) == {0: JOBS}, "also of an answer that died with its gateway"


@pytest.mark.timeout(150)
def test_a_worker_that_speaks_with_both_by_one_address_loses_nothing_when_one_dies(
    replicas: Replicas, tmp_path: Path
) -> None:
    """As in Kubernetes: its connections lead to either gateway, a repeated request often to the other one."""
    with Balancer(replicas.running) as service, WorkerProcess(tmp_path, HANDLER, replicas.environment(service.port)):
        ids = [replicas.submit(1, chunks=5) for _ in range(JOBS)]
        replicas.final(1, ids[JOBS // 4])
        replicas.kill(0)
        running = replicas.submit(1, chunks=1, wait=True)
        found = [replicas.final(1, id) for id in ids]
        assert replicas.stream(1, running, 1) == [0]
        open_gate(tmp_path)
        found.append(replicas.final(1, running))
    assert Counter((status["status"], status["retries"]) for status in found) == {("COMPLETED", 0): JOBS + 1}
    assert executions(tmp_path) == Counter([*ids, running])
