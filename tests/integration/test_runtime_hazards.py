"""Ways in which workers of other makers lose a job, one by one: with ours each ends in a definite answer.

In every row the gateway is a real one, and a scripted hosted platform where the dialect has a say. What a handler may
return, yield and raise is in `test_handler_contract`, connections and deaths are in `test_runtime_faults`, a result
that is refused or finds nobody in `test_runtime_platform` and `test_runtime_exchange`.
"""

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.integration.test_runtime_lifecycle import gated, open_gate
from tests.support.gateway_process import GatewayProcess
from tests.support.scripted_platform import ScriptedPlatform
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

HANDLER = gated("""
def handler(job):
    asked = job["input"]
    if asked == "exit":
        sys.exit(3)
    if asked == "vanish":
        os._exit(4)
    if asked == "interrupt":
        raise KeyboardInterrupt
    if asked == "wait":
        wait_for("gate")
    if asked == "items":
        return iter([1, 2])
    return {"got": asked}
""")
STALE = (".submodel_jobs.pkl", ".runpod_jobs.pkl")


class Place:
    """A gateway or a platform, and what a test asks of it."""

    def __init__(
        self, environment: dict[str, str], submit: Callable[[Any], str], outcome: Callable[[str], Any]
    ) -> None:
        self.environment = environment
        self.submit = submit
        """Takes an input; gives the job's id."""

        self.outcome = outcome
        """`output` or `error` of a job, once it has ended."""


def of_gateway(gateway: GatewayProcess) -> Place:
    gateway.register("e")

    def submit(asked: Any) -> str:
        id: str = gateway.call("POST", "e/run", {"input": asked})["id"]
        return id

    def outcome(id: str) -> Any:
        status = gateway.call("GET", f"e/status-sync/{id}?wait=20000")
        assert status["status"] in ("COMPLETED", "FAILED"), status
        assert status["retries"] == 0, "it did not take a second worker"
        return status

    return Place(gateway.environment("e"), submit, outcome)


def of_platform(platform: ScriptedPlatform) -> Place:
    def submit(asked: Any) -> str:
        id = f"job-{len(platform.results)}-{len(platform.queue)}"
        platform.submit(id, asked)
        return id

    return Place(platform.environment(), submit, platform.result)


@pytest.fixture(params=["gateway", "platform"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        if request.param == "gateway":
            yield of_gateway(stack.enter_context(GatewayProcess(tmp_path)))
        else:
            yield of_platform(stack.enter_context(ScriptedPlatform()))


@pytest.mark.parametrize(
    ("way", "code", "sentence"),
    [
        ("exit", 3, "SystemExit"),
        ("vanish", 4, "os._exit(4)"),
        ("interrupt", 130, "KeyboardInterrupt"),
    ],
)
@pytest.mark.requirement("handler.exit")
def test_a_handler_that_ends_its_process_has_failed_its_job_first(
    place: Place, tmp_path: Path, way: str, code: int, sentence: str
) -> None:
    id = place.submit(way)
    with WorkerProcess(tmp_path, HANDLER, place.environment) as worker:
        assert sentence in place.outcome(id)["error"]
        assert worker.exit_code() == code


def test_a_file_that_another_sdk_left_in_the_working_directory_changes_nothing(place: Place, tmp_path: Path) -> None:
    for name in STALE:
        (tmp_path / name).write_bytes(b"stale")
    before = {path.name for path in tmp_path.iterdir()} | {"handler.py", "stderr.txt"}
    with WorkerProcess(tmp_path, HANDLER, place.environment) as worker:
        assert place.outcome(place.submit(1))["output"] == {"got": 1}
        assert {path.name for path in tmp_path.iterdir()} == before, "a worker keeps no state there"
        assert worker.terminate() == 0


@pytest.mark.parametrize("asked", ["text", "items"])
def test_an_output_that_is_no_dict_is_delivered_without_measured_times(
    place: Place, tmp_path: Path, asked: str
) -> None:
    source = HANDLER.replace('return {"got": asked}', "return asked")
    source = source.replace(
        "import submodel.serverless", "import submodel.serverless; sys.argv += ['--rp_debugger']", 1
    )
    with WorkerProcess(tmp_path, source, place.environment) as worker:
        assert place.outcome(place.submit(asked))["output"] == ([] if asked == "items" else asked)
        assert worker.terminate() == 0


@pytest.mark.parametrize("place", ["gateway"], indirect=True)
def test_a_job_that_comes_while_its_worker_is_told_to_end_is_run_by_the_next_one(place: Place, tmp_path: Path) -> None:
    for number in range(5):
        with WorkerProcess(tmp_path, HANDLER, place.environment) as worker:
            assert place.outcome(place.submit(number))["output"] == {"got": number}
            worker.signal(signal.SIGTERM)
            late = place.submit("late")
            assert worker.exit_code() == 0
        with WorkerProcess(tmp_path, HANDLER, place.environment):
            assert place.outcome(late)["output"] == {"got": "late"}


def test_a_second_job_while_the_first_one_blocks_is_run_when_it_has_ended(place: Place, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, HANDLER, {**place.environment, "SUBMODEL_CONCURRENCY": "2"}) as worker:
        first, second = place.submit("wait"), place.submit(json.dumps({}))
        worker.wait_log("waiting for gate")
        open_gate(tmp_path)
        assert [place.outcome(id)["output"]["got"] for id in (first, second)] == ["wait", "{}"]
        assert worker.terminate() == 0
