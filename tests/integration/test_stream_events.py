"""Streams as server-sent events: places, resumption, a job that runs again, the end."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
import urllib3

from tests.support.gateway_ports import Ports
from tests.support.live_gateway import LiveGateway


@dataclass(frozen=True)
class Event:
    """One event, as it was sent."""

    id: str
    name: str
    data: Any


class Reader:
    """Reads the events of a job one by one."""

    def __init__(self, ports: Ports, id: str, last: str = "", query: str = "", method: str = "GET") -> None:
        headers = {"accept": "text/event-stream"} | ({"last-event-id": last} if last else {})
        url = f"{ports.gateway.public}/v2/ns.app/stream/{id}{query}"
        self._http = urllib3.PoolManager(retries=False, timeout=20)
        self.answer = self._http.request(method, url, headers=headers, preload_content=False)
        self._text = b""

    def next(self) -> Event:
        """The next event; comments are passed over."""
        while True:
            while b"\n\n" not in self._text:
                part = self.answer.read1()
                assert part, "the stream has ended"
                self._text += part
            block, _, self._text = self._text.partition(b"\n\n")
            fields = dict(line.split(": ", 1) for line in block.decode().splitlines() if not line.startswith(":"))
            if fields:
                return Event(fields.get("id", ""), fields.get("event", ""), json.loads(fields["data"]))

    def rest(self) -> list[Event]:
        """Every event up to the end of the stream."""
        self._text += self.answer.read()
        found = []
        while b"\n\n" in self._text.removeprefix(b":\n\n"):
            found.append(self.next())
        return found

    def close(self) -> None:
        self.answer.close()
        self._http.clear()


def begin(ports: Ports) -> dict[str, Any]:
    """A job that a worker has: its id and token."""
    ports.client.ok("POST", "/v2/ns.app/run", {"input": 1})
    (job,) = ports.exchange(capacity=1)["jobs"]
    return {"id": job["id"], "token": job["token"]}


def item(attempt: int, number: int, output: Any) -> Event:
    return Event(f"{attempt}-{number}", "", {"output": output})


def test_items_come_with_their_places_and_the_job_at_the_end(ports: Ports) -> None:
    held = begin(ports)
    reader = Reader(ports, held["id"])
    assert (reader.answer.status, reader.answer.headers["cache-control"]) == (200, "no-store")
    ports.exchange(chunks=[{**held, "seq": 1, "items": ["a", {"b": "line\nbreak"}]}])
    assert [reader.next(), reader.next()] == [item(1, 1, "a"), item(1, 2, {"b": "line\nbreak"})]
    ports.exchange(chunks=[{**held, "seq": 3, "items": [None]}], results=[{**held, "output": [1]}])
    *items, end = reader.rest()
    assert items == [item(1, 3, None)]
    assert (end.id, end.name, end.data["status"], end.data["output"]) == ("1-end", "status", "COMPLETED", [1])
    reader.close()


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_reader_that_was_cut_off_goes_on_where_it_was(ports: Ports, method: str) -> None:
    held = begin(ports)
    ports.exchange(chunks=[{**held, "seq": 1, "items": ["a", "b", "c"]}], results=[{**held, "output": []}])
    assert [event.id for event in Reader(ports, held["id"], "1-1", method=method).rest()] == ["1-2", "1-3", "1-end"]
    assert [event.id for event in Reader(ports, held["id"], "1-3").rest()] == ["1-end"]
    assert [event.id for event in Reader(ports, held["id"], query="?offset=2").rest()] == ["1-3", "1-end"]


def test_a_reader_that_was_told_the_end_is_sent_away(ports: Ports) -> None:
    held = begin(ports)
    ports.exchange(results=[{**held, "output": 1}])
    assert Reader(ports, held["id"], "1-end").answer.status == 204


def test_events_take_nothing_from_other_readers(ports: Ports) -> None:
    held = begin(ports)
    ports.exchange(chunks=[{**held, "seq": 1, "items": ["a"]}], results=[{**held, "output": []}])
    for _ in range(2):
        assert Reader(ports, held["id"]).next() == item(1, 1, "a")
    assert ports.client.ok("GET", f"/v2/ns.app/stream/{held['id']}")["stream"] == [{"output": "a"}]


def test_a_job_that_runs_again_resets_its_readers(gateway: LiveGateway, ports: Ports) -> None:
    held = begin(ports)
    reader = Reader(ports, held["id"])
    ports.exchange(chunks=[{**held, "seq": 1, "items": ["a", "b"]}])
    assert [reader.next().id, reader.next().id] == ["1-1", "1-2"]
    gone = {"workers": [{"worker": "w-1", "reason": "evicted"}]}
    ports.operator.ok("POST", "/internal/v1/endpoints/ns.app/workers/gone", gone)
    assert reader.next().name == "reset"
    second = Ports(gateway)
    (job,) = second.exchange(capacity=1, waitMs=20_000)["jobs"]
    held = {"id": job["id"], "token": job["token"]}
    second.exchange(chunks=[{**held, "seq": 1, "items": ["again"]}])
    assert reader.next() == item(2, 1, "again")
    second.exchange(results=[{**held, "output": []}])
    assert [event.id for event in reader.rest()] == ["2-end"]
    late = Reader(ports, held["id"], "1-2").rest()
    assert [(event.id, event.name) for event in late] == [("2-0", "reset"), ("2-1", ""), ("2-end", "status")]
    second.close()


BAD = [
    ("unknown", "", "", 404, "does not exist"),
    ("unknown", "", "?wait=5", 400, "wait does not go with events"),
    ("unknown", "yesterday", "", 400, "Last-Event-ID"),
    ("unknown", "", "?offset=x", 400, "offset"),
]


@pytest.mark.parametrize(("id", "last", "query", "status", "sentence"), BAD)
def test_what_goes_wrong_before_the_first_event_has_a_status(
    ports: Ports, id: str, last: str, query: str, status: int, sentence: str
) -> None:
    answer = Reader(ports, id, last, query).answer
    assert answer.status == status
    assert sentence in answer.json()["error"]


@pytest.mark.slow
def test_a_gateway_that_goes_down_ends_the_events_and_their_reader_can_come_back(tmp_path: Any) -> None:
    with LiveGateway(tmp_path) as gateway:
        ports = Ports(gateway)
        held = begin(ports)
        ports.exchange(chunks=[{**held, "seq": 1, "items": ["a"]}])
        reader = Reader(ports, held["id"])
        assert reader.next() == item(1, 1, "a")
        assert gateway.terminate() == 0
        assert reader.rest() == []
        ports.close()
    with LiveGateway(tmp_path) as gateway:
        ports = Ports(gateway)
        ports.client.ok("POST", f"/v2/ns.app/cancel/{held['id']}")
        assert [event.id for event in Reader(ports, held["id"], "1-1").rest()] == ["1-end"]
        ports.close()
