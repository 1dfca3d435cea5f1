"""Group commit: order, isolation of a failing operation, and the end."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from submodel_gateway.errors import OperationFailed, StoreError, Unavailable
from submodel_gateway.store import base
from submodel_gateway.store.group import GROUP_MAX, TURN, GroupCommit
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.sqlite import SqliteStore
from tests.support.store_operations import ENDPOINT, submit


class RecordingStore(MemoryStore):
    """The store in memory, which notes its groups and refuses every group with the job `bad`."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: list[int] = []

    def apply(self, operations: Sequence[base.Operation], now: int) -> list[base.Outcome]:
        self.groups.append(len(operations))
        if any(isinstance(operation, base.Submit) and operation.id == "bad" for operation in operations):
            raise StoreError("the disk is full")
        return super().apply(operations, now)


def front(store: base.Store, seen: list[str] | None = None) -> GroupCommit:
    def on_commit(done: Iterable[tuple[base.Operation, base.Outcome]]) -> None:
        for _, outcome in done:
            if seen is not None and isinstance(outcome, base.Applied) and outcome.change.after is not None:
                seen.append(outcome.change.after.id)

    return GroupCommit(store, lambda: 1_000, on_commit)


async def test_operations_that_come_together_share_a_transaction() -> None:
    store = RecordingStore()
    group = front(store)
    await asyncio.gather(*(group.one(submit(f"job-{n}")) for n in range(100)))
    assert store.groups == [100]
    await group.close()


async def test_a_group_has_a_limit() -> None:
    store = RecordingStore()
    group = front(store)
    await asyncio.gather(*(group.one(submit(f"job-{n}")) for n in range(GROUP_MAX + 1)))
    assert store.groups == [GROUP_MAX, 1]
    await group.close()


async def test_an_endpoint_waits_for_a_turn_of_each_other_one_and_not_for_all_that_it_has_to_say() -> None:
    store, seen = RecordingStore(), list[str]()
    group = front(store, seen)
    long = [submit(f"long-{n}") for n in range(10 * GROUP_MAX + 1)]
    first = group.many(long)
    more = group.many([submit("long-last")])
    others = [group.many([submit(f"{other}-{n}", other) for n in range(2)]) for other in ("a", "b")]
    outcomes = await first
    assert [type(outcome) for outcome in outcomes] == [base.Applied] * len(long)
    assert [id for id in seen if id.startswith("long")] == [*(each.id for each in long), "long-last"]
    assert [id for id in seen if not id.startswith("long")] == ["a-0", "a-1", "b-0", "b-1"]
    assert {seen.index("a-0"), seen.index("b-0")} == {TURN, TURN + 2}
    assert max(store.groups) <= GROUP_MAX
    assert all(other.done() for other in (more, *others))
    await group.close()


async def test_an_endpoint_in_turn_has_as_much_of_it_in_many_requests_as_in_one() -> None:
    store, seen = RecordingStore(), list[str]()
    group = front(store, seen)
    group.many([submit(f"long-{n}") for n in range(GROUP_MAX)])
    singles = [group.many([submit(f"single-{n}", "other")]) for n in range(TURN)]
    await asyncio.gather(*singles)
    assert seen.index(f"single-{TURN - 1}") == 2 * TURN - 1
    await group.close()


async def test_only_the_culprit_of_a_failed_group_fails() -> None:
    store = RecordingStore()
    group = front(store)
    outcomes = await asyncio.gather(*(group.one(submit(id)) for id in ("a", "bad", "b")), return_exceptions=True)
    assert isinstance(outcomes[1], OperationFailed)
    assert "the disk is full" in str(outcomes[1])
    assert [await store.job(ENDPOINT, id) is not None for id in ("a", "bad", "b")] == [True, False, True]
    await group.close()


async def test_only_the_culprit_of_a_failed_transaction_fails(tmp_path: Path) -> None:
    group = front(SqliteStore(tmp_path / "jobs.db"))
    outcomes = await group.many([submit("a"), submit("bad", pri=2**70), submit("b")])
    assert [type(outcome) for outcome in outcomes] == [base.Applied, base.Failed, base.Applied]
    assert group.store.tally(ENDPOINT).queued == 2
    await group.close()


async def test_a_failure_is_logged_with_its_cause_and_without_payloads(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    group = front(SqliteStore(tmp_path / "jobs.db"))
    await group.many([submit("a"), submit("bad", pri=2**70, input=b'"private"')])
    assert "a group of 2 operations failed" in caplog.text
    assert "Submit failed by a defect" in caplog.text
    assert "OverflowError" in caplog.text
    assert "private" not in caplog.text
    await group.close()


async def test_changes_are_told_before_the_caller_goes_on(tmp_path: Path) -> None:
    seen: list[str] = []
    group = front(SqliteStore(tmp_path / "jobs.db"), seen)
    await group.one(submit("a"))
    assert seen == ["a"]
    await group.close()


async def test_the_caller_goes_on_before_those_who_only_hear_of_it() -> None:
    order: list[str] = []
    committed = asyncio.get_running_loop().create_future()
    group = GroupCommit(MemoryStore(), lambda: 1_000, lambda done: committed.set_result(None))

    async def reader() -> None:
        await committed
        order.append("reader")

    async def caller() -> None:
        await group.one(submit("a"))
        order.append("caller")

    await asyncio.gather(reader(), caller())
    assert order == ["caller", "reader"]
    await group.close()


async def test_closing_finishes_what_was_queued_and_refuses_the_rest(tmp_path: Path) -> None:
    group = front(SqliteStore(tmp_path / "jobs.db"))
    queued = group.many([submit("a")])
    await group.close()
    assert isinstance((await queued)[0], base.Applied)
    with pytest.raises(Unavailable):
        await group.one(submit("b"))
    reopened = SqliteStore(tmp_path / "jobs.db")
    assert await reopened.job(ENDPOINT, "a") is not None
    await reopened.close()
