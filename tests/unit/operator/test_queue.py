"""The keyed work queue: once per key, never twice at a time, failures delay only themselves."""

import asyncio

from submodel_operator.reconcile.queue import KeyedQueue


def queue() -> KeyedQueue[str]:
    return KeyedQueue(jitter=lambda: 0.5)


async def test_a_key_added_many_times_is_processed_once() -> None:
    keys = queue()
    for _ in range(5):
        keys.add("a")
    assert await keys.take() == "a"
    assert len(keys) == 0


async def test_a_key_added_while_it_is_processed_runs_once_more_afterwards() -> None:
    keys = queue()
    keys.add("a")
    await keys.take()
    keys.add("a")
    keys.add("a")
    second = asyncio.ensure_future(keys.take())
    await asyncio.wait([second], timeout=0)
    assert not second.done()
    keys.done("a")
    assert await second == "a"
    keys.done("a")
    assert len(keys) == 0


async def test_keys_are_taken_in_the_order_in_which_they_came() -> None:
    keys = queue()
    keys.add("a")
    keys.add("b")
    assert [await keys.take(), await keys.take()] == ["a", "b"]


async def test_failures_double_the_delay_up_to_a_minute_and_success_forgets_them() -> None:
    keys = queue()
    assert [keys.fail("a") for _ in range(4)] == [0.5, 1.0, 2.0, 4.0]
    assert max(keys.fail("a") for _ in range(20)) == 60.0
    keys.succeed("a")
    assert keys.fail("a") == 0.5
    keys.close()


async def test_whoever_asks_for_a_longer_rest_gets_it() -> None:
    keys = queue()
    assert (keys.fail("a", at_least_seconds=7.0), keys.fail("a", at_least_seconds=0.2)) == (7.0, 1.0)
    keys.close()


async def test_an_earlier_delayed_add_replaces_a_later_one() -> None:
    keys = queue()
    keys.add_after("a", 3600)
    keys.add_after("a", 0)
    assert await keys.take() == "a"
    keys.close()


async def test_a_later_delayed_add_does_not_postpone_an_earlier_one() -> None:
    keys = queue()
    keys.add_after("a", 0)
    keys.add_after("a", 3600)
    assert await keys.take() == "a"


async def test_an_event_overtakes_a_planned_retry() -> None:
    keys = queue()
    keys.add_after("a", 3600)
    keys.add("a")
    assert await keys.take() == "a"
    keys.done("a")
    keys.close()
    assert len(keys) == 0
