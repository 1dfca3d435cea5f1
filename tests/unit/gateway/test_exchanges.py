"""What one request of a worker may hold: more is refused before anybody builds it, and names stay short."""

import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from submodel.contract.exchange import ExchangeRequest
from submodel.contract.wire import decode
from submodel_gateway.errors import InvalidRequest, TooLarge
from submodel_gateway.http import exchanges
from submodel_gateway.http.envelope import LARGE_BYTES
from submodel_gateway.http.exchanges import ENTRIES_MAX, ITEMS_MAX, MS_MAX, REASON_LENGTH_MAX, UNANSWERED_MAX

HELD = {"id": "x", "token": "1-y"}
PART = {**HELD, "seq": 1}


def body(**fields: Any) -> bytes:
    return json.dumps({"session": "s", "request": 1, "phase": "ready", **fields}).encode()


@pytest.mark.parametrize("name", ["running", "released", "progress", "results", "chunks"])
@pytest.mark.parametrize("padding", ["", "x" * LARGE_BYTES], ids=["small", "large"])
def test_more_entries_than_anybody_has_are_refused(name: str, padding: str) -> None:
    entry: dict[str, Any] = {"id": "", "token": "", "value": 1, "seq": 1, "items": []}
    exchanges.read(body(**{name: [entry] * ENTRIES_MAX}, reason=padding))
    with pytest.raises(TooLarge, match=f"more than {ENTRIES_MAX} entries"):
        exchanges.read(body(**{name: [entry] * (ENTRIES_MAX + 1)}, reason=padding))


def test_entries_of_all_kinds_count_together() -> None:
    half = [HELD] * (ENTRIES_MAX // 2 + 1)
    with pytest.raises(TooLarge, match="entries"):
        exchanges.read(body(running=half, released=half))


@pytest.mark.parametrize("padding", ["", "x" * LARGE_BYTES], ids=["small", "large"])
def test_more_streamed_items_than_jobs_may_have_are_refused(padding: str) -> None:
    exchanges.read(body(chunks=[{**PART, "items": [0] * ITEMS_MAX}], reason=padding))
    for parts in ([ITEMS_MAX + 1], [ITEMS_MAX, 1]):
        with pytest.raises(TooLarge, match="streamed items"):
            exchanges.read(body(chunks=[{**PART, "items": [0] * count} for count in parts], reason=padding))


def test_a_large_output_counts_as_one_however_much_is_in_it() -> None:
    output = [{"a": [1, 2]}] * (ITEMS_MAX + 1)
    results = [{**HELD, "output": output}]
    sent = body(results=results, chunks=[{**PART, "items": [output, output]}], unanswered=[3], startup={"loadMs": 7})
    assert exchanges.read(sent) == decode(sent, ExchangeRequest)


@pytest.mark.parametrize(
    "sent",
    [
        body(chunks=[{**PART, "items": [1] * 1_000_000}]),
        body(chunks=[{**PART, "items": [1] * 1_000_000}])[:-1] + b',"chunks":[]}',
        body(chunks=[{**PART, "items": [1] * 1_000_000}])[:-3] + b',"items":[]}]}',
        body(running=[HELD] * 100_000),
        body(running=[HELD] * 100_000)[:-1] + b',"running":[]}',
        body(unanswered=list(range(300_000))),
        b'{"session":"s","request":1,"phase":"ready"' + b',"x":1' * 300_000 + b"}",
    ],
    ids=["items", "items first", "items in a part first", "entries", "entries first", "numbers", "fields"],
)
def test_what_is_refused_was_never_built(sent: bytes) -> None:
    tracemalloc.start()
    try:
        with suppress(TooLarge):
            exchanges.read(sent)
        grown = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert grown < 3 * len(sent)


@pytest.mark.parametrize("padding", ["", "x" * LARGE_BYTES], ids=["small", "large"])
def test_what_a_session_is_remembered_by_is_short(padding: str) -> None:
    with pytest.raises(InvalidRequest, match="session has 257 characters"):
        exchanges.read(body(session="s" * 257, reason=padding))
    with pytest.raises(TooLarge, match="unanswered"):
        exchanges.read(body(unanswered=list(range(UNANSWERED_MAX + 1)), reason=padding))


def test_of_a_long_reason_the_end_is_kept() -> None:
    read = exchanges.read(body(reason="x" * 9_000_000 + "no GPU"))
    assert len(read.reason) == REASON_LENGTH_MAX
    assert read.reason.endswith("no GPU")


def test_the_report_of_a_start_has_numbers_that_everybody_can_use() -> None:
    startup = {"importMs": -5, "loadMs": 10**300, "checkMs": 3, "processAtMs": 10**30}
    read = exchanges.read(body(startup=startup)).startup
    assert read is not None
    assert (read.import_ms, read.load_ms, read.check_ms, read.process_at_ms) == (0, MS_MAX, 3, MS_MAX)
