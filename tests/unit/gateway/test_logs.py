"""Lines of the log: text or JSON, with the request that they are about; answers carry its id."""

import json
import logging
from collections.abc import Callable, Iterator

import pytest

from submodel_gateway.http.public import public_app
from submodel_gateway.logs import JsonLines, TextLines, request_id
from submodel_gateway.parent.voice import Voice
from submodel_gateway.service.access import Open
from submodel_gateway.store import base
from tests.support.gateway_world import ENDPOINT, FailingStore, World, world
from tests.support.legacy_worker import Answer, Call


@pytest.fixture(autouse=True)
def outside_of_a_request() -> Iterator[None]:
    token = request_id.set("")
    yield
    request_id.reset(token)


async def asked(w: World, path: str = f"/v2/{ENDPOINT}/health", method: str = "GET", **headers: str) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return await Call(public_app(w.gateway, Open()), method, path, sent, b'{"input": "a secret"}').answer()


async def test_an_answer_has_the_callers_id_or_one_that_nobody_else_has() -> None:
    async with world() as w:
        assert (await asked(w, x_request_id="mine-1")).headers[b"x-request-id"] == b"mine-1"
        ids = {(await asked(w)).headers[b"x-request-id"] for _ in range(3)}
        assert len(ids) == 3
        assert (await asked(w, "/nothing", x_request_id="mine-2")).headers[b"x-request-id"] == b"mine-2"


@pytest.mark.parametrize("odd", ["", "two words", "x" * 129, 'quote"', "line\x7f"])
async def test_an_id_that_could_spoil_a_header_or_a_log_is_replaced(odd: str) -> None:
    async with world() as w:
        assert (await asked(w, x_request_id=odd)).headers[b"x-request-id"] != odd.encode()


def test_a_name_with_line_breaks_begins_no_line_of_the_log() -> None:
    name = "w\n2026-01-31 12:00:00,000 ERROR forged\r\x1b[2J\u2028"
    record = logging.LogRecord("here", logging.INFO, "", 1, "worker %s is replaced", (name,), None)
    line = TextLines().format(record)
    assert line.splitlines() == [line]
    assert "\\n2026-01-31" in line
    assert "\x1b" not in line


async def test_lines_about_a_request_name_it_and_hold_no_payload(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FailingStore()
    async with world(store) as w:
        store.refused = {base.Submit}
        lines: list[str] = []
        with caplog.at_level(logging.ERROR):
            # The handler outlives this test.
            monkeypatch.setattr(caplog.handler, "emit", lambda record: lines.append(JsonLines().format(record)))
            answer = await asked(w, f"/v2/{ENDPOINT}/run", "POST", x_request_id="mine-3")
    assert answer.status == 503
    told = [json.loads(line) for line in lines if "answered with 503" in line]
    assert [(each["level"], each["request"]) for each in told] == [("ERROR", "mine-3")]
    assert "a secret" not in "".join(lines)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("submodel_gateway", logging.INFO, "file", 1, text, None, None)


def test_text_names_the_request_where_there_is_one() -> None:
    assert TextLines().format(record("listening")).endswith(" INFO submodel_gateway listening")
    request_id.set("r-1")
    assert TextLines().format(record("failed")).endswith(" INFO submodel_gateway failed [r-1]")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_is_one_object_per_line_whatever_names_hold_and_the_terminal_writes(encoding: str) -> None:
    odd = "two\nlines \u2028 \x85 \u6f22 \U0001f600 \ud800"
    line = JsonLines().format(record(odd)).encode(encoding, "backslashreplace").decode(encoding)
    assert line.splitlines() == [line]
    assert json.loads(line)["message"] == odd
    assert "request" not in json.loads(line)


@pytest.mark.parametrize(("form", "read"), [("text", str.strip), ("json", lambda line: json.loads(line)["message"])])
def test_the_process_that_keeps_the_sockets_logs_alike(
    form: str, read: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    voice = Voice("WARNING", form)
    voice.info("not this")
    voice.warning("a process ended")
    (line,) = capsys.readouterr().err.splitlines()
    assert read(line).endswith("a process ended")
    assert "submodel_gateway.parent" in line
