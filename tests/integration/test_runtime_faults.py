"""A worker and a real gateway when processes die and connections break: each job runs to one outcome all the same."""

import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from submodel_gateway.service.session import ANSWER_KEPT_BYTES
from tests.integration.test_runtime_gateway import final, stream
from tests.integration.test_runtime_lifecycle import gated, open_gate
from tests.support.gateway_process import GatewayProcess
from tests.support.tcp_proxy import Cut, TcpProxy
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

JOBS = 12
GONE_SECONDS = 60
"""Longer than a lease."""

HELD_SECONDS = 30

PADS = pytest.mark.parametrize("pad", ["", "x" * ANSWER_KEPT_BYTES], ids=["small", "large"])
"""Beside the input: the gateway keeps small answers for those that lack them, and gives jobs of large ones anew."""

HANDLER = gated("""
async def handler(job):
    with open("ran", "a") as file:
        print(job["id"], file=file)
    for number in range(job["input"].get("chunks", 0)):
        yield number
    if job["input"].get("wait"):
        print("waiting for", "gate", file=sys.stderr)
        while not os.path.exists("gate"):
            await asyncio.sleep(0.005)
    yield "last"
""").replace('{"handler": handler}', '{"handler": handler, "return_aggregate_stream": True}')

CHECK = "submodel.serverless.register_fitness_check(lambda: wait_for('gate'))"
CHECKED = HANDLER.replace("submodel.serverless.start", f"{CHECK}\n    submodel.serverless.start")
LOADING = HANDLER.replace("submodel.serverless.start", "wait_for('gate')\n    submodel.serverless.start")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path) as gateway:
        gateway.register("e")
        yield gateway


def submit(gateway: GatewayProcess, **fields: Any) -> str:
    id: str = gateway.call("POST", "e/run", {"input": fields})["id"]
    return id


@contextmanager
def halfway(gateway: GatewayProcess, folder: Path) -> Iterator[tuple[WorkerProcess, str]]:
    """A worker, and the id of its job: it has streamed 0 and 1 and waits for its gate."""
    with WorkerProcess(folder, HANDLER, gateway.environment("e")) as worker:
        id = submit(gateway, chunks=2, wait=True)
        assert stream(gateway, id, 2) == [0, 1]
        yield worker, id


def executions(folder: Path) -> Counter[str]:
    return Counter((folder / "ran").read_text().split())


@PADS
@pytest.mark.parametrize("cut", Cut)
def test_a_connection_that_is_cut_anywhere_costs_no_job_and_no_second_run(
    gateway: GatewayProcess, tmp_path: Path, cut: Cut, pad: str
) -> None:
    with TcpProxy(gateway.port) as proxy:
        environment = gateway.environment("e", SUBMODEL_GATEWAY_URL=f"http://127.0.0.1:{proxy.port}")
        with WorkerProcess(tmp_path, HANDLER, environment) as worker:
            ids = []
            for _ in range(JOBS):
                proxy.cuts += [cut, None]
                ids.append(submit(gateway, chunks=3, pad=pad))
                status = final(gateway, ids[-1])
                assert (status["status"], status["output"]) == ("COMPLETED", [0, 1, 2, "last"])
                assert status["retries"] == 0
            assert worker.terminate() == 0
    assert executions(tmp_path) == Counter(ids)


def test_connections_that_break_again_and_again_cost_no_job(gateway: GatewayProcess, tmp_path: Path) -> None:
    with TcpProxy(gateway.port) as proxy:
        environment = gateway.environment("e", SUBMODEL_GATEWAY_URL=f"http://127.0.0.1:{proxy.port}")
        with WorkerProcess(tmp_path, HANDLER, environment):
            ids = [submit(gateway, chunks=20) for _ in range(JOBS)]
            for id in ids:
                proxy.break_connections()
                assert final(gateway, id)["output"] == [*range(20), "last"]
    assert executions(tmp_path) == Counter(ids)


def test_a_killed_worker_costs_one_attempt_and_its_successor_runs_the_job(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    with halfway(gateway, tmp_path) as (worker, id):
        worker.signal(signal.SIGKILL)
        worker.exit_code()
    open_gate(tmp_path)
    with WorkerProcess(tmp_path, HANDLER, gateway.environment("e")):
        status = final(gateway, id)
        assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", [0, 1, "last"], 1)
    assert executions(tmp_path) == {id: 2}


def test_a_worker_that_is_told_to_end_delivers_to_a_gateway_that_comes_back(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    with halfway(gateway, tmp_path) as (worker, id):
        gateway.kill()
        worker.signal(signal.SIGTERM)
        open_gate(tmp_path)
        worker.wait_log("trying again")
        gateway.start()
        status = final(gateway, id)
        assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", [0, 1, "last"], 0)
        assert worker.exit_code() == 0


def test_a_worker_that_is_told_to_end_while_it_loads_leaves_the_job_to_others(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    id = submit(gateway)
    with WorkerProcess(tmp_path, LOADING, gateway.environment("e")) as worker:
        worker.wait_log("waiting for gate")
        assert worker.terminate() == 128 + signal.SIGTERM
    left_to_others(gateway, tmp_path, id)


def test_a_worker_that_is_told_to_end_while_it_is_checked_leaves_the_job_to_others(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    id = submit(gateway)
    with WorkerProcess(tmp_path, CHECKED, gateway.environment("e")) as worker:
        worker.wait_log("waiting for gate")
        worker.signal(signal.SIGTERM)
        worker.wait_log("Leaving")
        open_gate(tmp_path)
        assert worker.exit_code() == 0
    left_to_others(gateway, tmp_path, id)


@pytest.mark.timeout(180)
def test_a_gateway_that_is_gone_for_a_minute_in_the_middle_of_a_job_costs_nothing(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    with halfway(gateway, tmp_path) as (worker, id):
        gateway.kill()
        worker.wait_log("trying again")
        open_gate(tmp_path)
        threading.Event().wait(GONE_SECONDS)
        gateway.start()
        status = final(gateway, id)
        assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", [0, 1, "last"], 0)
        after = submit(gateway, chunks=1)
        assert final(gateway, after)["retries"] == 0
        assert worker.log.count("trying again") == 1
        assert worker.terminate() == 0
    assert executions(tmp_path) == {id: 1, after: 1}


@pytest.mark.timeout(180)
def test_a_handler_that_keeps_the_interpreters_lock_keeps_its_lease(gateway: GatewayProcess, tmp_path: Path) -> None:
    source = gated(f"""
def handler(job):
    with open("ran", "a") as file:
        print(job["id"], file=file)
    import ctypes
    ctypes.PyDLL(None).sleep({HELD_SECONDS})
    return "held"
""")
    with WorkerProcess(tmp_path, source, gateway.environment("e")) as worker:
        id = submit(gateway)
        status = final(gateway, id)
        assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", "held", 0)
        assert worker.terminate() == 0
    assert executions(tmp_path) == {id: 1}


@PADS
def test_workers_that_are_told_to_end_at_any_moment_cost_no_job_and_no_second_run(
    gateway: GatewayProcess, tmp_path: Path, pad: str
) -> None:
    """Each is told a few jobs after the one before, wherever it is then: between two jobs, in one, while delivering."""
    ids: list[str] = []
    for number in range(8):
        new = [submit(gateway, chunks=number, pad=pad) for _ in range(JOBS)]
        with WorkerProcess(tmp_path, HANDLER, gateway.environment("e", SUBMODEL_CONCURRENCY="3")) as worker:
            final(gateway, new[number])
            assert worker.terminate() == 0
        ids += new
    with WorkerProcess(tmp_path, HANDLER, gateway.environment("e")):
        found = [final(gateway, id) for id in ids]
    assert Counter((status["status"], status["retries"]) for status in found) == {("COMPLETED", 0): len(ids)}
    assert executions(tmp_path) == Counter(ids)


def left_to_others(gateway: GatewayProcess, folder: Path, id: str) -> None:
    assert gateway.call("GET", f"e/status/{id}")["status"] == "IN_QUEUE"
    with WorkerProcess(folder, HANDLER, gateway.environment("e")):
        assert final(gateway, id)["retries"] == 0
