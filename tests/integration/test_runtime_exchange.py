"""The worker's side of the exchange over real HTTP: streams, stops, drains, and a gateway that fails."""

import functools
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from submodel.serverless.session import FORSAKEN_SECONDS
from tests.integration.test_runtime_lifecycle import gated, open_gate
from tests.support.scripted_gateway import ScriptedGateway
from tests.support.worker_process import WorkerProcess

STREAM = gated("""
def handler(job):
    for number in range(5):
        yield number
        wait_for(f"gate-{number}")
""")
ASYNC_STREAM = STREAM.replace("def handler", "async def handler")

GATED = gated("""
def handler(job):
    wait_for("gate")
    return 1
""")

ECHO_ASYNC = gated("""
async def handler(job):
    if job["input"] == "wait":
        try:
            await asyncio.Event().wait()
        finally:
            print("cleaned up", file=sys.stderr)
    return job["input"]
""")


@pytest.fixture
def gateway() -> Iterator[ScriptedGateway]:
    with ScriptedGateway() as gateway:
        yield gateway
        assert gateway.lost == []


@pytest.mark.parametrize("source", [STREAM, ASYNC_STREAM], ids=["blocking", "async"])
def test_each_chunk_arrives_while_the_generator_is_busy_with_the_next(
    gateway: ScriptedGateway, tmp_path: Path, source: str
) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        for number in range(5):
            gateway.wait_for(functools.partial(chunks_are, gateway, [*range(number + 1)]))
            (tmp_path / f"gate-{number}").touch()
        assert gateway.result("a")["output"] == []
        assert worker.terminate() == 0


def chunks_are(gateway: ScriptedGateway, expected: list[int]) -> bool:
    return gateway.chunks.get("a") == expected


def test_many_chunks_travel_in_batches(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    yield from range(20_000)
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()):
        gateway.result("a")
    assert gateway.chunks["a"] == [*range(20_000)]
    assert len(gateway.requests) < 1000


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_fast_generator_waits_for_a_gateway_that_is_away(gateway: ScriptedGateway, tmp_path: Path, kind: str) -> None:
    source = gated(f"""
{kind} handler(job):
    yield 0
    wait_for("gate")
    for number in range(1, 300):
        yield str(number) + "x" * 100_000
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()):
        gateway.wait_for(lambda: gateway.chunks.get("a") == [0])
        gateway.kill()
        open_gate(tmp_path)
        with gateway.restarted() as restarted:
            assert restarted.result("a")["output"] == []
            assert len(restarted.chunks["a"]) == 300
        sizes = [len(str(chunk["items"])) for request in restarted.requests for chunk in request.get("chunks", [])]
        assert max(sizes) < 10_000_000, "what waits unsent is bounded"


def test_heartbeats_flow_while_a_handler_blocks_its_thread(tmp_path: Path) -> None:
    with ScriptedGateway(lease_ms=300) as gateway, WorkerProcess(tmp_path, GATED, gateway.environment()):
        gateway.submit("a")
        gateway.wait_running("a")
        heard = len(gateway.requests)
        gateway.wait_for(lambda: len(gateway.requests) >= heard + 5)
        assert all(request["running"] for request in gateway.requests[heard:])
        open_gate(tmp_path)
        assert gateway.result("a")["output"] == 1


def test_a_stopped_coroutine_is_cancelled_and_its_slot_is_free(gateway: ScriptedGateway, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, ECHO_ASYNC, gateway.environment()) as worker:
        gateway.submit("a", "wait")
        gateway.wait_running("a")
        gateway.change(stops=["a"], leases={})
        gateway.submit("b", 1)
        assert gateway.result("b")["output"] == 1
        assert "cleaned up" in worker.log
    assert list(gateway.results) == ["b"]


def test_a_stopped_generator_ends_at_its_next_yield(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    if job["input"] == "quick":
        return
    while True:
        yield 1
        time.sleep(0.01)
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()):
        gateway.wait_for(lambda: gateway.chunks.get("a"))
        gateway.change(stops=["a"], leases={})
        gateway.submit("b", "quick")
        gateway.result("b")
    assert list(gateway.results) == ["b"]


BLOCKS = {
    "sleep": "time.sleep(1000)",
    "lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "loop": "number = 0\n        while True: number += 1",
    "system call": "os.read(os.pipe()[0], 1)",
}


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("block", BLOCKS)
def test_a_handler_that_blocks_is_interrupted_when_its_job_is_stopped(
    gateway: ScriptedGateway, tmp_path: Path, kind: str, block: str
) -> None:
    source = gated(f"""
{kind} handler(job):
    if job["input"] == "quick":
        return "ran"
    print("blocks", file=sys.stderr)
    try:
        {BLOCKS[block]}
    finally:
        print("ended by", sys.exc_info()[0].__name__, file=sys.stderr)
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        worker.wait_log("blocks")
        gateway.change(stops=["a"], leases={})
        gateway.submit("b", "quick")
        assert gateway.result("b")["output"] == "ran"
        assert "ended by TimeLimitExceeded" in worker.log
        assert worker.terminate() == 0
    assert list(gateway.results) == ["b"]


def test_a_handler_that_is_interrupted_while_it_tells_its_progress_has_told_it(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    source = gated("""
exchange = submodel.serverless._process_worker._exchange
tell = exchange.set_progress

def tell_slowly(*arguments):
    print("telling", file=sys.stderr)
    time.sleep(1)  # longer than a stopped job is left alone
    print("told", file=sys.stderr)
    tell(*arguments)

exchange.set_progress = tell_slowly

def handler(job):
    while job["input"] == "endless":
        submodel.serverless.progress_update(job, 1)
    return 1
""")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        gateway.submit("a", "endless")
        gateway.wait_for(lambda: "a" in gateway.progress)
        gateway.leases.pop("a")
        gateway.change(stops=["a"])
        gateway.submit("b")
        assert gateway.result("b")["output"] == 1
        assert "is interrupted" in worker.log
        assert worker.log.count("telling") == worker.log.count("told")


def test_a_generator_that_blocks_between_its_items_is_interrupted(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    yield 1
    print("blocks", file=sys.stderr)
    time.sleep(1000)
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        worker.wait_log("blocks")
        gateway.change(stops=["a"], leases={})
        worker.wait_log("TimeLimitExceeded")
        assert worker.terminate() == 0


@pytest.mark.slow
def test_a_handler_that_cannot_be_ended_takes_its_worker_down(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    print("blocks", file=sys.stderr)
    while True:
        try:
            time.sleep(1000)
        except Exception:
            print("goes on", file=sys.stderr)
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        worker.wait_log("blocks")
        gateway.change(stops=["a"], leases={})
        assert worker.exit_code() == 1
        assert "goes on" in worker.log
        assert "this worker leaves" in worker.log
    assert gateway.requests[-1]["phase"] == "draining"


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [["a"], ["a", "b"]], ids=["one", "all"])
def test_a_worker_with_a_handler_that_cannot_be_ended_waits_for_the_others_only(
    gateway: ScriptedGateway, tmp_path: Path, stopped: list[str]
) -> None:
    source = gated("""
async def handler(job):
    while not (job["id"] == "b" and os.path.exists("gate")):
        try:
            await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            print("goes on", file=sys.stderr)
    return "finished"
""")
    gateway.submit("a")
    gateway.submit("b")
    environment = gateway.environment(SUBMODEL_CONCURRENCY="2", SUBMODEL_DRAIN_SECONDS="600")
    with WorkerProcess(tmp_path, source, environment) as worker:
        gateway.wait_running("b")
        for job_id in stopped:
            gateway.leases.pop(job_id)
        gateway.change(stops=list(stopped))
        gateway.wait_phase("draining")
        if stopped == ["a"]:
            open_gate(tmp_path)
            assert gateway.result("b")["output"] == "finished"
        assert worker.exit_code() == 1
        assert "this worker leaves" in worker.log


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_job_over_its_time_ends_also_when_nobody_says_so(gateway: ScriptedGateway, tmp_path: Path, kind: str) -> None:
    source = gated(f"""
{kind} handler(job):
    time.sleep(1000)
""")
    gateway.policy = {"executionTimeoutMs": 100}
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        assert gateway.result("a")["error"] == "the job has run for longer than its execution timeout"
        worker.wait_log("TimeLimitExceeded")
        assert worker.terminate() == 0


def test_a_stale_lease_stops_the_job(tmp_path: Path) -> None:
    with ScriptedGateway(lease_ms=300) as gateway, WorkerProcess(tmp_path, ECHO_ASYNC, gateway.environment()):
        gateway.submit("a", "wait")
        gateway.wait_running("a")
        gateway.change(leases={})
        gateway.submit("b", 1)
        assert gateway.result("b")["output"] == 1


def test_a_refused_output_fails_the_job_with_a_sentence(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.refusals["a"] = "too-large"
    gateway.submit("a", "x" * 100)
    with WorkerProcess(tmp_path, ECHO_ASYNC, gateway.environment()):
        assert "too large" in gateway.result("a")["error"]


@pytest.mark.requirement("handler.concurrency")
def test_jobs_of_a_coroutine_run_at_once_up_to_the_concurrency(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
arrived = 0
async def handler(job):
    global arrived
    arrived += 1
    while arrived < 3:
        await asyncio.sleep(0.005)
    return arrived
""")
    for job_id in "abc":
        gateway.submit(job_id)
    with WorkerProcess(tmp_path, source, gateway.environment(SUBMODEL_CONCURRENCY="3")):
        assert [gateway.result(job_id)["output"] for job_id in "abc"] == [3, 3, 3]


@pytest.mark.slow
@pytest.mark.requirement("handler.concurrency")
def test_the_concurrency_follows_its_modifier_while_jobs_run(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
running = set()
asked = []
async def handler(job):
    running.add(job["id"])
    while not os.path.exists(f"gate-{job['id']}"):
        await asyncio.sleep(0.005)
    running.discard(job["id"])
    return len(asked)
def modifier(current):
    asked.append(current)
    if os.path.exists("broken"):
        raise ValueError("no idea")
    return 3 if "a" in running else 1
""").replace('{"handler": handler}', '{"handler": handler, "concurrency_modifier": modifier}')
    with WorkerProcess(tmp_path, source, gateway.environment()) as worker:
        for job_id in "abc":
            gateway.submit(job_id)
        gateway.wait_running("c")
        (tmp_path / "gate-a").touch()
        gateway.result("a")
        (tmp_path / "broken").touch()
        worker.wait_log("concurrency_modifier failed")
        for job_id in "bc":
            (tmp_path / f"gate-{job_id}").touch()
            gateway.result(job_id)
        gateway.submit("d")
        gateway.wait_running("d")
        assert worker.log.count("concurrency_modifier failed") == 1


def test_a_blocking_handler_takes_one_job_at_a_time(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    if job["input"] == "wait":
        wait_for("gate")
    return 1
""")
    with WorkerProcess(tmp_path, source, gateway.environment(SUBMODEL_CONCURRENCY="5")) as worker:
        for job_id in ("first", "second"):
            gateway.submit(job_id)
            gateway.result(job_id)
        gateway.wait_for(lambda: gateway.requests[-1].get("capacity") == 1)
        assert "takes one job at a time" in worker.log


def test_a_drain_is_obeyed_until_it_is_taken_back(gateway: ScriptedGateway, tmp_path: Path) -> None:
    with WorkerProcess(tmp_path, ECHO_ASYNC, gateway.environment()) as worker:
        gateway.wait_phase("ready")
        gateway.change(drain=True)
        gateway.wait_phase("draining")
        gateway.submit("a", 1)
        gateway.change(drain=False)
        assert gateway.result("a")["output"] == 1
        assert worker.terminate() == 0


# A gateway that fails:


def test_a_result_survives_a_restart_of_the_gateway(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    yield 1
    wait_for("gate")
    yield 2
""")
    gateway.submit("a")
    with WorkerProcess(tmp_path, source, gateway.environment()):
        gateway.wait_for(lambda: gateway.chunks.get("a") == [1])
        gateway.kill()
        open_gate(tmp_path)
        with gateway.restarted() as restarted:
            assert restarted.result("a")["output"] == []
            assert restarted.chunks["a"] == [1, 2]
            restarted.submit("b")
            restarted.result("b")
            assert restarted.lost == []


def test_a_worker_goes_on_with_another_replica_when_its_gateway_dies(gateway: ScriptedGateway, tmp_path: Path) -> None:
    source = gated("""
def handler(job):
    yield 1
    wait_for("gate")
    yield 2
""")
    gateway.submit("a")
    with ScriptedGateway() as other:
        other.leases, other.chunks = gateway.leases, gateway.chunks
        environment = gateway.environment(SUBMODEL_GATEWAY_URL=f"{gateway.url},{other.url}")
        with WorkerProcess(tmp_path, source, environment) as worker:
            gateway.wait_for(lambda: gateway.chunks.get("a") == [1])
            assert other.requests == []
            gateway.kill()
            open_gate(tmp_path)
            assert other.result("a")["output"] == []
            assert other.chunks["a"] == [1, 2]
            other.submit("b")
            other.result("b")
            assert worker.terminate() == 0
        assert other.lost == []


def test_a_lost_answer_loses_neither_the_job_in_it_nor_the_result_before_it(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    with WorkerProcess(tmp_path, ECHO_ASYNC, gateway.environment()):
        gateway.wait_phase("ready")
        for number in range(20):
            gateway.change(lose_answers=1)
            gateway.submit(f"j{number}", number)
            # Each for itself: of a burst, the answer that is lost may be to a request that needs none.
            assert gateway.result(f"j{number}")["output"] == number
    said = [(request["request"], request.get("repeated", False)) for request in gateway.requests]
    firsts = {number: said.index((number, False)) for number, _ in said}
    again = [place for place, (number, _) in enumerate(said) if place != firsts[number]]
    assert again
    assert all(said[place][1] for place in again), "a gateway hears that it was sent before"


@pytest.mark.parametrize("status", [401, 404, 500, 503])
def test_a_gateway_that_refuses_is_asked_again_until_it_answers(
    gateway: ScriptedGateway, tmp_path: Path, status: int
) -> None:
    gateway.change(status=status)
    with WorkerProcess(tmp_path, ECHO_ASYNC, gateway.environment()) as worker:
        gateway.wait_for(lambda: len(gateway.requests) >= 5)
        gateway.change(status=200)
        gateway.submit("a", 1)
        assert gateway.result("a")["output"] == 1
        assert worker.log.count("trying again") == 1
        assert worker.log.count("answers again") == 1


def test_a_result_that_a_proxy_refuses_as_too_large_fails_the_job(gateway: ScriptedGateway, tmp_path: Path) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, GATED, gateway.environment()):
        gateway.wait_running("a")
        gateway.change(status_of_results=413)
        open_gate(tmp_path)
        assert "too large" in gateway.result("a")["error"]


@pytest.mark.parametrize("status", [400, 413])
def test_results_that_are_refused_together_are_delivered_one_by_one(
    gateway: ScriptedGateway, tmp_path: Path, status: int
) -> None:
    source = gated("""
sys.setswitchinterval(10)  # no result is sent while the others are made
ended = asyncio.Event()

async def handler(job):
    if job["id"] == "0":
        while not os.path.exists("gate"):
            await asyncio.sleep(0.005)
        ended.set()
    await ended.wait()
    return job["id"]
""")
    names = [f"{number}" for number in range(20)]
    quiet = {"SUBMODEL_LOG_LEVEL": "ERROR"}
    for name in names:
        gateway.submit(name)
    gateway.change(status_of_several=status)
    with WorkerProcess(tmp_path, source, gateway.environment(SUBMODEL_CONCURRENCY="20", **quiet)):
        gateway.wait_running(names[-1])
        open_gate(tmp_path)
        assert [gateway.result(name).get("output") for name in names] == names
    assert any(len(request.get("results", ())) > 1 for request in gateway.requests), "some were sent together"


def test_an_output_that_the_gateway_cannot_read_fails_its_job_and_the_worker_goes_on(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, GATED, gateway.environment()):
        gateway.wait_running("a")
        gateway.change(status_of_results=400)
        open_gate(tmp_path)
        assert "cannot read the output" in gateway.result("a")["error"]
        gateway.submit("b")
        assert gateway.result("b")["output"] == 1


def test_a_renewed_token_file_is_read_again(gateway: ScriptedGateway, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old")
    environment = gateway.environment(SUBMODEL_WORKER_TOKEN_FILE=str(token))
    with WorkerProcess(tmp_path, ECHO_ASYNC, environment) as worker:
        gateway.wait_for(lambda: gateway.unauthorized)
        token.write_text("secret\n")
        gateway.submit("a", 1)
        assert gateway.result("a")["output"] == 1
        assert "secret" not in worker.log


def test_a_worker_whose_endpoint_was_deleted_leaves_long_before_its_time_to_drain_is_over(
    gateway: ScriptedGateway, tmp_path: Path
) -> None:
    gateway.submit("a")
    with WorkerProcess(tmp_path, GATED, gateway.environment(SUBMODEL_DRAIN_SECONDS="600")) as worker:
        gateway.wait_running("a")
        gateway.change(status=401)
        open_gate(tmp_path)
        worker.signal(signal.SIGTERM)
        assert worker.exit_code(3 * FORSAKEN_SECONDS) == 0
