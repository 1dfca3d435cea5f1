"""Where the processes come from that are killed."""

from collections.abc import Iterator

import pytest

from tests.crash.nursery import Nursery


@pytest.fixture
def nursery() -> Iterator[Nursery]:
    with Nursery() as opened:
        yield opened
