"""The worker against the real gateway: the whole way of a job, and what a killed gateway must not lose."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.worker_process import WorkerProcess

HANDLER = """
    import asyncio, os
    import submodel.serverless

    async def handler(job):
        for number in range(job["input"]["chunks"]):
            yield {"number": number}
        while job["input"].get("gate") and not os.path.exists("gate"):
            await asyncio.sleep(0.005)

    submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""
OPEN = ("IN_QUEUE", "IN_PROGRESS")
FIVE = [{"number": number} for number in range(5)]


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[GatewayProcess]:
    with GatewayProcess(tmp_path) as gateway:
        gateway.register("e")
        yield gateway


def final(gateway: GatewayProcess, job_id: str) -> Any:
    """The job once it is final, however long that takes."""
    while (status := gateway.call("GET", f"e/status-sync/{job_id}?wait=20000"))["status"] in OPEN:
        continue
    assert status["status"] in ("COMPLETED", "FAILED"), status
    return status


def stream(gateway: GatewayProcess, job_id: str, count: int) -> list[Any]:
    """The outputs of the first `count` chunks, read while the job runs."""
    seen: list[Any] = []
    while len(seen) < count:
        answer = gateway.call("GET", f"e/stream/{job_id}?wait=20000&offset={len(seen)}")
        assert answer["stream"], answer
        seen += [item["output"] for item in answer["stream"]]
    return seen


def test_a_job_runs_and_its_chunks_arrive_in_order(gateway: GatewayProcess, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, HANDLER, gateway.environment("e")) as worker:
        status = gateway.call("POST", "e/runsync?wait=20000", {"input": {"chunks": 5}})
        assert (status["status"], status["output"]) == ("COMPLETED", FIVE)
        assert stream(gateway, status["id"], 5) == FIVE
        assert worker.terminate() == 0


def test_a_killed_gateway_loses_neither_chunks_nor_the_result(gateway: GatewayProcess, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, HANDLER, gateway.environment("e")) as worker:
        job_id = gateway.call("POST", "e/run", {"input": {"chunks": 5, "gate": True}})["id"]
        assert stream(gateway, job_id, 5) == FIVE
        gateway.kill()
        (tmp_path / "gate").touch()
        gateway.start()
        status = final(gateway, job_id)
        assert (status["status"], status["output"]) == ("COMPLETED", FIVE)
        assert gateway.call("POST", "e/runsync?wait=20000", {"input": {"chunks": 1}})["status"] == "COMPLETED"
        assert worker.terminate() == 0


def test_a_cancelled_job_ends_in_the_worker(gateway: GatewayProcess, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, HANDLER, gateway.environment("e")) as worker:
        job_id = gateway.call("POST", "e/run", {"input": {"chunks": 1, "gate": True}})["id"]
        stream(gateway, job_id, 1)
        assert gateway.call("POST", f"e/cancel/{job_id}")["status"] == "CANCELLED"
        after = gateway.call("POST", "e/runsync?wait=20000", {"input": {"chunks": 1}})
        assert after["status"] == "COMPLETED", "its slot is free again"
        assert worker.terminate() == 0


def test_a_failure_reaches_the_client_as_a_report(gateway: GatewayProcess, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, HANDLER, gateway.environment("e")):
        status = gateway.call("POST", "e/runsync?wait=20000", {"input": {"chunks": "five"}})
        assert status["status"] == "FAILED"
        assert status["error"].startswith("handler: 'str' object cannot be interpreted as an integer \ntraceback: ")


def test_a_leaving_worker_finishes_its_job_and_leaves_the_next_to_others(
    gateway: GatewayProcess, tmp_path: Path
) -> None:
    with WorkerProcess(tmp_path, HANDLER, gateway.environment("e")) as worker:
        running = gateway.call("POST", "e/run", {"input": {"chunks": 1, "gate": True}})["id"]
        stream(gateway, running, 1)
        waiting = gateway.call("POST", "e/run", {"input": {"chunks": 1}})["id"]
        worker.signal(signal.SIGTERM)
        worker.wait_log("Leaving")
        (tmp_path / "gate").touch()
        assert worker.exit_code() == 0
        assert final(gateway, running)["status"] == "COMPLETED"
        assert gateway.call("GET", f"e/status/{waiting}")["status"] == "IN_QUEUE"
    with WorkerProcess(tmp_path, HANDLER, gateway.environment("e")):
        assert final(gateway, waiting)["status"] == "COMPLETED"
