"""How a worker process starts and ends: what the gateway hears, what is delivered, and the exit code."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.scripted_gateway import ScriptedGateway
from tests.support.worker_process import PYTHON, WorkerProcess

ECHO = """
    import submodel
    submodel.serverless.start({"handler": lambda job: job["input"]})
"""

GATED = """
    import asyncio, os, signal, sys, threading, time
    import submodel.serverless

    def wait_for(path):
        print("waiting for", path, file=sys.stderr)
        while not os.path.exists(path):
            time.sleep(0.005)

    {handler}

    submodel.serverless.start({{"handler": handler}})
    print("after start", file=sys.stderr)
"""


def gated(handler: str) -> str:
    """A handler's file; its jobs can wait until the file `gate` exists."""
    return GATED.format(handler=handler.strip().replace("\n", "\n    "))


BLOCKING = gated("""
def handler(job):
    wait_for("gate")
    return "finished"
""")

BLOCKING_IN_C = gated("""
def handler(job):
    lock = threading.Lock()
    lock.acquire()
    threading.Thread(target=lambda: (wait_for("gate"), lock.release())).start()
    lock.acquire()
    return "finished"
""")

ASYNC = gated("""
async def handler(job):
    print("waiting for", "gate", file=sys.stderr)
    while not os.path.exists("gate"):
        await asyncio.sleep(0.005)
    return "finished"
""")


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with ScriptedGateway() as gateway:
        yield gateway


def open_gate(folder: Path) -> None:
    (folder / "gate").touch()


# Start:


def test_a_worker_announces_itself_before_its_file_is_run(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("wait_for('gate')\ndef handler(job): return 1")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        gateway.wait_phase("starting")
        assert all(request["phase"] == "starting" for request in gateway.requests)
        open_gate(tmp_path)
        gateway.wait_phase("ready")
        assert worker.terminate() == 0


def test_a_signal_while_the_file_is_still_being_run_ends_the_process_at_once(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    with WorkerProcess(tmp_path, gated("wait_for('gate')\nhandler = print"), gateway.environment()) as worker:
        gateway.wait_phase("starting")
        assert worker.terminate() == 128 + signal.SIGTERM


def test_a_file_that_raises_is_reported_and_exits_1(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = "def load():\n    raise ValueError('no weights')\nload()\n"
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert worker.exit_code() == 1
        last = gateway.requests[-1]
        assert last["phase"] == "unhealthy"
        assert last["reason"].endswith("in load\n    raise ValueError('no weights')\nValueError: no weights\n")
        assert last["reason"] in worker.log
        assert "runpy" not in worker.log


def test_a_long_traceback_is_cut_to_its_end(gateway: ScriptedGateway, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, "raise ValueError('x' * 5000 + ' end')", gateway.environment()) as worker:
        assert worker.exit_code() == 1
    assert len(gateway.requests[-1]["reason"]) == 2000
    assert gateway.requests[-1]["reason"].endswith(" end\n")


def test_a_file_that_never_calls_start_is_reported_and_exits_1(gateway: ScriptedGateway, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, "def handler(job): return 1", gateway.environment()) as worker:
        assert worker.exit_code() == 1
        assert 'ended without calling submodel.serverless.start({"handler": fn})' in worker.log
    assert "ended without calling" in gateway.requests[-1]["reason"]


def test_a_file_that_exits_is_reported_and_keeps_its_code(gateway: ScriptedGateway, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, "import sys; sys.exit(7)", gateway.environment()) as worker:
        assert worker.exit_code() == 7
    assert "exited with code 7 before it called submodel.serverless.start()" in gateway.requests[-1]["reason"]
    assert worker.log.rstrip().endswith(gateway.requests[-1]["reason"]), "the operator knows that one is the other"


def test_a_file_that_exits_with_words_is_reported_with_them(gateway: ScriptedGateway, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, "import sys; sys.exit('no model')", gateway.environment()) as worker:
        assert worker.exit_code() == 1
    assert gateway.requests[-1]["reason"].endswith("before it called submodel.serverless.start(): no model")
    assert worker.log.rstrip().endswith("no model")


def test_a_failed_fitness_check_is_reported_and_exits_1(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = """
        import submodel.serverless

        @submodel.serverless.register_fitness_check
        async def gpu():
            raise RuntimeError("no CUDA device")

        submodel.serverless.start({"handler": print})
    """
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert worker.exit_code() == 1
    last = gateway.requests[-1]
    assert (last["phase"], last["reason"]) == ("unhealthy", "gpu: RuntimeError: no CUDA device")
    assert not any(request["phase"] == "ready" for request in gateway.requests)


def test_what_the_start_was_made_of_is_said_once_it_is_over(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("wait_for('gate')\nsubmodel.serverless.register_fitness_check(lambda: None)\nhandler = print")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        gateway.wait_phase("starting")
        open_gate(tmp_path)
        gateway.wait_phase("ready")
        gateway.submit("a")
        gateway.result("a")
        assert worker.terminate() == 0
    said = [request for request in gateway.requests if "startup" in request]
    assert said == [request for request in gateway.requests if request["phase"] == "ready"][: len(said)]
    assert len(said) < len([request for request in gateway.requests if request["phase"] == "ready"])
    assert all(milliseconds >= 0 for milliseconds in said[0]["startup"].values())
    assert "loadMs" in said[0]["startup"]


def test_a_handler_that_cannot_be_called_is_reported(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = "import submodel.serverless\nsubmodel.serverless.start({'handler': 3})"
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert worker.exit_code() == 1
        assert 'config["handler"] is int, not a callable' in worker.log
    assert gateway.requests[-1]["phase"] == "unhealthy"


def test_start_outside_the_main_thread_is_refused(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = """
        import threading, submodel.serverless
        def run():
            try:
                submodel.serverless.start({"handler": print})
            except Exception as error:
                print(error)
        threading.Thread(target=run).start()
    """
    with WorkerProcess(tmp_path, source, gateway.environment(), module=False) as worker:
        assert worker.exit_code() == 0
        assert "start() must be called in the main thread" in worker.log


@pytest.mark.parametrize(("module", "way"), [(True, "submodel up -f endpoint.yaml"), (False, "--rp_serve_api")])
def test_without_the_worker_environment_start_says_how_to_run_locally(tmp_path: Path, module: bool, way: str) -> None:
    with WorkerProcess(tmp_path, ECHO, {}, module=module) as worker:
        assert worker.exit_code() != 0
        assert "SUBMODEL_GATEWAY_URL" in worker.log
        assert way in worker.log


def test_importing_the_runtime_stays_light() -> None:
    heavy = ["kopf", "kubernetes", "yaml", "pydantic", "aiohttp", "httptools", "sqlite3", "urllib3"]
    code = f"import sys, submodel; submodel.serverless.start; print([m for m in {heavy} if m in sys.modules])"
    code += f"; import submodel.serverless.__main__; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


# End:


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_worker_leaves_at_once(gateway: ScriptedGateway, tmp_path: Path, number: signal.Signals) -> None:
    with WorkerProcess(tmp_path, ECHO, gateway.environment()) as worker:
        gateway.wait_phase("ready")
        worker.signal(number)
        assert worker.exit_code() == 0
    assert gateway.requests[-1]["phase"] == "draining"


def test_a_signal_just_before_the_first_job_could_come_ends_the_worker(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    source = """
        import logging, os, signal
        import submodel.serverless

        class AtTheLastMoment(logging.Handler):
            def emit(self, record):
                if "serves endpoint" in record.getMessage():
                    os.kill(os.getpid(), signal.SIGTERM)
                    submodel.serverless._process_worker._settled.wait()

        logging.getLogger("submodel").addHandler(AtTheLastMoment())
        submodel.serverless.start({"handler": lambda job: 1})
    """
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert worker.exit_code() == 0
    assert gateway.requests[-1]["phase"] == "draining"


@pytest.mark.parametrize("source", [BLOCKING, BLOCKING_IN_C, ASYNC], ids=["blocking", "blocking in C", "async"])
def test_a_running_job_is_finished_and_delivered_before_the_worker_leaves(
    gateway: ScriptedGateway, tmp_path: Path, source: str
) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        worker.wait_log("waiting for gate")
        worker.signal(signal.SIGTERM)
        gateway.wait_phase("draining")
        gateway.submit("b")
        open_gate(tmp_path)
        assert gateway.result("a")["output"] == "finished"
        assert worker.exit_code() == 0
        assert "after start" in worker.log
    assert [job["id"] for job in gateway.queue] == ["b"], "nothing is taken while draining"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_stream_goes_on_to_its_end_before_the_worker_leaves(
    gateway: ScriptedGateway, tmp_path: Path, kind: str
) -> None:
    source = gated(f"""
{kind} handler(job):
    yield 1
    wait_for("gate")
    yield 2
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        gateway.wait_for(lambda: gateway.chunks.get("a") == [1])
        worker.signal(signal.SIGTERM)
        gateway.wait_phase("draining")
        open_gate(tmp_path)
        assert gateway.result("a")["output"] == []
        assert gateway.chunks["a"] == [1, 2]
        assert worker.exit_code() == 0


def test_a_job_that_has_not_begun_is_given_back(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.submit("a")
    gateway.submit("b")
    with WorkerProcess(tmp_path, BLOCKING, gateway.environment(SUBMODEL_CONCURRENCY="2")) as worker:
        gateway.wait_running("b")
        worker.wait_log("waiting for gate")
        worker.signal(signal.SIGTERM)
        gateway.wait_for(lambda: gateway.released == ["b"])
        open_gate(tmp_path)
        assert worker.exit_code() == 0
    assert list(gateway.results) == ["a"]


@pytest.mark.parametrize("source", [BLOCKING, BLOCKING_IN_C, ASYNC], ids=["blocking", "blocking in C", "async"])
def test_a_job_that_outlasts_the_drain_is_given_back(gateway: ScriptedGateway, tmp_path: Path, source: str) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment(SUBMODEL_DRAIN_SECONDS="0.1")) as worker:
        worker.wait_log("waiting for gate")
        assert worker.terminate() == 1
    assert gateway.released == ["a"]
    assert gateway.results == {}


def test_a_second_signal_ends_the_worker_at_once(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, BLOCKING_IN_C, gateway.environment()) as worker:
        worker.wait_log("waiting for gate")
        worker.signal(signal.SIGTERM)
        gateway.wait_phase("draining")
        assert worker.terminate() == 128 + signal.SIGTERM


def test_a_worker_leaves_although_the_gateway_is_gone(gateway: ScriptedGateway, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, ECHO, gateway.environment()) as worker:
        gateway.wait_phase("ready")
        gateway.kill()
        assert worker.terminate() == 0


@pytest.mark.requirement("handler.exit")
@pytest.mark.parametrize(
    ("ending", "code", "text"),
    [
        ("sys.exit(3)", 3, "SystemExit"),
        ("sys.exit('the GPU is lost')", 1, "SystemExit"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
    ],
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_handler_that_ends_the_process_fails_its_job_first(
    gateway: ScriptedGateway, tmp_path: Path, kind: str, ending: str, code: int, text: str
) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, gated(f"{kind} handler(job): {ending}"), gateway.environment()) as worker:
        assert text in json.loads(gateway.result("a")["error"])["error_type"]
        assert worker.exit_code() == code
        last_line = worker.log.splitlines()[-1]  # which is shown as the reason
        assert "GPU is lost" in last_line if "GPU" in ending else "A handler ended this worker." in last_line


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_handler_that_ends_the_process_at_once_fails_its_job_first(
    gateway: ScriptedGateway, tmp_path: Path, kind: str
) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, gated(f"{kind} handler(job): os._exit(5)"), gateway.environment()) as worker:
        assert gateway.result("a")["error"] == "the handler ended its process with os._exit(5)"
        assert worker.exit_code() == 5


def test_a_forked_child_that_ends_at_once_fails_no_job(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    child = os.fork()
    if child == 0:
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert gateway.result("a")["output"] == 5
        assert worker.terminate() == 0


@pytest.mark.parametrize(
    ("ending", "code"), [("sys.exit(3)", 3), ("sys.exit('in vain')", 1), ("raise ValueError", 1), ("return 'child'", 0)]
)
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_forked_child_that_comes_out_of_the_handler_ends_there_and_the_worker_goes_on(
    gateway: ScriptedGateway, tmp_path: Path, kind: str, ending: str, code: int
) -> None:
    source = gated(f"""
{kind} handler(job):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        {ending}
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
""")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        for job_id in ("a", "b"):
            gateway.submit(job_id)
            assert gateway.result(job_id)["output"] == code
        assert not any(request["phase"] == "draining" for request in gateway.requests)
        assert worker.terminate() == 0


def test_progress_in_a_forked_child_is_not_waited_for_and_said(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    held, forked = threading.Event(), threading.Event()
    def converse():
        with submodel.serverless._process_worker._exchange._lock:
            held.set()
            forked.wait()
    threading.Thread(target=converse).start()
    held.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        submodel.serverless.progress_update(job, 1)
        os._exit(5)
    forked.set()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert gateway.result("a")["output"] == 5
        assert "progress_update() does nothing in a forked process" in worker.log
        assert worker.terminate() == 0


def test_a_forked_child_that_streams_ends_there(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    child = os.fork()
    if child == 0:
        signal.alarm(10)
        yield "of the child"
    yield os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert gateway.result("a")["output"] == []
        assert gateway.chunks["a"] == [0]
        assert worker.terminate() == 0


@pytest.mark.slow
def test_what_other_jobs_gave_outlives_a_gateway_that_is_away_when_the_process_ends(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    source = gated("""
async def handler(job):
    if job["id"] == "a":
        return "precious"
    while not os.path.exists("gate"):
        await asyncio.sleep(0.005)
    os._exit(5)
""")
    with WorkerProcess(tmp_path, source, gateway.environment(SUBMODEL_CONCURRENCY="2")) as worker:
        gateway.submit("b")
        gateway.wait_running("b")
        gateway.submit("a")
        gateway.change(status_of_results=503)
        gateway.wait_for(lambda: gateway.status_of_results == 0)
        gateway.change(status=503)
        open_gate(tmp_path)
        gateway.wait_for(lambda: sum("precious" in str(request) for request in gateway.requests) > 9)
        gateway.change(status=200)
        assert gateway.result("a")["output"] == "precious"
        assert worker.exit_code() == 5


def test_a_worker_that_refreshes_runs_one_job_and_leaves(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = """
        import submodel
        submodel.serverless.start({"handler": lambda job: job["input"], "refresh_worker": True})
    """
    gateway.submit("a", 1)
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert gateway.result("a")["stopWorker"] is True
        assert worker.exit_code() == 0
    assert list(gateway.results) == ["a"]


def test_a_job_may_ask_for_a_fresh_worker(gateway: ScriptedGateway, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, ECHO, gateway.environment()) as worker:
        gateway.submit("a", {"refresh_worker": True, "kept": 1})
        result = gateway.result("a")
        assert (result["output"], result["stopWorker"]) == ({"kept": 1}, True)
        gateway.submit("b", {"refresh_worker": False})
        result = gateway.result("b")
        assert (result.get("output"), result.get("stopWorker")) == (None, None)
        assert worker.terminate() == 0


def test_an_exit_in_a_task_of_the_handlers_own_fails_the_running_job_first(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    source = gated("""
async def leave(): sys.exit(4)
async def handler(job):
    task = asyncio.create_task(leave())
    await asyncio.Event().wait()
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert "CancelledError" in gateway.result("a")["error"]
        assert worker.exit_code() == 4


@pytest.mark.parametrize(
    ("ending", "text"),
    [
        ("signal.signal(signal.SIGALRM, late); signal.setitimer(signal.ITIMER_REAL, 0.01)", "TimeoutError: late"),
        ("asyncio.get_running_loop().stop()", "RuntimeError: Event loop stopped"),
    ],
)
def test_what_ends_the_loop_of_the_handlers_fails_the_running_job_first(
    gateway: ScriptedGateway, tmp_path: Path, ending: str, text: str
) -> None:
    source = gated(f"""
def late(*_): raise TimeoutError("late")
async def handler(job):
    {ending}
    await asyncio.Event().wait()
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert "CancelledError" in gateway.result("a")["error"]
        assert worker.exit_code() == 1
        assert text in worker.log
    assert gateway.requests[-1]["phase"] == "draining"


def test_ending_a_forked_child_does_not_drain_the_worker(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    child = os.fork()
    if child == 0:
        while True:
            signal.pause()
    os.kill(child, signal.SIGTERM)
    return os.WTERMSIG(os.waitpid(child, 0)[1])
""")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        for job_id in ("a", "b"):
            gateway.submit(job_id)
            assert gateway.result(job_id)["output"] == signal.SIGTERM
        assert not any(request["phase"] == "draining" for request in gateway.requests)
        assert worker.terminate() == 0


def test_a_signal_reaches_the_worker_although_the_handler_watches_others(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    source = gated("""
async def handler(job):
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)
    return 1
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        gateway.result("a")
        assert worker.terminate() == 0


def test_help_says_what_the_command_runs_and_where_the_other_options_are() -> None:
    command = [PYTHON, "-m", "submodel.serverless"]
    asked = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True)
    assert asked.stdout.startswith(
        "usage: python -m submodel.serverless PATH/handler.py [arguments]\n\nRuns a handler's"
    )
    assert "PATH/handler.py --help" in asked.stdout
    wrong = subprocess.run([*command, "missing.py"], capture_output=True, text=True, check=False)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "missing.py: no such file; name the file of the handler" in wrong.stderr
