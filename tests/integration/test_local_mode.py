"""`submodel up` with real processes: what a person at a terminal sees and gets."""

import json
import os
import select
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from submodel_operator.cli.local_status import read_local_status
from tests.support.following import Following

SUBMODEL = str(Path(sys.executable).with_name("submodel"))
EXAMPLE = Path(__file__).parents[2] / "docs/examples/async-generator/endpoint.yaml"

GREETING = """
import submodel

def handler(job):
    return {greeting!r}

submodel.serverless.start({{"handler": handler}})
"""

GATED = """
import os, time
import submodel

def handler(job):
    yield "started"
    while not os.path.exists(job["input"]["gate"]):
        time.sleep(0.01)
    yield "went on"

submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""


def write(folder: Path, source: str, **scaling: Any) -> Path:
    """A manifest with this handler."""
    path = folder / "endpoint.yaml"
    document = {
        "apiVersion": "serverless.submodel.ai/v1alpha1",
        "kind": "SubModelEndpoint",
        "metadata": {"name": "local"},
        "spec": {"worker": {"handler": {"inline": source}}, "scaling": scaling},
    }
    beside = folder / ".next"
    beside.write_text(yaml.safe_dump(document), encoding="utf-8")
    beside.replace(path)
    return path


def up(
    path: Path, folder: Path, port: int = 0, env: Mapping[str, str] | None = None, arguments: Sequence[str] = ()
) -> Following:
    """`submodel up` on this manifest."""
    options = ["-f", str(path), "--port", str(port), "--data", str(folder / "data"), *arguments]
    return Following([SUBMODEL, "up", *options], env)


def call(url: str, body: object = None) -> dict[str, Any]:
    """One request to the job API."""
    data = None if body is None else json.dumps(body).encode()
    with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def begun(url: str, job: str) -> None:
    """Hold on until the job has streamed something."""
    while not call(f"{url}/stream/{job}?offset=0&wait=20000")["stream"]:
        pass


def finished(url: str, job: str) -> dict[str, Any]:
    """Hold on until the job is final."""
    while (answer := call(f"{url}/status-sync/{job}?wait=20000"))["status"] in ("IN_QUEUE", "IN_PROGRESS"):
        pass
    return answer


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A file that lets the gated handler go on."""
    return tmp_path / "go"


def test_a_job_at_zero_workers_starts_one_and_it_leaves_when_idle(tmp_path: Path) -> None:
    with up(write(tmp_path, GREETING.format(greeting="hello"), idleTimeout=1), tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        assert call(f"{url}/runsync", {"input": {}})["output"] == "hello"
        assert server.wait_for(r"workers 0 → 1: (.*)")[1] == "1 job queued and no worker runs: start one"
        server.wait_for(r"workers 1 → 0: 1 worker idle for 1 s")
        server.wait_for(r"worker local-\w+-1 left")
        server.interrupt()
        assert server.ended() == 0


def test_its_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "my 50%20 jöbs #1?"
    folder.mkdir()
    with up(write(folder, GREETING.format(greeting="hello")), folder) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        assert call(f"{url}/runsync", {"input": {}})["output"] == "hello"
    assert (folder / "data/submodel.db").exists()
    assert [each.name for each in tmp_path.iterdir()] == [folder.name]


@pytest.mark.slow
def test_the_printed_curl_line_works_as_it_is(tmp_path: Path) -> None:
    with up(write(tmp_path, GREETING.format(greeting="hello")), tmp_path) as server:
        line = server.wait_for(r"try it\s+(curl .*)")[1]
        if shutil.which("curl") is None:
            _, _, url, _, _, _, body = shlex.split(line)
            assert call(url, json.loads(body))["output"] == "hello"
        else:
            answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True).stdout
            assert json.loads(answer)["output"] == "hello"


@pytest.mark.slow
def test_a_changed_manifest_takes_effect_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, GREETING.format(greeting="old"))
    with up(path, tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        assert call(f"{url}/runsync", {"input": {}})["output"] == "old"
        (tmp_path / "endpoint.yaml").write_text("spec: [", encoding="utf-8")
        server.wait_for("the last good manifest stays in force")
        assert call(f"{url}/runsync", {"input": {}})["output"] == "old"
        write(tmp_path, GREETING.format(greeting="new"))
        server.wait_for("endpoint.yaml changed")
        server.wait_for("worker .* left")
        assert call(f"{url}/runsync", {"input": {}})["output"] == "new"


@pytest.mark.slow
def test_an_id_of_its_own_is_in_the_url_and_stays_while_it_runs(tmp_path: Path) -> None:
    path = write(tmp_path, GREETING.format(greeting="hello"))
    plain = path.read_text(encoding="utf-8")
    path.write_text(plain.replace("spec:\n", "spec:\n  endpointId: speech\n", 1), encoding="utf-8")
    with up(path, tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+/v2/speech)\s")[1]
        assert call(f"{url}/runsync", {"input": {}})["output"] == "hello"
        path.write_text(plain, encoding="utf-8")
        server.wait_for("spec.endpointId changed, which it cannot while jobs wait: stop and start again")
        assert call(f"{url}/runsync", {"input": {}})["output"] == "hello"


@pytest.mark.slow
def test_ctrl_c_lets_the_running_job_end_and_keeps_the_waiting_one(tmp_path: Path, gate: Path) -> None:
    path = write(tmp_path, GATED, workersMax=1)
    with up(path, tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        running, waiting = (call(f"{url}/run", {"input": {"gate": str(gate)}})["id"] for _ in range(2))
        begun(url, running)
        server.interrupt()
        server.wait_for("stopping: running jobs may end")
        gate.touch()
        assert server.ended() == 0
    with up(path, tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        assert [finished(url, job)["output"] for job in (running, waiting)] == [["started", "went on"]] * 2


@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once_and_the_job_runs_again_next_time(tmp_path: Path, gate: Path) -> None:
    path = write(tmp_path, GATED)
    with up(path, tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        job = call(f"{url}/run", {"input": {"gate": str(gate)}})["id"]
        begun(url, job)
        server.interrupt()
        server.wait_for("stopping: running jobs may end")
        server.interrupt()
        assert server.ended() == 0
    gate.touch()
    with up(path, tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        assert finished(url, job)["output"] == ["started", "went on"]


@pytest.mark.slow
def test_a_killed_gateway_comes_back_and_the_running_job_ends(tmp_path: Path, gate: Path) -> None:
    with up(write(tmp_path, GATED), tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        job = call(f"{url}/run", {"input": {"gate": str(gate)}})["id"]
        begun(url, job)
        os.kill(child(server.process.pid, "submodel_gateway"), signal.SIGKILL)
        server.wait_for("the gateway ended with code -9; starting it again")
        server.wait_for("the gateway listens again")
        gate.touch()
        result = finished(url, job)
        assert (result["status"], result["output"]) == ("COMPLETED", ["started", "went on"])


@pytest.mark.slow
def test_a_revision_whose_jobs_fail_stops_its_rollout_and_the_one_before_takes_jobs_again(
    tmp_path: Path, gate: Path
) -> None:
    with up(write(tmp_path, GATED, workersMax=1, idleTimeout=60), tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        long = call(f"{url}/run", {"input": {"gate": str(gate)}})["id"]
        begun(url, long)
        write(tmp_path, "import submodel\nsubmodel.serverless.start({'handler': lambda job: 1 / 0})", idleTimeout=60)
        server.wait_for("endpoint.yaml changed")
        assert {call(f"{url}/runsync", {"input": {}})["status"] for _ in range(5)} == {"FAILED"}
        server.wait_for(
            "about 100 % of the jobs of revision .* fail, so the workers of the one before that are left stay"
        )
        write(tmp_path, GATED, workersMax=1, idleTimeout=60)
        gate.touch()
        first = finished(url, long)
        while len(read_local_status(tmp_path / "data")[1]["revisions"]) > 1:  # until then either may take a job
            call(f"{url}/health")
        again = call(f"{url}/runsync", {"input": {"gate": str(gate)}})
        assert (first["status"], again["status"]) == ("COMPLETED", "COMPLETED")
        assert again["workerId"] == first["workerId"]


def test_a_worker_that_cannot_start_is_told_in_its_own_words(tmp_path: Path) -> None:
    with up(write(tmp_path, "import not_there\n", workersMin=1), tmp_path) as server:
        line = server.wait_for("WorkerUnfit: (.*)")[1]
        assert "fails: ModuleNotFoundError: No module named 'not_there'; mend the handler, or install what" in line
        server.wait_for(r"ended as before \(exit code 1\); next start in 4 s")
        assert sum("ModuleNotFoundError" in each for each in server.seen) == 2, "the traceback, and what to do"
        assert not any("CrashLoop" in each for each in server.seen)


def test_an_endpoint_at_rest_says_why_jobs_wait(tmp_path: Path) -> None:
    path = write(tmp_path, GREETING.format(greeting="hello"), workersMax=0)
    with up(path, tmp_path) as server:
        server.wait_for("spec.scaling.workersMax is 0: no worker runs, and jobs wait")
        text = path.read_text(encoding="utf-8").replace("workersMax: 0", "workersMax: 1")
        path.write_text(f"{text}  suspend: true\n", encoding="utf-8")
        server.wait_for("spec.suspend is true: no worker runs, and jobs wait")


@pytest.mark.slow
def test_variables_left_over_in_the_shell_do_not_configure_the_processes(tmp_path: Path) -> None:
    path = write(tmp_path, GREETING.format(greeting="hello"))
    left_over = {"SUBMODEL_GATEWAY_LOG_LEVEL": "ERROR", "SUBMODEL_WORKER_TOKEN_FILE": "/dev/null"}
    with up(path, tmp_path, env=left_over) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        assert call(f"{url}/runsync", {"input": {}})["output"] == "hello"


@pytest.mark.slow
def test_a_manifest_that_stays_broken_is_told_once(tmp_path: Path) -> None:
    path = write(tmp_path, GREETING.format(greeting="hello"))
    with up(path, tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        path.write_text("spec: [", encoding="utf-8")
        server.wait_for("the last good manifest stays in force")
        for number in range(3):
            (tmp_path / f"another-file-{number}").touch()
        assert call(f"{url}/runsync", {"input": {}})["output"] == "hello"
        server.wait_for("1 idle")
        assert sum("stays in force" in line for line in server.seen) == 1


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_with_the_signal(tmp_path: Path) -> None:
    with up(write(tmp_path, GREETING.format(greeting="hello"), workersMin=1), tmp_path) as server:
        pid = int(server.wait_for(r"started \(pid (\d+)\)")[1])
        server.wait_for("serves endpoint")
        os.kill(pid, signal.SIGKILL)
        server.wait_for(r"ended \(killed by SIGKILL\); next start in 1 s")


@pytest.mark.slow
def test_nothing_is_left_over_when_submodel_up_is_killed(tmp_path: Path, gate: Path) -> None:
    with up(write(tmp_path, GATED), tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        job = call(f"{url}/run", {"input": {"gate": str(gate)}})["id"]
        begun(url, job)
        children = [child(server.process.pid, module) for module in ("submodel_gateway", "submodel.serverless")]
        handles = [os.pidfd_open(pid) for pid in children]
        server.process.kill()
        for handle in handles:
            assert select.select([handle], [], [], 20)[0], "it ends with its parent"
            os.close(handle)
    gate.touch()
    with up(tmp_path / "endpoint.yaml", tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        assert finished(url, job)["output"] == ["started", "went on"]


def child(pid: int, module: str) -> int:
    """The child process of `pid` that runs this module."""
    for number in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split():
        if module in Path(f"/proc/{number}/cmdline").read_text(encoding="utf-8"):
            return int(number)
    raise AssertionError(f"no child of {pid} runs {module}")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["-f", "absent.yaml"], "submodel: --file: cannot read absent.yaml: No such file or directory"),
        (["-f", "syntax.yaml"], "submodel: syntax.yaml: line 1, column "),
        (
            ["-f", "unknown.yaml"],
            "submodel: unknown.yaml: spec.scaling.workerMax: unknown field; did you mean workersMax?",
        ),
        (["-f", "reserved.yaml"], "submodel: reserved.yaml: spec.worker.env[0].name: SUBMODEL_WORKER_ID is set by"),
        (["-f", "image.yaml"], "submodel: image.yaml: spec.worker.image: an image needs a cluster"),
        (
            ["-f", "secret.yaml"],
            "submodel: secret.yaml: spec.worker.env[0]: KEY comes from x, which only a cluster has; ",
        ),
        (["-f", "map.yaml"], "submodel: map.yaml: spec.worker.handler.configMapRef: a ConfigMap needs a cluster; use"),
        (
            ["-f", "good.yaml", "--decisions", "absent/log"],
            "submodel: --decisions: cannot write absent/log: No such file or directory",
        ),
        (["-f", "good.yaml", "--data", "good.yaml"], "submodel: --data: cannot create good.yaml: File exists"),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_code_2(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    good = EXAMPLE.read_text(encoding="utf-8")
    (tmp_path / "good.yaml").write_text(good, encoding="utf-8")
    (tmp_path / "syntax.yaml").write_text("spec: [", encoding="utf-8")
    (tmp_path / "unknown.yaml").write_text(good.replace("workersMax", "workerMax"), encoding="utf-8")
    reserved = yaml.safe_load(good)
    reserved["spec"]["worker"]["env"] = [{"name": "SUBMODEL_WORKER_ID", "value": "1"}]
    (tmp_path / "reserved.yaml").write_text(yaml.safe_dump(reserved), encoding="utf-8")
    image = yaml.safe_load(good) | {"spec": {"worker": {"image": "x"}}}
    (tmp_path / "image.yaml").write_text(yaml.safe_dump(image), encoding="utf-8")
    reserved["spec"]["worker"]["env"] = [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]
    (tmp_path / "secret.yaml").write_text(yaml.safe_dump(reserved), encoding="utf-8")
    source = yaml.safe_load(good) | {"spec": {"worker": {"handler": {"configMapRef": {"name": "x"}}}}}
    (tmp_path / "map.yaml").write_text(yaml.safe_dump(source), encoding="utf-8")
    ran = subprocess.run([SUBMODEL, "up", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == 2
    assert ran.stderr.startswith(sentence)
    assert ran.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_port_in_use_is_named_with_the_option_that_changes_it(tmp_path: Path) -> None:
    path = write(tmp_path, GREETING.format(greeting="hello"))
    with up(path, tmp_path) as server:
        port = server.wait_for(r"url\s+http://127.0.0.1:(\d+)")[1]
        with up(path, tmp_path / "other", port=int(port)) as second:
            assert second.ended() == 2
            second.wait_for(rf"submodel: --port: cannot listen on 127.0.0.1:{port}")
        with up(path, tmp_path) as third:
            assert third.ended() == 2
            third.wait_for("submodel: the job store .* is in use by another gateway process")
