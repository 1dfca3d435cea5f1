"""What a job's answers mean."""

from typing import Any

import pytest

from submodel import errors
from submodel.client.reading import StreamPlace, output


def part(*outputs: Any, status: str = "IN_PROGRESS", offset: int, attempt: int = 1) -> dict[str, Any]:
    """An answer of `stream`."""
    items = [{"output": one} for one in outputs]
    return {"id": "j", "status": status, "stream": items, "offset": offset, "attempt": attempt}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"status": "COMPLETED", "output": [1]}, [1]),
        ({"status": "COMPLETED"}, None),
        ({"status": "IN_PROGRESS", "output": "half"}, "half"),
        ({"status": "IN_QUEUE"}, None),
        ({"status": "SOMETHING_NEW"}, None),
    ],
)
def test_the_output_is_what_there_is(found: dict[str, Any], expected: Any) -> None:
    assert output("j", found) == expected


@pytest.mark.parametrize(
    ("status", "kind"),
    [("FAILED", errors.JobFailed), ("CANCELLED", errors.JobCancelled), ("TIMED_OUT", errors.JobTimedOut)],
)
def test_a_job_without_a_result_is_an_error_of_its_kind(status: str, kind: type[errors.JobEnded]) -> None:
    with pytest.raises(kind, match=f"job j is {status}: the reason") as caught:
        output("j", {"status": status, "error": "the reason", "output": {"partial": 1}})
    assert (caught.value.job_id, caught.value.status) == ("j", status)
    assert (caught.value.error, caught.value.output) == ("the reason", {"partial": 1})
    with pytest.raises(kind, match=f"job j is {status}$"):
        output("j", {"status": status})


def test_a_stream_goes_on_where_it_was() -> None:
    place = StreamPlace()
    assert place.read(part("a", "b", offset=2)) == ["a", "b"]
    assert place.offset == 2
    assert place.read(part(offset=2)) == []
    assert place.read(part("c", offset=3)) == ["c"]
    assert (place.offset, place.ended) == (3, False)


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"])
@pytest.mark.parametrize("last", [[], ["a"]])
def test_a_stream_ends_with_every_final_status(status: str, last: list[str]) -> None:
    place = StreamPlace()
    assert place.read(part(*last, status=status, offset=len(last))) == last
    assert place.ended


def test_a_stream_begins_again_when_the_job_does() -> None:
    place = StreamPlace()
    place.read(part("a", "b", offset=2))
    assert place.read(part("z", offset=3, attempt=2)) == [], "these are items after two others of another attempt"
    assert (place.offset, place.attempt, place.ended) == (0, 2, False)
    assert place.read(part("x", "y", "z", offset=3, attempt=2)) == ["x", "y", "z"]


def test_a_job_that_ended_in_another_attempt_is_read_from_the_start() -> None:
    place = StreamPlace()
    place.read(part("a", offset=1))
    place.read(part(status="COMPLETED", offset=1, attempt=2))
    assert not place.ended
    assert place.read(part("x", status="COMPLETED", offset=1, attempt=2)) == ["x"]
    assert place.ended


def test_a_later_attempt_before_the_first_item_changes_nothing() -> None:
    place = StreamPlace()
    place.read(part(offset=0, attempt=0, status="IN_QUEUE"))
    assert place.read(part("a", offset=1, attempt=1)) == ["a"]


def test_a_server_without_offsets_is_read_until_nothing_is_left() -> None:
    place = StreamPlace()
    assert place.read({"status": "COMPLETED", "stream": [{"output": 1}]}) == [1]
    assert not place.ended
    assert place.read({"status": "COMPLETED", "stream": []}) == []
    assert place.ended
