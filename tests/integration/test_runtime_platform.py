"""The worker on a hosted platform: the legacy dialect against a scripted platform and against our own gateway."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from submodel.contract import legacy_env
from tests.integration.test_runtime_lifecycle import gated, open_gate
from tests.support.gateway_process import WORKER_TOKEN, GatewayProcess
from tests.support.scripted_platform import ScriptedPlatform
from tests.support.worker_process import WorkerProcess

HANDLER = gated("""
async def handler(job):
    asked = job["input"]
    if asked == "stream":
        return chunks()
    if asked == "wait":
        print("waiting for", "gate", file=sys.stderr)
        try:
            while not os.path.exists("gate"):
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            print("stopped", file=sys.stderr)
            raise
    if asked == "progress":
        submodel.serverless.progress_update(job, "half")
        while not os.path.exists("gate"):
            await asyncio.sleep(0.005)
    if asked == "fail":
        raise ValueError("too hot")
    return asked

async def chunks():
    for value in ["a", {"b": 1}, None]:
        yield value
""")


@pytest.fixture
def platform() -> Iterator[ScriptedPlatform]:
    with ScriptedPlatform() as platform:
        yield platform


def test_jobs_run_and_their_results_have_the_shape_of_the_platform(platform: ScriptedPlatform, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, HANDLER, platform.environment(SUBMODEL_CONCURRENCY="3")) as worker:
        for name in ("é漢", "stream", "fail"):
            platform.submit(f"j {name}", name)
        assert platform.result("j é漢") == {"output": "é漢", "isStream": "false"}
        assert platform.result("j stream") == {"output": [], "isStream": "true"}
        assert "too hot" in platform.result("j fail")["error"]
        assert platform.chunks == {"j stream": ["a", {"b": 1}, None]}
        platform.wait_for(lambda: platform.pings)
        assert set(platform.pings[0]) == {"gpu", "runpod_version"}
        assert worker.terminate() == 0
    headers = dict(platform.asked)
    assert {fields["authorization"] for fields in headers.values()} == {"key"}
    assert headers["job-done"]["content-type"] == "application/x-www-form-urlencoded"
    assert "job-take-batch" in headers


def test_a_result_outlives_refusals_and_broken_connections(platform: ScriptedPlatform, tmp_path: Path) -> None:
    platform.faults["job-done"] = [503, 0, 401]
    platform.submit("a", 1)
    with WorkerProcess(tmp_path, HANDLER, platform.environment()):
        platform.wait_for(lambda: platform.deliveries == ["a", "a"])
        assert platform.result("a")["output"] == 1


def test_progress_is_posted_and_pings_list_the_job(platform: ScriptedPlatform, tmp_path: Path) -> None:
    platform.submit("a", "progress")
    with WorkerProcess(tmp_path, HANDLER, platform.environment()):
        platform.wait_for(lambda: platform.progress == {"a": "half"})
        platform.wait_for(lambda: any(ping.get("job_id") == "a" for ping in platform.pings))
        open_gate(tmp_path)
        assert platform.result("a")["output"] == "progress"


def test_a_job_to_be_stopped_is_cancelled(platform: ScriptedPlatform, tmp_path: Path) -> None:
    platform.submit("a", "wait")
    with WorkerProcess(tmp_path, HANDLER, platform.environment()) as worker:
        platform.wait_for(lambda: any(operation == "job-stop" for operation, _ in platform.asked))
        platform.stop("a")
        platform.submit("b", 2)
        assert platform.result("b")["output"] == 2
        assert "stopped" in worker.log
    assert "a" not in platform.results


@pytest.mark.slow
def test_a_worker_that_is_told_to_end_delivers_and_leaves_without_waiting_for_its_question(
    platform: ScriptedPlatform, tmp_path: Path
) -> None:
    platform.submit("a", "wait")
    with WorkerProcess(tmp_path, HANDLER, platform.environment(SUBMODEL_CONCURRENCY="2")) as worker:
        worker.wait_log("waiting for gate")
        worker.signal(signal.SIGTERM)
        worker.wait_log("Leaving")
        open_gate(tmp_path)
        assert worker.exit_code() == 0
    assert platform.results["a"]["output"] == "wait"


def test_a_job_that_was_handed_out_at_the_last_moment_is_run(platform: ScriptedPlatform, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, HANDLER, platform.environment()) as worker:
        platform.wait_for(lambda: any(operation == "job-take" for operation, _ in platform.asked))
        worker.signal(signal.SIGTERM)
        worker.wait_log("Leaving")
        platform.submit("late", 1)
        assert worker.exit_code() == 0
    assert platform.results["late"]["output"] == 1


def test_a_file_that_fails_is_reported_as_an_unhealthy_worker(platform: ScriptedPlatform, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, "raise ValueError('no weights')", platform.environment()) as worker:
        assert worker.exit_code() == 1
    assert platform.pings[-1]["status"] == "unhealthy"
    assert platform.pings[-1]["reason"].endswith("ValueError: no weights\n")


@pytest.mark.slow
def test_a_platform_that_is_gone_is_asked_until_it_is_back(tmp_path: Path) -> None:
    with ScriptedPlatform() as gone:
        environment = gone.environment()
        with WorkerProcess(tmp_path, HANDLER, environment) as worker:
            gone.wait_for(lambda: gone.pings)
            gone.faults["job-take"] = [500, 502, 404]
            gone.submit("a", 1)
            gone.submit("b", 2)
            assert gone.result("b")["output"] == 2
            assert worker.terminate() == 0


@pytest.mark.parametrize("prefix", legacy_env.PREFIXES)
def test_the_dialect_is_that_of_our_own_gateway(tmp_path: Path, prefix: str) -> None:
    with GatewayProcess(tmp_path) as gateway:
        gateway.register("e")
        environment = {
            **legacy_env.settings(prefix, f"http://127.0.0.1:{gateway.port}", "e"),
            f"{prefix}POD_ID": "w-1",
            f"{prefix}AI_API_KEY": WORKER_TOKEN,
            "SUBMODEL_CONCURRENCY": "2",
        }
        with WorkerProcess(tmp_path, HANDLER, environment) as worker:
            status = gateway.call("POST", "e/runsync?wait=20000", {"input": "stream"})
            assert (status["status"], status["output"], status["workerId"]) == ("COMPLETED", [], "w-1")
            stream = gateway.call("GET", f"e/stream/{status['id']}?offset=0")["stream"]
            assert [item["output"] for item in stream] == ["a", {"b": 1}, None]
            failed = gateway.call("POST", "e/runsync?wait=20000", {"input": "fail"})
            assert (failed["status"], "too hot" in failed["error"]) == ("FAILED", True)
            cancelled = gateway.call("POST", "e/run", {"input": "wait"})["id"]
            worker.wait_log("waiting for gate")
            gateway.call("POST", f"e/cancel/{cancelled}")
            worker.wait_log("stopped")
            running = gateway.call("POST", "e/run", {"input": "wait"})["id"]
            gateway.call("POST", "e/runsync?wait=20000", {"input": "a second one at once"})
            worker.signal(signal.SIGTERM)
            open_gate(tmp_path)
            assert worker.exit_code() == 0
            assert gateway.call("GET", f"e/status/{running}")["status"] == "COMPLETED"


@pytest.mark.slow
def test_a_result_outlives_a_killed_gateway(tmp_path: Path) -> None:
    with GatewayProcess(tmp_path) as gateway:
        gateway.register("e")
        environment = {
            **legacy_env.settings("RUNPOD_", f"http://127.0.0.1:{gateway.port}", "e"),
            "RUNPOD_POD_ID": "w-1",
            "RUNPOD_AI_API_KEY": WORKER_TOKEN,
        }
        with WorkerProcess(tmp_path, HANDLER, environment) as worker:
            job_id = gateway.call("POST", "e/run", {"input": "wait"})["id"]
            worker.wait_log("waiting for gate")
            gateway.kill()
            open_gate(tmp_path)
            worker.wait_log("trying again")
            gateway.start()
            status = gateway.call("GET", f"e/status-sync/{job_id}?wait=20000")
            assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", "wait", 0)
