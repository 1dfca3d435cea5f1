"""What gateways tell each other goes on being told and heard, whatever happens on the way."""

import asyncio
from collections.abc import Iterable
from typing import Any, cast

import pytest

from submodel_gateway.store.postgres import statements as sql
from submodel_gateway.store.postgres.asking import Desk
from submodel_gateway.store.postgres.news import News
from submodel_gateway.store.postgres.tallies import Tallies

NOWHERE = "postgresql://127.0.0.1:1/none?connect_timeout=1"
OTHER, OURS = 7, 1


class FaultyDesk:
    """Stands in for a connection: a statement in `failing` fails once as nothing should, and works afterwards."""

    def __init__(self) -> None:
        self.failing: set[str] = set()
        self.failed: asyncio.Queue[str] = asyncio.Queue()
        self.works_again: asyncio.Queue[str] = asyncio.Queue()
        self._did_fail: set[str] = set()

    async def fetch(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        if statement in self.failing:
            self.failing.remove(statement)
            self._did_fail.add(statement)
            self.failed.put_nowait(statement)
            raise ValueError("a defect")
        if statement in self._did_fail:
            self.works_again.put_nowait(statement)
        return [(OTHER, None, None)] if statement == sql.OTHERS else []


@pytest.mark.parametrize(("statement", "said"), [(sql.OTHERS, "are not heard of"), (sql.NOTIFY, "are not told")])
async def test_a_defect_ends_neither_looking_nor_telling_and_is_logged(
    statement: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk, upkeep = FaultyDesk(), asyncio.Event()

    async def kept_up() -> None:
        upkeep.set()

    def changed(endpoints: Iterable[str]) -> None:
        """Nobody waits for them."""

    news = News(NOWHERE, cast("Desk", desk), Tallies(), lambda: OURS, asyncio.Event())
    await news.start(changed, kept_up)
    await upkeep.wait()
    desk.failing = {statement}
    for happened in (desk.failed, desk.works_again):
        news._hear(str(OTHER))
        news.changed()
        assert await happened.get() == statement
    await news.close()
    (told,) = [record for record in caplog.records if record.exc_info]
    assert said in told.getMessage()
