"""Much of everything: bodies that never end, bodies that grow when unpacked, thousands of connections that dawdle."""

import gzip
import os
import resource
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.hostile.target import END_SECONDS, Answer, Target, has_come, read_answers, target
from tests.support.gateway_ports import TOKEN
from tests.support.live_gateway import Http

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MEBIBYTE = 1024 * 1024
BOMB_BYTES = 1024 * MEBIBYTE
GROWTH_MB = 64
SLOW = 2_000
ROOM_MB = 64
SOUND = 200
"""Requests that must be answered beside the slow connections."""

FILES = 4_096
FEW_FILES = 300


@pytest.fixture
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("gateway")) as opened:
        yield opened


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *lines, "", ""]).encode()


def send_until_refused(gateway: Target, first: bytes, part: bytes, size: int) -> tuple[Answer, int]:
    """Send `first`, then `part` up to `size` bytes until there is an answer; returns it, and how much was sent."""
    with gateway.connect() as line:
        line.sendall(first)
        sent = 0
        try:
            while sent < size and not has_come(line):
                line.sendall(part)
                sent += len(part)
        except ConnectionError:
            pass  # refused and closed: the answer is there to be read
        received = b""
        try:
            while more := line.recv(65_536):
                received += more
                if read_answers(received):
                    break
        except ConnectionError:
            pass  # closed with some of what was sent unread
    (answer,) = read_answers(received)
    return answer, sent


CHUNK = b"%x\r\n%s\r\n" % (MEBIBYTE, b" " * MEBIBYTE)
CHUNKS_OF_ONE_BYTE = b"1\r\n \r\n" * 10_000


@pytest.mark.parametrize(
    ("path", "limit_bytes", "part", "times"),
    [
        ("/v2/ns.app/run", 10 * MEBIBYTE, CHUNK, 3),
        ("/v2/ns.app/runsync", 20 * MEBIBYTE, CHUNK, 3),
        ("/v2/ns.app/run", 10 * MEBIBYTE, CHUNKS_OF_ONE_BYTE, 1),
    ],
    ids=["run", "runsync", "chunks of one byte"],
)
def test_a_body_without_an_end_is_refused_at_its_limit(
    gateway: Target, path: str, limit_bytes: int, part: bytes, times: int
) -> None:
    before = gateway.peak_mb()
    for _ in range(times):
        answer, sent = send_until_refused(gateway, head(path, "Transfer-Encoding: chunked"), part, BOMB_BYTES)
        assert (answer.status, list(answer.json)) == (413, ["error"])
        assert sent < 8 * limit_bytes + 64 * MEBIBYTE
    assert gateway.peak_mb() - before < GROWTH_MB
    assert gateway.serves()


def test_a_length_beyond_the_limit_is_refused_before_the_body_comes(gateway: Target) -> None:
    before = gateway.peak_mb()
    assert gateway.answer(head("/v2/ns.app/run", f"Content-Length: {BOMB_BYTES}")).status == 413
    assert gateway.peak_mb() - before < 5


def test_a_body_that_would_grow_when_unpacked_is_refused_packed(gateway: Target) -> None:
    packed = gzip.compress(b" " * 64 * MEBIBYTE)
    before = gateway.peak_mb()
    for encoding in ("gzip", "deflate", "br", "zstd", "gzip, gzip"):
        lines = (f"Content-Encoding: {encoding}", f"Content-Length: {len(packed)}")
        assert gateway.answer(head("/v2/ns.app/run", *lines), packed).status == 415
    assert gateway.peak_mb() - before < 5


@pytest.mark.parametrize("shape", [b"[", b'{"a":', b'[{"a":'])
def test_a_body_that_is_all_depth_is_refused(gateway: Target, shape: bytes) -> None:
    body = b'{"input": ' + shape * (9 * MEBIBYTE // len(shape))
    before = gateway.peak_mb()
    assert gateway.answer(head("/v2/ns.app/run", f"Content-Length: {len(body)}"), body).status == 400
    assert gateway.peak_mb() - before < GROWTH_MB


def test_a_workers_delivery_without_an_end_is_cut_off(gateway: Target) -> None:
    lines = ("Transfer-Encoding: chunked", f"Authorization: {TOKEN}")
    answer, sent = send_until_refused(gateway, head("/v2/ns.app/job-done/w/x", *lines), CHUNK, BOMB_BYTES)
    assert answer.status == 200
    assert sent < 300 * MEBIBYTE
    assert gateway.serves()


@pytest.fixture
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < FILES:
        pytest.skip(f"the test needs {FILES} open files, this machine allows {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, FILES), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_thousands_of_slow_connections_keep_nobody_else_from_being_served(many_files: None, gateway: Target) -> None:
    before = gateway.peak_mb()
    request = head("/v2/ns.app/run", "Content-Length: 1000") + b'{"input": "'
    with ExitStack() as stack:
        slow = [stack.enter_context(gateway.connect()) for _ in range(SLOW)]
        for number, line in enumerate(slow):
            line.sendall(request[: number % len(request)] or b"P")
        assert [gateway.serves() for _ in range(SOUND)] == [True] * SOUND
        assert sum(map(_said_something, slow)) == 0
    assert gateway.peak_mb() - before < GROWTH_MB
    assert gateway.serves()


def test_connections_may_be_more_than_the_files_that_a_process_begins_with(
    many_files: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FEW_FILES, limits[1]))
        try:
            gateway = stack.enter_context(target(tmp_path_factory.mktemp("gateway")))
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for _ in range(2 * FEW_FILES):
            stack.enter_context(gateway.connect())
        assert gateway.serves()


def test_connections_leave_files_for_the_operators_port_and_the_store(gateway: Target) -> None:
    resource.prlimit(gateway.gateway.process.pid, resource.RLIMIT_NOFILE, (FEW_FILES, FEW_FILES))
    os.kill(gateway.gateway.serving_pid(), signal.SIGKILL)
    gateway.gateway.wait_for(f"may open {FEW_FILES} files")
    gateway.gateway.wait_for("listening")
    with ExitStack() as stack, Http(gateway.gateway.internal) as operator:
        for _ in range(2 * FEW_FILES):
            stack.enter_context(gateway.connect())
        assert operator.ok("GET", "/readyz")["status"] == "ready"
    assert gateway.serves()


def test_thousands_of_large_bodies_that_dawdle_do_not_fill_the_memory(
    many_files: None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Each is within its bounds; all of them together would be 20 GB, and what they send is 500 MB."""
    length = 9 * MEBIBYTE
    sent = head("/v2/ns.app/run", f"Content-Length: {length}") + b'{"input": "' + b"x" * 262_144
    folder = tmp_path_factory.mktemp("gateway")
    with target(folder, SUBMODEL_GATEWAY_BODY_BYTES=str(ROOM_MB * MEBIBYTE)) as gateway, ExitStack() as stack:
        before = gateway.peak_mb()
        slow = [stack.enter_context(gateway.connect()) for _ in range(SLOW)]
        refused = 0
        for line in slow:
            line.sendall(sent)
        for line in slow[ROOM_MB * MEBIBYTE // length :]:
            line.settimeout(END_SECONDS)
            (answer,) = read_answers(line.recv(65_536))
            refused += answer.status == 429 and b"retry-after: 1" in answer.head
        assert refused == SLOW - ROOM_MB * MEBIBYTE // length
        assert [gateway.serves() for _ in range(SOUND)] == [True] * SOUND
        small = b'{"input": "' + b"x" * 10_000 + b'"}'
        assert gateway.answer(head("/v2/ns.app/run", f"Content-Length: {len(small)}"), small).status == 200
        assert gateway.peak_mb() - before < ROOM_MB + GROWTH_MB
        for line in slow:
            line.close()
        body = b'{"input": "' + b"x" * (length - 13) + b'"}'
        while (answer := gateway.answer(head("/v2/ns.app/run", f"Content-Length: {length}"), body)).status != 200:
            assert answer.status == 429, "until the gateway has noticed that the others are gone"


def _said_something(line: socket.socket) -> bool:
    """Whether the gateway has answered a request that is not whole; closing its connection says nothing."""
    line.setblocking(False)
    try:
        return bool(line.recv(1))
    except (BlockingIOError, ConnectionError):
        return False
