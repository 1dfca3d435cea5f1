"""Answers of a gateway, read from a connection that gives them in any pieces."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodel.serverless.http_reply import BrokenReply, Reply, read_reply

WHOLE = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Reply(200, b"hello")),
    (b"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", Reply(200, b"")),
    (b"HTTP/1.1 204 No Content\r\n\r\n", Reply(204, b"")),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx", Reply(404, b"x")),
    (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", Reply(200, b"x", False)),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", Reply(200, b"x", False)),
    (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", Reply(200, b"x")),
    (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\nA;x=1\r\n0123456789\r\n0\r\nT: t\r\n\r\n",
        Reply(200, b"abc0123456789"),
    ),
]
PIECES = [*WHOLE, (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", Reply(200, b"until the end", False))]


def receiver(text: bytes, sizes: list[int]) -> Callable[[], bytes]:
    def pieces() -> Iterator[bytes]:
        rest, at = text, 0
        while rest:
            size = sizes[at % len(sizes)]
            yield rest[:size]
            rest, at = rest[size:], at + 1

    made = pieces()
    return lambda: next(made, b"")


@pytest.mark.parametrize(("text", "reply"), PIECES)
@given(sizes=st.lists(st.integers(1, 40), min_size=1, max_size=5))
def test_an_answer_is_read_whatever_pieces_it_comes_in(text: bytes, reply: Reply, sizes: list[int]) -> None:
    assert read_reply(receiver(text, sizes)) == reply


@pytest.mark.parametrize("text", [text for text, _ in WHOLE])
@given(data=st.data())
def test_an_answer_that_is_cut_is_no_answer(text: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(BrokenReply):
        read_reply(receiver(text[:cut], [7]))


@pytest.mark.parametrize(
    "text",
    [
        b"220 smtp.example ESMTP\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 70_000,
    ],
)
def test_what_is_not_http_is_refused(text: bytes) -> None:
    with pytest.raises(BrokenReply):
        read_reply(receiver(text, [1000]))


def test_a_connection_that_says_more_than_it_was_asked_is_not_used_again() -> None:
    assert not read_reply(receiver(b"HTTP/1.1 204 No Content\r\n\r\nHTTP", [100])).reusable
