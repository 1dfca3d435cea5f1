"""The listening sockets outlive the process that serves on them: connections wait, none is refused."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import urllib3

from submodel_gateway.parent.handover import VARIABLE, Handover
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import Http, LiveGateway, settings
from tests.support.postgres import shared_server

RSS_BYTES_MAX = 15_000_000
ENOUGH = 40


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[LiveGateway]:
    with LiveGateway(tmp_path) as started:
        register(started)
        yield started


class Callers:
    """Threads that open a new connection for each request, as SDKs may; all of them must be answered."""

    def __init__(self, gateway: LiveGateway, count: int = 4) -> None:
        self._gateway = gateway
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(count)
        self._refused: list[str] = []
        self.answered = 0
        self._enough = threading.Condition()
        self._running = [self._pool.submit(self._call) for _ in range(count)]

    def _call(self) -> None:
        while not self._ended.is_set():
            with Http(self._gateway.public) as client:
                try:
                    status, answer = client.call("POST", "/v2/e/run", {"input": 1})
                except urllib3.exceptions.NewConnectionError as error:
                    self._refused.append(str(error))
                    continue
                except (urllib3.exceptions.HTTPError, ConnectionError):
                    continue  # it was being served when its process was killed
            if status != 200:
                self._refused.append(str(answer))
            with self._enough:
                self.answered += 1
                self._enough.notify_all()

    def more(self) -> None:
        """Returns when many more requests were answered."""
        goal = self.answered + ENOUGH
        with self._enough:
            assert self._enough.wait_for(lambda: self.answered >= goal, 30), self._refused

    def end(self) -> list[str]:
        """What was not answered with 200."""
        self._ended.set()
        for each in self._running:
            each.result()
        self._pool.shutdown()
        return self._refused


@contextmanager
def under_load(gateway: LiveGateway) -> Iterator[Callable[[], None]]:
    """Yields what waits for more answers; nothing may be refused."""
    callers = Callers(gateway)
    try:
        callers.more()
        yield callers.more
    finally:
        refused = callers.end()
    assert refused == []


@pytest.mark.slow
def test_no_connection_is_refused_while_serving_processes_are_killed(gateway: LiveGateway) -> None:
    seen = set()
    with under_load(gateway) as more:
        for _ in range(3):
            pid = gateway.serving_pid()
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
            more()
    assert len(seen) == 3


def test_a_result_that_comes_while_nobody_serves_waits_and_is_taken(gateway: LiveGateway) -> None:
    with Http(gateway.public) as client, Http(gateway.public, TOKEN) as worker:
        id = client.ok("POST", "/v2/e/run", {"input": 1})["id"]
        assert worker.ok("GET", "/v2/e/job-take/w-1?job_in_progress=0")["id"] == id
    os.kill(gateway.serving_pid(), signal.SIGKILL)
    # A plain SDK: one try, on a new connection, which nobody accepts yet.
    with Http(gateway.public, TOKEN) as worker, Http(gateway.public) as client:
        assert worker.ok("POST", f"/v2/e/job-done/w-1/{id}?isStream=false", {"output": "kept"}) == {}
        answer = client.ok("GET", f"/v2/e/status/{id}")
        assert (answer["status"], answer["output"]) == ("COMPLETED", "kept")


def test_an_upgrade_in_place_refuses_nobody(gateway: LiveGateway) -> None:
    before = gateway.serving_pid()
    with under_load(gateway) as more:
        gateway.process.send_signal(signal.SIGUSR2)
        ended = os.pidfd_open(before)
        assert select.select([ended], [], [], 30)[0]
        os.close(ended)
        more()
    assert gateway.serving_pid() != before


@pytest.mark.slow
def test_where_the_store_is_shared_the_next_process_serves_before_the_last_one_leaves(tmp_path: Path) -> None:
    with shared_server().database() as url, LiveGateway(tmp_path, SUBMODEL_GATEWAY_STORE=url) as gateway:
        register(gateway)
        before = gateway.serving_pid()
        ended = os.pidfd_open(before)
        with under_load(gateway) as more:
            gateway.process.send_signal(signal.SIGUSR2)
            assert select.select([ended], [], [], 30)[0]
            os.close(ended)
            more()
        assert gateway.serving_pid() != before


def test_a_killed_parent_takes_the_serving_process_along(gateway: LiveGateway) -> None:
    ended = os.pidfd_open(gateway.serving_pid())
    gateway.process.kill()
    assert select.select([ended], [], [], 20)[0]
    os.close(ended)


def test_a_parent_that_is_killed_before_it_hears_its_child_takes_it_along_too(tmp_path: Path) -> None:
    ours, line = socket.socketpair()
    with ours, line, socket.create_server(("127.0.0.1", 0)) as public, socket.create_server(("127.0.0.1", 0)) as other:
        told = Handover(public.fileno(), other.fileno(), line.fileno())
        kept = (told.public, told.internal, told.line)
        with subprocess.Popen(
            [sys.executable, "-m", "submodel_gateway"],
            env={**settings(tmp_path), VARIABLE: str(told)},
            pass_fds=kept,
            stderr=subprocess.DEVNULL,
        ) as child:
            line.close()
            assert select.select([ours], [], [], 30)[0], "it does not say that it serves"
            ours.close()
            try:
                assert child.wait(20) == 1
            finally:
                child.kill()


def test_the_process_that_keeps_the_sockets_is_small(gateway: LiveGateway) -> None:
    assert resident_bytes(gateway.process.pid) < RSS_BYTES_MAX


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


def test_sigterm_serves_on_for_a_while_without_being_ready(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, SUBMODEL_GATEWAY_LINGER_SECONDS="300") as gateway:
        register(gateway)
        with Http(gateway.internal) as probe, Http(gateway.public) as client:
            assert probe.call("GET", "/readyz")[0] == 200
            gateway.process.send_signal(signal.SIGTERM)
            gateway.wait_for("not ready any more")
            assert probe.call("GET", "/readyz")[0] == 503
            id = client.ok("POST", "/v2/e/run", {"input": 1})["id"]
            assert client.ok("GET", f"/v2/e/status/{id}")["status"] == "IN_QUEUE"


def test_a_gateway_that_leaves_tells_each_client_in_an_answer_that_its_connection_ends(tmp_path: Path) -> None:
    with LiveGateway(tmp_path, SUBMODEL_GATEWAY_LINGER_SECONDS="300") as gateway:
        register(gateway)
        with plain(gateway) as held, plain(gateway) as idle:
            assert answer(idle, "/v2/e/health") == (200, None)
            with Http(gateway.public) as client:
                id = client.ok("POST", "/v2/e/run", {"input": 1})["id"]
            held.request("GET", f"/v2/e/status-sync/{id}?wait=30000")
            assert answer(idle, "/v2/e/health") == (200, None)
            gateway.process.send_signal(signal.SIGTERM)
            gateway.wait_for("not ready any more")
            assert answer(idle, "/v2/e/health") == (200, "close")
            with Http(gateway.public) as client:
                client.ok("POST", f"/v2/e/cancel/{id}")
            # Held since before: its head had not left yet.
            assert heard(held) == (200, "close")


@contextmanager
def plain(gateway: LiveGateway) -> Iterator[HTTPConnection]:
    """One connection, which is used as long as it lasts."""
    where = urlsplit(gateway.public)
    with closing(HTTPConnection(where.hostname or "", where.port, timeout=30)) as connection:
        yield connection


def answer(connection: HTTPConnection, path: str) -> tuple[int, str | None]:
    """Status and the header `Connection` of an answer."""
    connection.request("GET", path)
    return heard(connection)


def heard(connection: HTTPConnection) -> tuple[int, str | None]:
    """The same of a request that was sent before."""
    response = connection.getresponse()
    response.read()
    return response.status, response.getheader("connection")
