"""Times of named pieces of a handler."""

from collections.abc import Iterator
from datetime import datetime

import pytest

from submodel.serverless.utils import rp_debugger
from submodel.serverless.utils.rp_debugger import (
    Checkpoints,
    FunctionTimer,
    LineTimer,
    clear_debugger_output,
    get_debugger_output,
)


@pytest.fixture(autouse=True)
def empty() -> Iterator[None]:
    clear_debugger_output()
    yield
    clear_debugger_output()


def names() -> list[str]:
    return [checkpoint["name"] for checkpoint in get_debugger_output()["timestamps"]]


@pytest.mark.requirement("handler.debugger")
def test_a_checkpoint_has_its_duration_and_utc_times() -> None:
    Checkpoints().add("load")
    Checkpoints().start("load")
    assert Checkpoints().get_checkpoints() == [], "it is not complete"
    Checkpoints().stop("load")
    (found,) = Checkpoints().get_checkpoints()
    assert set(found) == {"name", "start_utc", "stop_utc", "duration_ms"}
    started, stopped = (datetime.fromisoformat(found[name]) for name in ("start_utc", "stop_utc"))
    assert found["start_utc"].endswith("Z")
    assert started <= stopped
    assert found["duration_ms"] >= 0
    assert Checkpoints().get_checkpoints() == [found], "reading changes nothing"


def test_wrong_uses_are_key_errors() -> None:
    with pytest.raises(KeyError, match="does not exist"):
        Checkpoints().start("nobody")
    with pytest.raises(KeyError, match="does not exist"):
        Checkpoints().stop("nobody")
    Checkpoints().add("load")
    with pytest.raises(KeyError, match="already exists"):
        Checkpoints().add("load")
    with pytest.raises(KeyError, match="has not been started"):
        Checkpoints().stop("load")


def test_reading_the_output_forgets_it_and_tells_of_the_system() -> None:
    with LineTimer("load"):
        pass
    output = get_debugger_output()
    assert [checkpoint["name"] for checkpoint in output["timestamps"]] == ["load"]
    assert set(output["system_info"]) == {"os", "processor", "python_version", "runpod", "submodel"}
    assert all(output["system_info"].values())
    assert names() == []


@pytest.mark.requirement("handler.debugger")
def test_a_line_timer_may_be_used_again() -> None:
    timer = LineTimer("step")
    for _ in range(2):
        with timer:
            pass
    assert names() == ["step", "step"]


@pytest.mark.requirement("handler.debugger")
def test_a_function_is_timed_at_each_call_also_when_it_raises() -> None:
    @FunctionTimer
    def work(number: int) -> float:
        """Its own words."""
        return 1 / number

    assert work(2) == 0.5
    with pytest.raises(ZeroDivisionError):
        work(0)
    assert names() == ["work", "work"]
    assert work.__doc__ == "Its own words."


async def test_an_asynchronous_function_is_timed_until_its_end() -> None:
    @FunctionTimer
    async def work() -> int:
        return 1

    running = work()
    assert Checkpoints().get_checkpoints() == []
    assert await running == 1
    assert names() == ["work"]


def test_what_nobody_reads_does_not_grow_for_ever() -> None:
    for number in range(rp_debugger.CHECKPOINTS_MAX + 5):
        with LineTimer(f"step {number}"):
            pass
    assert len(found := names()) == rp_debugger.CHECKPOINTS_MAX
    assert found[0] == "step 5"
