"""Clients and workers that ask for large answers, many of them, and read none."""

import json
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from select import select

import pytest

from submodel_gateway.jobs.ids import from_delivery_id
from submodel_gateway.service.takes import TAKE_MAX
from tests.hostile.target import END_SECONDS, Target, has_come, target
from tests.support.gateway_ports import TOKEN, Ports
from tests.support.live_gateway import Http

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

MEBIBYTE = 1024 * 1024
ITEMS = 9
ITEM = "x" * (MEBIBYTE - 10)
SIZE = ITEMS * len(ITEM)
READERS = 80
"""All of them together would make the gateway hold hold 720 MB."""

WORKERS = 40
ROOM_MB = 64
GROWTH_MB = 192
"""Beside the room: what one large answer takes while it is made, and what the loop and its threads hold then."""

SOUND = 50

FORMS = {
    "status": ("GET", "status/{id}", ()),
    "status-sync": ("GET", "status-sync/{id}", ()),
    "cancel": ("POST", "cancel/{id}", ("Content-Length: 0",)),
    "stream": ("GET", "stream/{id}?offset=0", ()),
    "events": ("GET", "stream/{id}", ("Accept: text/event-stream",)),
}


@contextmanager
def large_job(folder: Path) -> Iterator[tuple[Target, str]]:
    """A gateway with a job that has a large output, and the same once more as a stream."""
    with target(folder, SUBMODEL_GATEWAY_ANSWER_BYTES=str(ROOM_MB * MEBIBYTE)) as gateway:
        ports = Ports(gateway.gateway)
        id = ports.client.ok("POST", "/v2/ns.app/run", {"input": 1})["id"]
        (job,) = ports.exchange(capacity=1)["jobs"]
        held = {"id": id, "token": job["token"]}
        for number in range(1, ITEMS + 1):
            ports.exchange(running=[held], chunks=[{**held, "seq": number, "items": [ITEM]}])
        ports.exchange(running=[held], results=[{**held, "output": [ITEM] * ITEMS}])
        ports.close()
        yield gateway, id


def ask(gateway: Target, id: str, form: str) -> socket.socket:
    """A connection on which a request was sent, and on which little fits before somebody reads."""
    method, path, lines = FORMS[form]
    return begin(gateway, method, path.format(id=id), *lines)


def begin(gateway: Target, method: str, path: str, *lines: str) -> socket.socket:
    line = socket.socket()
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    line.settimeout(END_SECONDS)
    line.connect(gateway.address)
    head = [f"{method} /v2/ns.app/{path} HTTP/1.1", "Host: x", "Connection: close", *lines, "", ""]
    line.sendall("\r\n".join(head).encode())
    return line


def read_all(line: socket.socket) -> bytes:
    parts = []
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEBIBYTE)
    while part := line.recv(MEBIBYTE):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize("form", FORMS)
def test_large_answers_that_nobody_reads_do_not_fill_the_memory(
    tmp_path_factory: pytest.TempPathFactory, form: str
) -> None:
    with large_job(tmp_path_factory.mktemp("gateway")) as (gateway, id), ExitStack() as stack:
        before = gateway.peak_mb()
        lines = [stack.enter_context(ask(gateway, id, form)) for _ in range(READERS)]
        assert [gateway.serves() for _ in range(SOUND)] == [True] * SOUND
        begun = [line for line in lines if has_come(line)]
        assert 0 < len(begun) <= ROOM_MB * MEBIBYTE // SIZE + 1
        assert gateway.peak_mb() - before < ROOM_MB + GROWTH_MB
        # Those that waited are answered once the others have gone, or have read.
        for line in begun[1:]:
            line.close()
        left = [line for line in lines if line not in begun[1:]]
        with ThreadPoolExecutor(len(left)) as threads:
            for answer in threads.map(read_all, left):
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert len(answer) > SIZE
        assert gateway.peak_mb() - before < ROOM_MB + GROWTH_MB
        assert gateway.serves()


@pytest.mark.parametrize("size", [MEBIBYTE // 2, SIZE])
def test_jobs_that_workers_do_not_read_do_not_fill_the_memory(
    tmp_path_factory: pytest.TempPathFactory, size: int
) -> None:
    room = {"SUBMODEL_GATEWAY_ANSWER_BYTES": str(ROOM_MB * MEBIBYTE)}
    count = WORKERS * SIZE // size
    with target(tmp_path_factory.mktemp("gateway"), **room) as gateway, ExitStack() as stack:
        client = stack.enter_context(Http(gateway.gateway.public))
        ids = {client.ok("POST", "/v2/ns.app/run", {"input": os.urandom(size // 2).hex()})["id"] for _ in range(count)}
        before = gateway.peak_mb()
        paths = [f"job-take-batch/w-{number}?batch_size={TAKE_MAX}" for number in range(WORKERS)]
        lines = [stack.enter_context(begin(gateway, "GET", path, f"Authorization: {TOKEN}")) for path in paths]
        select(lines, [], [], END_SECONDS)
        assert [gateway.serves() for _ in range(SOUND)] == [True] * SOUND
        begun = [line for line in lines if has_come(line)]
        assert 0 < len(begun) < WORKERS
        assert gateway.peak_mb() - before < ROOM_MB + GROWTH_MB
        # What nobody reads is given to others: the ones that waited, too, get jobs, and each job is given to one.
        for line in begun:
            line.close()
        given: list[str] = []
        left = [line for line in lines if line not in begun]
        with ThreadPoolExecutor(len(left)) as threads:
            for answer in threads.map(read_all, left):
                head, _, body = answer.partition(b"\r\n\r\n")
                assert head.startswith(b"HTTP/1.1 20")
                given += [from_delivery_id(job["id"])[0] for job in json.loads(body or b"[]")]
        assert given
        assert len({*given}) == len(given)
        assert {*given} <= ids
        assert gateway.peak_mb() - before < ROOM_MB + GROWTH_MB
