"""What workers with an SDK of the hosted platforms post: what it means, and how little memory the reading takes."""

import tracemalloc

import pytest

from submodel_gateway.http.legacy_bodies import MENDED_BYTES_MAX, read_result
from submodel_gateway.service.legacy_posts import Progress, Result

MANY = 1_000_000


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ('"no"', "no"),
        ('"\\u00e9"', "é"),
        ('{"a": [1, 2]}', '{"a":[1,2]}'),
        ("[1]", "[1]"),
        ("7", "7"),
        ("0.5", "0.5"),
        ("1e999", "1e999"),
        ("true", "true"),
        *((text, None) for text in ('""', "null", "false", "[]", "[ ]", "{ }", "0", "-0.0", "0e7")),
    ],
)
async def test_an_error_is_text_and_what_is_empty_is_none(text: str, error: str | None) -> None:
    assert await read_result(b'{"error":%s}' % text.encode()) == Result(error=error)


@pytest.mark.parametrize(
    ("text", "stops"), [("true", True), ("1", True), ('"x"', True), ("false", False), ("0", False)]
)
async def test_a_fresh_worker_is_asked_for_by_whatever_is_not_empty(text: str, stops: bool) -> None:
    assert await read_result(b'{"output":1,"stopPod":%s}' % text.encode()) == Result(b"1", stop_worker=stops)


async def test_progress_is_told_by_its_status() -> None:
    assert await read_result(b'{"status":"IN_PROGRESS","output":2}') == Progress(b"2")
    assert await read_result(b'{"status":["IN_PROGRESS"],"output":2}') == Result(b"2")


@pytest.mark.parametrize("field", ["status", "error", "stopPod"])
@pytest.mark.parametrize("item", [b"1", b"{}", b"[]"])
async def test_what_a_field_holds_is_not_built(field: str, item: bytes) -> None:
    body = b'{"%s":[%s]}' % (field.encode(), b",".join([item] * MANY))
    tracemalloc.start()
    try:
        await read_result(body)
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert grown < 5 * len(body)


@pytest.mark.parametrize(
    "body", [b'{"output":[%sNaN]}' % (b"[]," * MANY), b'{"output":NaN,"x":"%s"}' % (b"x" * MENDED_BYTES_MAX)]
)
async def test_what_is_no_json_and_too_much_to_be_mended_ends_the_job(body: bytes) -> None:
    read = await read_result(body)
    assert isinstance(read, Result)
    assert read.final
    assert "too large to be mended" in (read.error or "")
