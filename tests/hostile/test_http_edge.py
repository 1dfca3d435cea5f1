"""Bytes that are nearly HTTP, or not at all: the gateway answers or closes, is never to blame, and serves on."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.target import LAST, Target, target

JOB = b'{"input": {"n": 1}}'
SOUND = [
    b"GET /v2/ns.app/health HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v2/ns.app/run HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s" % (len(JOB), JOB),
    b"POST /v2/ns.app/runsync?wait=1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"
    % (len(JOB), JOB),
    b"POST /v2/ns.app/status/x HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"POST /v2/ns.app/run HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: %d\r\n\r\n%s"
    % (len(JOB), JOB),
    b"GET /v2/ns.app/stream/x?wait=1&offset=0 HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /v2/ns.app/workers/w/exchange HTTP/1.1\r\nHost: x\r\nAuthorization: no\r\nContent-Length: 2\r\n\r\n{}",
]
LINES = [
    b"Content-Length: 0",
    b"Content-Length: 5",
    b"Content-Length: -1",
    b"Content-Length: 99999999999999999999",
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Content-Encoding: gzip",
    b"Upgrade: websocket\r\nConnection: Upgrade",
    b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
    b"Expect: 100-continue",
    b"Connection: close",
    b"Host: " + b"y" * 300,
    b"fffffffffffffffff",
    b"-1",
    b"0\r\n",
    b" folded",
]
WORDS = rb"\n \r \x00 : \t % %00 %2F .. // ? # \xff \xc3\xa9 HTTP/1.0 HTTP/1.1 HTTP/2.0 POST CONNECT *"
TOKENS = [
    b" ",
    b"\r\n",
    *(line + b"\r\n" for line in LINES),
    *(word.decode("unicode_escape").encode("latin-1") for word in WORDS.split()),
]


@st.composite
def nearly_http(draw: st.DrawFn) -> bytes:
    """Sound requests in a row, with some of their bytes taken out, doubled or replaced."""
    text = b"".join(draw(st.lists(st.sampled_from(SOUND), min_size=1, max_size=3)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 2, 7, 40])))
        put = draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=6), st.just(text[start:end] * 2)))
        text = text[:start] + put + text[end:]
    return text


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("gateway")) as opened:
        yield opened
        assert opened.serves()
        opened.gateway.kill()
        assert "Traceback" not in "".join(opened.gateway.log)


def check(gateway: Target, sent: bytes) -> None:
    for answer in gateway.answers_or_waits(sent, LAST):
        assert answer.status < 500, answer
        assert isinstance(answer.json, dict)
        assert (answer.status == 200) == ("error" not in answer.json), answer


@pytest.mark.parametrize("request_", SOUND)
def test_sound_requests_are_answered_before_the_last_one(gateway: Target, request_: bytes) -> None:
    assert [answer.status for answer in gateway.answers(request_, LAST)][-1] == 200


QUICK = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])


@QUICK
@given(sent=nearly_http())
def test_what_is_nearly_http_is_answered_or_ends_its_connection(gateway: Target, sent: bytes) -> None:
    check(gateway, sent)


@pytest.mark.slow
@pytest.mark.timeout(300)
@settings(QUICK, max_examples=400)
@given(sent=st.one_of(nearly_http(), st.binary(max_size=200), st.text(max_size=100).map(str.encode)))
def test_any_bytes_are_answered_or_end_their_connection(gateway: Target, sent: bytes) -> None:
    check(gateway, sent)
