"""`python -m submodel_operator` as a process: what it exits with, and what its probes say meanwhile."""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.fake_apiserver import FakeApiServer
from tests.support.free_ports import free_port
from tests.support.operator_thread import WATCHED


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer().running() as server:
        yield server


async def start(env: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "submodel_operator", env={"PATH": os.defpath, **env}, stderr=asyncio.subprocess.PIPE
    )


def environment(kubeconfig: str, probe_port: int = 0) -> dict[str, str]:
    return {
        "KUBECONFIG": kubeconfig,
        "SUBMODEL_OPERATOR_GATEWAY_URL": "http://127.0.0.1:1",
        "SUBMODEL_OPERATOR_GATEWAY_TOKEN": "t",
        "SUBMODEL_OPERATOR_WORKER_GATEWAY_URL": "http://gateway:8000",
        "SUBMODEL_OPERATOR_RUNTIME_IMAGE": "worker:1",
        "SUBMODEL_OPERATOR_WORKER_TOKEN_KEY": "0123456789abcdef",
        "SUBMODEL_OPERATOR_PROBE_LISTEN": f"127.0.0.1:{probe_port}",
        "SUBMODEL_OPERATOR_LOG_FORMAT": "json",
    }


async def said(process: asyncio.subprocess.Process, words: bytes) -> None:
    """Returns when the process has logged a line with these words."""
    assert process.stderr is not None
    while words not in (line := await process.stderr.readline()):
        assert line, f"it ended without a word of {words!r}"


async def test_it_is_ready_once_it_watches_and_ends_with_0_on_sigterm(server: FakeApiServer, tmp_path: Path) -> None:
    port = free_port()
    server.faults.append(lambda request: (503, "later") if request.query.get("watch") and not allowed else None)
    allowed: list[bool] = []
    process = await start(environment(server.kubeconfig(tmp_path), port))
    await server.store.until(lambda: ("GET", "/api/v1/pods") in server.requests)
    async with aiohttp.ClientSession() as http:
        async with http.get(f"http://127.0.0.1:{port}/livez") as live:
            assert live.status == 200
        async with http.get(f"http://127.0.0.1:{port}/readyz") as ready:
            assert (ready.status, await ready.text()) == (503, "not ready: the watches are not started\n")
        allowed.append(True)
        await server.store.until(lambda: all(server.watching(each) for each in WATCHED))
        async with http.get(f"http://127.0.0.1:{port}/readyz") as ready:
            assert ready.status == 200
    process.terminate()
    _, log = await process.communicate()
    assert process.returncode == 0, log.decode()


async def test_a_signal_before_the_watches_are_open_ends_it_too(server: FakeApiServer, tmp_path: Path) -> None:
    server.served = False
    process = await start(environment(server.kubeconfig(tmp_path)))
    await server.store.until(lambda: server.requests)
    process.terminate()
    _, log = await process.communicate()
    assert process.returncode == 0, log.decode()


async def test_a_refused_list_ends_it_with_1_and_the_servers_words(server: FakeApiServer, tmp_path: Path) -> None:
    words = 'pods is forbidden: User "x" cannot list resource "pods"'
    server.faults.append(lambda request: (403, words) if request.path == "/api/v1/pods" else None)
    process = await start(environment(server.kubeconfig(tmp_path)))
    _, log = await process.communicate()
    assert process.returncode == 1
    assert words.replace('"', '\\"') in log.decode()


async def test_without_settings_it_exits_with_2_and_a_sentence() -> None:
    process = await start({})
    _, log = await process.communicate()
    assert process.returncode == 2
    words = log.decode()
    assert words.startswith("submodel-operator: SUBMODEL_OPERATOR_WORKER_GATEWAY_URL is not set; ")
    assert words.count("\n") == 1


async def test_without_a_cluster_it_exits_with_2_and_says_how_to_name_one(tmp_path: Path) -> None:
    process = await start(environment(str(tmp_path / "missing")))
    _, log = await process.communicate()
    assert process.returncode == 2
    assert "no way to reach Kubernetes: KUBECONFIG=" in log.decode()


async def test_a_taken_port_for_probes_is_named_with_its_setting(server: FakeApiServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await start(environment(server.kubeconfig(tmp_path), taken.getsockname()[1]))
        _, log = await process.communicate()
    assert process.returncode == 2
    assert "SUBMODEL_OPERATOR_PROBE_LISTEN: cannot listen on 127.0.0.1:" in log.decode()
    assert "free the port or choose another" in log.decode()


@pytest.mark.slow
async def test_a_standby_is_ready_and_follows_an_operator_that_was_killed(
    server: FakeApiServer, tmp_path: Path
) -> None:
    lease = {"SUBMODEL_OPERATOR_LEASE": "it", "SUBMODEL_OPERATOR_LEASE_NAMESPACE": "n"}
    env = {**environment(server.kubeconfig(tmp_path)), **lease, "SUBMODEL_OPERATOR_LEASE_SECONDS": "5"}
    first = await start(env)
    await server.store.until(lambda: all(server.watching(each) for each in WATCHED))
    holder = held_by(server)
    port = free_port()
    second = await start({**env, "SUBMODEL_OPERATOR_PROBE_LISTEN": f"127.0.0.1:{port}"})
    await said(second, b"standing by")
    looks = len(server.requests)
    await server.store.until(lambda: sum(path.endswith("/leases/it") for _, path in server.requests[looks:]) > 8)
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/readyz") as ready:
        assert ready.status == 200
    assert held_by(server) == holder

    first.kill()
    await first.communicate()
    await server.store.until(lambda: held_by(server) not in ("", holder))
    await server.store.until(lambda: all(server.watching(each) for each in WATCHED))
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/metrics") as metrics:
        assert "submodel_operator_leader 1.0" in await metrics.text()

    second.terminate()
    _, log = await second.communicate()
    assert second.returncode == 0, log.decode()
    assert held_by(server) == "", "who ends lets go"


def held_by(server: FakeApiServer) -> str:
    lease = server.store.find("leases", "n", "it")
    return str(lease["spec"]["holderIdentity"]) if lease else ""
