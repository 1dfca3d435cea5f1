"""The sender of webhooks against real servers: what counts, what is refused, and where connections go."""

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from ipaddress import ip_address
from pathlib import Path

import pytest

from submodel_gateway.webhooks import answer
from submodel_gateway.webhooks.answer import Answer
from submodel_gateway.webhooks.lookup import Lookup
from submodel_gateway.webhooks.sender import READ_BYTES_MAX, Sender
from submodel_gateway.webhooks.targets import Address, Rules, rules
from tests.support.webhook_receiver import Connection, RawReceiver, Receiver

LOCAL = rules(["127.0.0.0/8", "::1"])
BODY = b'{"id":"a","status":"COMPLETED"}'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@asynccontextmanager
async def sender(allowed: Rules = LOCAL, **options: object) -> AsyncIterator[Callable[[str], "asyncio.Future[Answer]"]]:
    made = Sender(allowed, **options)  # type: ignore[arg-type]  # each option has its own type

    def send(url: str) -> "asyncio.Future[Answer]":
        return asyncio.ensure_future(made.send(allowed.target(url), {"webhook-id": "a-g1"}, BODY))

    try:
        yield send
    finally:
        await made.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Key and self-signed certificate of hooks.example.com, in one file."""
    if shutil.which("openssl") is None:
        assert not os.environ.get("CI"), "openssl is missing"  # noqa: TID251  # says which tools a machine must have
        pytest.skip("openssl is missing")
    file = tmp_path / "certificate.pem"
    names = ["-subj", "/CN=hooks.example.com", "-addext", "subjectAltName=DNS:hooks.example.com"]
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(file)]
    command = ["openssl", "req", "-x509", *key, *names, "-days", "2", "-out", str(tmp_path / "only.pem")]
    subprocess.run(command, check=True, capture_output=True)
    file.write_bytes(file.read_bytes() + (tmp_path / "only.pem").read_bytes())
    return file


def server_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


class Names:
    """A resolver that gives its answers one after the other, and remembers what it was asked."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        if not self._answers:
            raise OSError("no such name")
        return [ip_address(text) for text in self._answers.pop(0).split()]


async def test_the_body_arrives_as_it_is_with_its_headers(receiver: Receiver) -> None:
    async with sender() as send:
        assert await send(receiver.url + "?a=%20b") == Answer(True, "HTTP 200", works=True)
    came = await asyncio.to_thread(receiver.next)
    assert (came.method, came.path, came.body) == ("POST", "/hook?a=%20b", BODY)
    assert came.headers["content-type"] == "application/json"
    assert came.headers["content-length"] == str(len(BODY))
    assert came.headers["webhook-id"] == "a-g1"
    assert came.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert "cookie" not in came.headers


@pytest.mark.parametrize(
    ("status", "delivered", "works"),
    [
        *((200, True, True), (204, True, True), (299, True, True), (404, False, True), (410, False, True)),
        *((429, False, False), (500, False, False), (503, False, False)),
    ],
)
async def test_only_2xx_counts(receiver: Receiver, status: int, delivered: bool, works: bool) -> None:
    receiver.answers(status)
    async with sender() as send:
        assert await send(receiver.url) == Answer(delivered, f"HTTP {status}", works=works)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with Receiver() as elsewhere:
        receiver.reply = lambda connection: connection.answer(status, location=elsewhere.url)
        async with sender() as send:
            came = await send(receiver.url)
        assert (came.delivered, came.text) == (False, f"HTTP {status} (redirects are not followed)")
        assert elsewhere.received.empty()


async def test_cookies_are_not_kept(receiver: Receiver) -> None:
    receiver.reply = lambda connection: connection.answer(200, set_cookie="a=b")
    async with sender(rules(["hooks.example.com"]), lookup=Names("127.0.0.1", "127.0.0.1")) as send:
        for _ in range(2):
            assert (await send(f"http://hooks.example.com:{receiver.port}/")).delivered
            assert "cookie" not in receiver.next().headers


async def test_no_proxy_is_taken_from_the_environment(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with sender() as send:
            assert (await send(receiver.url)).delivered
        assert proxy.received.empty()


async def test_silence_ends_after_the_timeout(receiver: Receiver) -> None:
    receiver.hold()
    async with sender(timeout_seconds=0.05) as send:
        assert await send(receiver.url) == answer.NO_ANSWER


async def test_a_delivered_webhook_stays_so_when_the_answers_body_never_ends() -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n"
    for body in (b"", b"x" * (READ_BYTES_MAX + 1)):
        with RawReceiver(head + body) as raw:
            async with sender() as send:
                assert (await send(raw.url)).delivered


async def test_no_more_than_a_part_of_the_answers_body_is_read(receiver: Receiver) -> None:
    def reply(connection: Connection) -> None:
        connection.send_response(200)
        connection.send_header("content-length", "10000000")
        connection.end_headers()
        connection.wfile.write(b"x" * (2 * READ_BYTES_MAX))
        connection.rfile.read(1)  # until the sender hangs up

    receiver.reply = reply
    async with asyncio.timeout(20), sender(timeout_seconds=60) as send:
        assert (await send(receiver.url)).delivered


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", answer.BROKEN),
        (b"SSH-2.0-OpenSSH_9.9\r\n", answer.NO_HTTP),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", answer.NO_HTTP),
    ],
)
async def test_what_is_no_answer_is_a_failed_try(text: bytes, expected: Answer) -> None:
    with RawReceiver(text) as raw:
        async with sender() as send:
            assert await send(raw.url) == expected


async def test_a_closed_port_is_a_failed_try() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with sender() as send:
        assert await send(f"http://127.0.0.1:{port}/") == answer.NO_CONNECTION


async def test_a_name_is_resolved_once_and_the_connection_goes_where_it_was_checked(receiver: Receiver) -> None:
    names = Names("127.0.0.1", "10.0.0.1")
    allowed = rules(["127.0.0.0/8", "http", f":{receiver.port}"])
    async with sender(allowed, lookup=names) as send:
        assert (await send(f"http://hooks.example.com:{receiver.port}/hook")).delivered
    assert names.asked == ["hooks.example.com"]
    assert receiver.next().headers["host"] == f"hooks.example.com:{receiver.port}"


@pytest.mark.parametrize("addresses", ["127.0.0.1", "8.8.8.8 127.0.0.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
async def test_a_name_with_an_address_that_is_not_public_gets_no_connection(receiver: Receiver, addresses: str) -> None:
    allowed = rules(["http", f":{receiver.port}"])
    async with sender(allowed, lookup=Names(addresses)) as send:
        assert await send(f"http://hooks.example.com:{receiver.port}/hook") == answer.NO_ADDRESS
    assert receiver.received.empty()


async def test_a_name_that_flips_between_tries_is_checked_in_each(receiver: Receiver) -> None:
    allowed = rules(["127.0.0.1", "http", f":{receiver.port}"])
    async with sender(allowed, lookup=Names("127.0.0.1", "127.0.0.2", "127.0.0.1")) as send:
        came = [await send(f"http://hooks.example.com:{receiver.port}/hook") for _ in range(3)]
    assert [each.delivered for each in came] == [True, False, True]
    assert receiver.received.qsize() == 2


async def test_an_unknown_name_and_a_private_one_read_the_same() -> None:
    async with sender(Rules(), lookup=Names("10.0.0.1")) as send:
        first, second = await send("https://a.example.com/"), await send("https://b.example.com/")
    assert first == second == answer.NO_ADDRESS


async def test_a_certificate_that_nobody_knows_is_refused(certificate: Path) -> None:
    with Receiver(tls=server_context(certificate)) as receiver:
        async with sender() as send:
            assert await send(f"https://127.0.0.1:{receiver.port}/") == answer.NO_TRUST
        assert receiver.received.empty()


async def test_a_server_without_tls_is_a_failed_try(receiver: Receiver) -> None:
    async with sender() as send:
        assert await send(f"https://127.0.0.1:{receiver.port}/") == answer.NO_TLS


async def test_the_certificate_is_that_of_the_name_and_not_of_the_address(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with Receiver(tls=server_context(certificate)) as receiver:
        async with sender(rules(["hooks.example.com"]), lookup=Names("127.0.0.1")) as send:
            assert (await send(f"https://hooks.example.com:{receiver.port}/")).delivered
        async with sender(rules(["other.example.com"]), lookup=Names("127.0.0.1")) as send:
            assert await send(f"https://other.example.com:{receiver.port}/") == answer.NO_TRUST


async def test_the_systems_resolver_is_asked_beside_the_event_loop() -> None:
    lookup = Lookup()
    assert ip_address("127.0.0.1") in await lookup("localhost")
    with pytest.raises(OSError):
        await lookup("nowhere.invalid")


async def test_lookups_that_hang_keep_their_places_and_hold_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    free, asked = threading.Event(), threading.Semaphore(0)

    def hang(*_: object, **__: object) -> list[object]:
        asked.release()
        free.wait(30)
        return []

    monkeypatch.setattr("submodel_gateway.webhooks.lookup.THREADS_MAX", 2)
    monkeypatch.setattr(socket, "getaddrinfo", hang)
    lookup = Lookup()
    waiting = [asyncio.ensure_future(lookup(name)) for name in ("a", "b", "c")]
    for _ in range(2):
        assert await asyncio.to_thread(asked.acquire, timeout=30)
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    assert not asked.acquire(blocking=False)
    free.set()
    assert await asyncio.gather(*waiting[1:]) == [[], []]
