"""The gateway as a process: killed, ended, and started wrongly."""

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway


def exchange(gateway: LiveGateway, **fields: Any) -> Any:
    message = {"session": "s", "phase": "ready", **fields}
    with Http(gateway.public, TOKEN) as worker:
        return worker.ok("POST", "/v2/e/workers/w/exchange", message)


def submit_until_it_dies(gateway: LiveGateway, accepted: list[str], enough: threading.Event) -> None:
    with Http(gateway.public) as client:
        try:
            while True:
                accepted.append(client.ok("POST", "/v2/e/run", {"input": len(accepted)})["id"])
                if len(accepted) >= 200:
                    enough.set()
        except (urllib3.exceptions.HTTPError, ConnectionError):
            return


def test_a_killed_gateway_comes_back_with_every_accepted_job(tmp_path: Path) -> None:
    accepted: list[list[str]] = [[] for _ in range(4)]
    enough = threading.Event()
    with LiveGateway(tmp_path) as gateway, ThreadPoolExecutor(4) as pool:
        register(gateway)
        writers = [pool.submit(submit_until_it_dies, gateway, ids, enough) for ids in accepted]
        assert enough.wait(30)
        gateway.kill()
        for writer in writers:
            writer.result()
    ids = [id for each in accepted for id in each]
    with LiveGateway(tmp_path) as again, Http(again.public) as client:
        assert {client.ok("GET", f"/v2/e/status/{id}")["status"] for id in ids} == {"IN_QUEUE"}
        queued = client.ok("GET", "/v2/e/health")["jobs"]["inQueue"]
        assert len(ids) <= queued <= len(ids) + len(accepted)


def test_a_worker_that_ran_on_delivers_to_the_restarted_gateway(tmp_path: Path) -> None:
    with LiveGateway(tmp_path) as gateway:
        register(gateway)
        with Http(gateway.public) as client:
            id = client.ok("POST", "/v2/e/run", {"input": 1})["id"]
        (job,) = exchange(gateway, request=1, capacity=1)["jobs"]
        held = {"id": id, "token": job["token"]}
        exchange(gateway, request=2, running=[held], chunks=[{**held, "seq": 1, "items": ["a"]}])
        gateway.kill()
    with LiveGateway(tmp_path) as again, Http(again.public) as client:
        chunks = [{**held, "seq": 1, "items": ["a", "b"]}]
        answer = exchange(again, request=3, chunks=chunks, results=[{**held, "output": "late but whole"}])
        assert "refused" not in answer
        status = client.ok("GET", f"/v2/e/status/{id}")
        assert (status["status"], status["output"], status["retries"]) == ("COMPLETED", "late but whole", 0)
        assert client.ok("GET", f"/v2/e/stream/{id}")["stream"] == [{"output": "a"}, {"output": "b"}]


def test_a_result_that_was_acknowledged_survives_a_kill(tmp_path: Path) -> None:
    with LiveGateway(tmp_path) as gateway:
        register(gateway)
        with Http(gateway.public) as client:
            id = client.ok("POST", "/v2/e/run", {"input": 1})["id"]
        (job,) = exchange(gateway, request=1, capacity=1)["jobs"]
        result = {"id": id, "token": job["token"], "output": 42}
        exchange(gateway, request=2, results=[result])
        gateway.kill()
    with LiveGateway(tmp_path) as again, Http(again.public) as client:
        assert client.ok("GET", f"/v2/e/status/{id}")["output"] == 42
        assert "refused" not in exchange(again, request=2, results=[result])


def test_sigterm_answers_what_is_held_and_ends_with_zero(tmp_path: Path) -> None:
    with LiveGateway(tmp_path) as gateway, ThreadPoolExecutor(2) as pool:
        register(gateway)
        with Http(gateway.internal, INTERNAL_TOKEN) as operator, Http(gateway.public) as client:
            waits = pool.submit(client.ok, "POST", "/v2/e/runsync?wait=60000", {"input": 1})
            (job,) = exchange(gateway, request=1, capacity=1, waitMs=20_000)["jobs"]
            since = operator.ok("GET", "/internal/v1/snapshots")["version"]
            running = [{"id": job["id"], "token": job["token"]}]
            poll = pool.submit(exchange, gateway, request=2, phase="draining", waitMs=20_000, running=running)
            # A changed phase is news: when the operator hears of it, the exchange is held.
            operator.ok("GET", f"/internal/v1/snapshots?since={since}&waitMs=20000")
            assert gateway.terminate() == 0
            assert waits.result(30)["status"] == "IN_PROGRESS"
            assert poll.result(30)["retryAfterMs"] > 0


def run(environ: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    """Start a gateway that is expected to end at once."""
    settings = {
        "PATH": os.defpath,
        "SUBMODEL_GATEWAY_LISTEN": "127.0.0.1:0",
        "SUBMODEL_GATEWAY_INTERNAL_LISTEN": "127.0.0.1:0",
        "SUBMODEL_GATEWAY_STORE": f"sqlite://{cwd}/jobs.db",
        "SUBMODEL_GATEWAY_INTERNAL_TOKEN": "x",
        "SUBMODEL_GATEWAY_KEYS": "none",
        **environ,
    }
    command = [sys.executable, "-m", "submodel_gateway"]
    return subprocess.run(command, env=settings, cwd=cwd, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"SUBMODEL_GATEWAY_INTERNAL_TOKEN": ""}, "SUBMODEL_GATEWAY_INTERNAL_TOKEN is missing"),
        ({"SUBMODEL_GATEWAY_STORE": "sqlite:///missing/folder/jobs.db"}, "cannot be written"),
        ({"SUBMODEL_GATEWAY_KEYS": ""}, "SUBMODEL_GATEWAY_KEYS is missing"),
        (
            {"SUBMODEL_GATEWAY_KEYS": "/does/not/exist", "SUBMODEL_GATEWAY_KEY_PEPPER": "x"},
            "GATEWAY_KEYS must name one",
        ),
        ({"SUBMODEL_GATEWAY_STORE": "redis://x"}, "SUBMODEL_GATEWAY_STORE names a kind of store that"),
        ({"SUBMODEL_GATEWAY_LISTEN": "256.0.0.1:0"}, "SUBMODEL_GATEWAY_LISTEN: cannot listen on 256.0.0.1:0"),
    ],
)
def test_a_gateway_that_cannot_start_says_why_in_one_line(
    environ: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    ended = run(environ, tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert sentence in line


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = run({"SUBMODEL_GATEWAY_INTERNAL_LISTEN": f"127.0.0.1:{port}"}, tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert f"SUBMODEL_GATEWAY_INTERNAL_LISTEN: cannot listen on 127.0.0.1:{port}" in line


def test_a_second_gateway_on_one_store_is_refused(tmp_path: Path) -> None:
    with LiveGateway(tmp_path) as gateway:
        ended = run({}, tmp_path)
        assert ended.returncode == 2
        assert "is in use by another gateway process" in ended.stderr
        assert gateway.process.poll() is None


def test_sigint_ends_it_like_sigterm(tmp_path: Path) -> None:
    with LiveGateway(tmp_path) as gateway:
        gateway.process.send_signal(signal.SIGINT)
        assert gateway.process.wait(20) == 0


@pytest.mark.parametrize(("host", "warned"), [("127.0.0.1", False), ("0.0.0.0", True)])
def test_a_gateway_without_keys_warns_where_others_than_this_machine_reach_it(
    tmp_path: Path, host: str, warned: bool
) -> None:
    with LiveGateway(tmp_path, SUBMODEL_GATEWAY_LISTEN=f"{host}:0") as gateway:
        assert (
            any("SUBMODEL_GATEWAY_KEYS=none: whoever reaches the public port" in line for line in gateway.log) is warned
        )


def test_an_endpoint_that_is_about_to_be_registered_is_asked_for_again_and_not_unknown(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, SUBMODEL_GATEWAY_EXPECTED="ns.soon") as gateway:
        early = urllib3.request("GET", f"{gateway.public}/v2/ns.soon/health", retries=False)
        assert (early.status, early.headers["Retry-After"]) == (503, "1")
        assert early.json() == {"error": "endpoint 'ns.soon' is about to be registered; try again"}
        assert urllib3.request("GET", f"{gateway.public}/v2/ns.never/health", retries=False).status == 404
        register(gateway, "ns.soon")
        assert urllib3.request("GET", f"{gateway.public}/v2/ns.soon/health", retries=False).status == 200
