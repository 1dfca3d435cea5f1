"""What a process writes that fails again and again is told once."""

import asyncio

from submodel_operator.local.repeats import Repeats


async def test_a_run_that_writes_the_same_is_not_told_again() -> None:
    told: list[str] = []
    lines = Repeats(told.append)
    outcomes = []
    for _ in range(3):
        lines.begin()
        lines.hear("Traceback")
        lines.hear("OSError")
        outcomes.append(lines.end())
    assert (told, outcomes) == (["Traceback", "OSError"], [False, True, True])


async def test_a_run_that_goes_another_way_is_told_from_its_beginning() -> None:
    told: list[str] = []
    lines = Repeats(told.append)
    for written in (["loading", "OSError"], ["loading", "KeyError"], ["loading"]):
        lines.begin()
        for each in written:
            lines.hear(each)
        assert not lines.end()
    assert told == ["loading", "OSError", "loading", "KeyError", "loading"]


async def test_a_run_that_goes_on_is_told_after_a_moment() -> None:
    again = asyncio.Event()
    lines = Repeats(lambda _: again.set())
    lines.begin()
    lines.hear("loading")
    assert not lines.end()
    again.clear()
    lines.begin()
    lines.hear("loading")
    assert not again.is_set()
    await again.wait()
    assert not lines.end()


async def test_a_process_that_writes_nothing_does_not_repeat_itself() -> None:
    lines = Repeats(lambda _: None)
    lines.begin()
    assert not lines.end()
    lines.begin()
    assert not lines.end()
