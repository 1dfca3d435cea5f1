"""What must pass before a worker asks for jobs."""

from collections.abc import Iterator
from typing import Any

import pytest

from submodel.serverless import fitness


@pytest.fixture(autouse=True)
def no_others() -> Iterator[None]:
    kept = fitness._checks[:]
    fitness._checks.clear()
    yield
    fitness._checks[:] = kept


async def test_checks_run_in_their_order_until_one_fails() -> None:
    ran: list[str] = []

    @fitness.register
    def first() -> None:
        ran.append("first")

    @fitness.register
    async def gpu() -> None:
        ran.append("gpu")
        raise RuntimeError("no CUDA device")

    fitness.register(lambda: ran.append("never"))
    assert await fitness.first_failure() == "gpu: RuntimeError: no CUDA device"
    assert ran == ["first", "gpu"]


async def test_without_a_failure_there_is_no_sentence() -> None:
    fitness.register(lambda: False)
    assert await fitness.first_failure() == ""


async def test_a_check_that_ends_the_process_is_not_a_failure_but_an_exit() -> None:
    @fitness.register
    def leaves() -> None:
        raise SystemExit(9)

    with pytest.raises(SystemExit, match="9"):
        await fitness.first_failure()


def test_what_cannot_be_called_is_no_check() -> None:
    wrong: Any = 3
    with pytest.raises(TypeError, match="int is not a callable"):
        fitness.register(wrong)
