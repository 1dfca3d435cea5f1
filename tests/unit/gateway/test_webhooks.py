"""Webhooks of a gateway: sent, repeated, given up, postponed and shared, with a clock that the test moves."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from submodel.contract.exchange import LeasedJob, Result
from submodel_gateway.errors import Conflict, InvalidRequest, NotFound
from submodel_gateway.http.answers import job_answer, webhook_answer
from submodel_gateway.jobs.outbox import DELAYS_MS
from submodel_gateway.jobs.record import WebhookState
from submodel_gateway.service import dispatcher, traffic
from submodel_gateway.service.clients import NewJob
from submodel_gateway.service.dispatcher import LEASE_MS
from submodel_gateway.service.webhooks import LogLine, WebhookView
from submodel_gateway.store import base
from submodel_gateway.store.base import Store
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.webhooks import answer
from submodel_gateway.webhooks.lanes import AWAY_MS, ENDPOINT_SLOTS, FAILURES_MAX, HOST_SLOTS
from submodel_gateway.webhooks.signing import keys
from submodel_gateway.webhooks.targets import Rules
from tests.support.gateway_world import ENDPOINT, FailingStore, Worker, World, settle
from tests.support.postbox import Postbox, dispatch

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
URL = "https://hooks.example.com/jobs?token=hunter2"
HOST = "hooks.example.com"


@asynccontextmanager
async def world(postbox: Postbox, store: Store | None = None, **fields: Any) -> AsyncIterator[World]:
    new = World(store, postbox.outgoing(*keys([SECRET])))
    await new.sweep()
    await new.register(**fields)
    yield new
    await new.gateway.close()


async def ended(world: World, url: str = URL) -> str:
    """A job that has its outcome."""
    id = await world.submit(webhook=url)
    await world.gateway.clients.cancel(ENDPOINT, id)
    return id


async def fail(worker: Worker, job: LeasedJob) -> None:
    worker.held.pop(job.id)
    await worker.say(results=[Result(id=job.id, token=job.token, error="no")])


async def seen(world: World, id: str) -> WebhookView:
    return await world.gateway.webhooks.show(ENDPOINT, id)


async def later(world: World, milliseconds: int) -> None:
    world.clock.ms += milliseconds
    await dispatch(world)


@pytest.mark.requirement("platform.webhook")
async def test_the_outcome_is_sent_once_and_reads_as_the_status_does() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        worker = Worker(w)
        id = await w.submit(webhook=URL)
        (job,) = await worker.take()
        await dispatch(w)
        assert postbox.letters == []
        await worker.finish(job, b'{"text": "\xc3\xa9"}')
        await dispatch(w)
        (letter,) = postbox.letters
        assert letter.url == URL
        assert letter.body == job_answer(await w.status(id))
        assert letter.document["output"] == {"text": "é"}
        assert await seen(w, id) == WebhookView(id, WebhookState.DELIVERED, 1, (LogLine(0, "HTTP 200"),), None)
        await later(w, 3_600_000)
        assert len(postbox.letters) == 1


async def test_a_large_output_is_sent_whole() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        worker = Worker(w)
        await w.submit(webhook=URL)
        (job,) = await worker.take()
        output = b'"' + b"x" * (2 * base.BLOB_BYTES) + b'"'
        await worker.finish(job, output)
        await dispatch(w)
        assert output in postbox.letters[0].body


async def test_every_kind_of_end_is_told() -> None:
    postbox = Postbox()
    async with world(postbox, ttl_ms=20_000) as w:
        worker = Worker(w)
        failing, lasting, cancelled = [await w.submit(webhook=URL) for _ in range(3)]
        (job,) = await worker.take()
        await fail(worker, job)
        await w.gateway.clients.cancel(ENDPOINT, cancelled)
        await w.pass_time(21_000)
        await dispatch(w)
        told = {letter.document["id"]: letter.document["status"] for letter in postbox.letters}
        assert told == {failing: "FAILED", cancelled: "CANCELLED", lasting: "TIMED_OUT"}


async def test_a_job_without_a_webhook_says_nothing() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        id = await w.submit()
        await w.gateway.clients.cancel(ENDPOINT, id)
        await dispatch(w)
        assert postbox.letters == []
        with pytest.raises(NotFound, match="without a webhook"):
            await seen(w, id)


@pytest.mark.requirement("platform.webhook")
async def test_a_failed_webhook_is_repeated_ever_more_slowly_and_then_given_up() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        postbox.answers.extend([answer.of_status(404)] * 20)
        id = await ended(w)
        await dispatch(w)
        for tries, delay_ms in enumerate(DELAYS_MS, 1):
            view = await seen(w, id)
            assert (view.state, view.tries) == (WebhookState.PENDING, tries)
            assert [line.answer for line in view.log] == ["HTTP 404"] * tries
            assert view.next_in_ms is not None
            assert 0.8 * delay_ms <= view.next_in_ms <= 1.2 * delay_ms
            await later(w, view.next_in_ms - 1)
            assert len(postbox.letters) == tries
            await later(w, 1)
        dead = await seen(w, id)
        assert (dead.state, dead.tries, len(dead.log), dead.next_in_ms) == (WebhookState.DEAD, 8, 8, None)
        assert [line.ago_ms for line in dead.log] == sorted((line.ago_ms for line in dead.log), reverse=True)
        await later(w, 3_600_000)
        assert len(postbox.letters) == len(DELAYS_MS) + 1
        assert {letter.headers["webhook-id"] for letter in postbox.letters} == {f"{id}-g1"}
        assert len({letter.headers["webhook-timestamp"] for letter in postbox.letters}) == 8


async def test_a_webhook_is_signed_with_the_time_of_its_try() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        await ended(w)
        await dispatch(w)
        (letter,) = postbox.letters
        assert letter.headers["webhook-timestamp"] == str(w.clock.ms // 1000)
        assert letter.headers["webhook-signature"].startswith("v1,")


async def test_a_retried_job_tells_its_new_outcome_alone() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        worker = Worker(w)
        id = await w.submit(webhook=URL)
        (job,) = await worker.take()
        postbox.answers.append(answer.of_status(500))
        await fail(worker, job)
        await dispatch(w)
        await w.gateway.clients.retry(ENDPOINT, id)
        await later(w, 60_000)
        assert (await seen(w, id)).state is WebhookState.ARMED
        assert len(postbox.letters) == 1
        (again,) = await worker.take()
        await worker.finish(again)
        await dispatch(w)
        assert [letter.document["status"] for letter in postbox.letters] == ["FAILED", "COMPLETED"]
        assert [letter.headers["webhook-id"] for letter in postbox.letters] == [f"{id}-g1", f"{id}-g2"]


async def test_an_outcome_that_is_retried_while_its_webhook_is_under_way_is_not_settled_by_it() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        worker = Worker(w)
        id = await w.submit(webhook=URL)
        (job,) = await worker.take()
        await fail(worker, job)
        postbox.hold(HOST)
        await dispatch(w)
        await w.gateway.clients.retry(ENDPOINT, id)
        postbox.say(HOST)
        await settle()
        assert (await seen(w, id)).state is WebhookState.ARMED


async def test_an_outcome_that_is_retried_before_its_webhook_is_made_is_not_told_as_the_old_one() -> None:
    store, postbox = MemoryStore(), Postbox()
    async with world(postbox, store) as w:
        worker = Worker(w)
        id = await w.submit(webhook=URL)
        (job,) = await worker.take()
        await fail(worker, job)
        (sending,) = w.gateway.webhooks.dispatchers
        await sending.turn()
        store.apply([base.Retry(endpoint=ENDPOINT, id=id), base.Cancel(endpoint=ENDPOINT, id=id)], w.clock.ms)
        await sending.idle()
        await dispatch(w)
        told = [(letter.headers["webhook-id"], letter.document["status"]) for letter in postbox.letters]
        assert told == [(f"{id}-g2", "CANCELLED")]


async def test_a_deleted_endpoint_still_tells_how_its_jobs_ended() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        await w.submit(webhook=URL)
        await w.gateway.registry.delete(ENDPOINT)
        await dispatch(w)
        assert postbox.letters[0].document["status"] == "CANCELLED"


async def test_a_busy_host_gets_four_at_a_time_and_others_do_not_wait_for_it() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        postbox.hold(HOST)
        ids = [await ended(w) for _ in range(HOST_SLOTS + 3)]
        other = await ended(w, "https://other.example.com/")
        await dispatch(w)
        assert [letter.host for letter in postbox.letters].count(HOST) == HOST_SLOTS
        assert (await seen(w, other)).state is WebhookState.DELIVERED
        waiting = await seen(w, ids[-1])
        assert (waiting.state, waiting.tries) == (WebhookState.PENDING, 0)
        postbox.say(HOST)
        await settle()
        await later(w, 1_000)
        assert {letter.document["id"] for letter in postbox.letters} == {*ids, other}
        assert len(postbox.letters) == len(ids) + 1


async def test_an_endpoint_with_many_slow_hosts_holds_up_nobody_else() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        hosts = [f"h{number}.example.com" for number in range(ENDPOINT_SLOTS + 1)]
        for host in hosts:
            postbox.hold(host)
            await ended(w, f"https://{host}/")
        await w.register("ns.other")
        other = await w.gateway.clients.submit("ns.other", NewJob(input=b"1", webhook=URL))
        await w.gateway.clients.cancel("ns.other", other.id)
        await dispatch(w)
        assert len(postbox.letters) == ENDPOINT_SLOTS + 1
        assert postbox.letters[-1].host == HOST
        for host in hosts[:-1]:
            postbox.say(host)


@pytest.mark.parametrize("bad", ["https://hooks.example.com/slow", "https://hooks.example.com:8443/"])
async def test_an_endpoint_cannot_hold_up_what_others_send_to_the_same_host(bad: str) -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        await w.register("ns.other")
        postbox.answers.extend([answer.NO_ANSWER] * FAILURES_MAX)
        for _ in range(FAILURES_MAX):
            await ended(w, bad)
            await dispatch(w)
        postbox.hold(HOST)
        other = await w.gateway.clients.submit("ns.other", NewJob(input=b"1", webhook=URL))
        await w.gateway.clients.cancel("ns.other", other.id)
        await dispatch(w)
        assert [letter.url for letter in postbox.letters] == [bad] * FAILURES_MAX + [URL]
        postbox.say(HOST)


async def test_a_port_that_fails_does_not_speak_for_the_others_of_its_host() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        postbox.answers.extend([answer.NO_CONNECTION] * FAILURES_MAX)
        for _ in range(FAILURES_MAX):
            await ended(w, "https://hooks.example.com:8443/")
            await dispatch(w)
        await ended(w)
        await dispatch(w)
        assert postbox.letters[-1].url == URL


async def test_an_endpoint_is_not_to_blame_for_hosts_that_fail() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        postbox.answers.extend([answer.NO_CONNECTION] * 2 * FAILURES_MAX)
        for number in range(2 * FAILURES_MAX):
            await ended(w, f"https://h{number}.example.com/")
        await dispatch(w)
        await ended(w)
        await dispatch(w)
        assert postbox.letters[-1].host == HOST


async def test_a_host_that_is_away_uses_up_no_tries_and_is_asked_by_one_at_a_time() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        postbox.answers.extend([answer.NO_ANSWER] * FAILURES_MAX)
        for _ in range(FAILURES_MAX):
            await ended(w)
            await dispatch(w)
        waiting = [await ended(w) for _ in range(3)]
        for _ in range(10):
            await later(w, 1_000)
        assert len(postbox.letters) == FAILURES_MAX
        assert [(await seen(w, id)).tries for id in waiting] == [0, 0, 0]
        postbox.hold(HOST)
        await later(w, AWAY_MS)
        assert len(postbox.letters) == FAILURES_MAX + 1
        postbox.say(HOST)
        await settle()
        for _ in range(60):
            await later(w, 1_000)
        assert {(await seen(w, id)).state for id in waiting} == {WebhookState.DELIVERED}


async def test_a_host_that_answers_with_a_refusal_is_not_away() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        postbox.answers.extend([answer.of_status(410)] * FAILURES_MAX)
        for _ in range(FAILURES_MAX + 1):
            await ended(w)
            await dispatch(w)
        assert len(postbox.letters) == FAILURES_MAX + 1


async def test_a_gateway_that_dies_with_a_webhook_in_its_hands_loses_it_to_the_next() -> None:
    store, postbox = MemoryStore(), Postbox()
    first = World(store, postbox.outgoing())
    await first.register()
    postbox.hold(HOST)
    id = await ended(first)
    await dispatch(first)
    second = World(store, postbox.outgoing(), first.clock)
    await second.register()
    await dispatch(second)
    assert len(postbox.letters) == 1
    second.clock.ms += LEASE_MS
    postbox.held.clear()
    await dispatch(second)
    assert len(postbox.letters) == 2
    assert await seen(second, id) == WebhookView(id, WebhookState.DELIVERED, 2, (LogLine(0, "HTTP 200"),), None)
    await first.gateway.close()


async def test_gateways_of_one_store_share_the_work() -> None:
    store, postbox = MemoryStore(), Postbox()
    first = World(store, postbox.outgoing())
    second = World(store, postbox.outgoing(), first.clock)
    for each in (first, second):
        await each.register()
    ids = [await ended(first, f"https://h{number}.example.com/") for number in range(12)]
    await asyncio.gather(dispatch(first), dispatch(second))
    assert sorted(letter.document["id"] for letter in postbox.letters) == sorted(ids)


async def test_a_gateway_that_goes_down_gives_back_what_it_could_not_send(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "STOP_SECONDS", 0)
    store, postbox = MemoryStore(), Postbox()
    first = World(store, postbox.outgoing())
    await first.gateway.start()
    await first.register()
    postbox.hold(HOST)
    id = await ended(first)
    await postbox.arrived.wait()
    await first.gateway.close()
    second = World(store, postbox.outgoing(), first.clock)
    await second.register()
    postbox.held.clear()
    await dispatch(second)
    assert await seen(second, id) == WebhookView(id, WebhookState.DELIVERED, 1, (LogLine(0, "HTTP 200"),), None)
    assert len(postbox.letters) == 2


async def test_what_is_under_way_may_end_before_the_gateway_does() -> None:
    postbox = Postbox()
    w = World(None, postbox.outgoing())
    await w.gateway.start()
    await w.register()
    postbox.hold(HOST)
    id = await ended(w)
    await postbox.arrived.wait()
    closing = asyncio.create_task(w.gateway.close())
    await settle()
    assert not closing.done()
    postbox.say(HOST)
    await closing
    assert (await seen(w, id)).state is WebhookState.DELIVERED


async def test_a_gateway_that_goes_down_begins_nothing_more() -> None:
    postbox = Postbox()
    w = World(None, postbox.outgoing())
    await w.gateway.start()
    await w.register()
    await settle()
    w.gateway.drain()
    await ended(w)
    await settle()
    assert postbox.letters == []
    await w.gateway.close()


async def test_a_commit_wakes_the_dispatcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "POLL_MS", 3_600_000)
    postbox = Postbox()
    w = World(None, postbox.outgoing())
    await w.gateway.start()
    await w.register()
    await settle()
    await ended(w)
    await postbox.arrived.wait()
    await w.gateway.close()


async def test_a_store_that_leases_no_webhooks_stops_neither_jobs_nor_the_dispatcher() -> None:
    store, postbox = FailingStore(), Postbox()
    store.refused = {base.LeaseWebhooks}
    w = World(store, postbox.outgoing())
    await w.gateway.start()
    await w.register()
    id = await ended(w)
    await settle()
    assert postbox.letters == []
    assert (await w.status(id)).job.state.terminal
    store.refused = set()
    await ended(w)
    await postbox.arrived.wait()
    await w.gateway.close()


async def test_a_webhook_that_could_not_be_settled_is_sent_again() -> None:
    store, postbox = FailingStore(), Postbox()
    async with world(postbox, store) as w:
        id = await ended(w)
        store.refused = {base.SettleWebhook}
        await dispatch(w)
        store.refused = set()
        await later(w, LEASE_MS - 1)
        assert len(postbox.letters) == 1
        await later(w, 1)
        assert (await seen(w, id)).state is WebhookState.DELIVERED
        assert len(postbox.letters) == 2


async def test_a_defect_in_sending_is_a_failed_try_and_tells_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    postbox = Postbox()
    async with world(postbox) as w:
        postbox.answers.append(ValueError(f"cannot send to {URL}"))
        id = await ended(w)
        await dispatch(w)
        view = await seen(w, id)
        assert (view.state, view.log[-1].answer) == (WebhookState.PENDING, answer.DEFECT.text)
        await later(w, 12_000)
        assert (await seen(w, id)).state is WebhookState.DELIVERED
    assert "ValueError in" in caplog.text
    assert HOST in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_target_that_is_closed_meanwhile_is_not_asked() -> None:
    postbox = Postbox()
    store = MemoryStore()
    first = World(store, postbox.outgoing(rules=Rules(names=frozenset({"receiver"}))))
    await first.register()
    id = await ended(first, "http://receiver:9000/")
    second = World(store, postbox.outgoing(), first.clock)
    await second.register()
    await dispatch(second)
    assert postbox.letters == []
    view = await seen(second, id)
    assert (view.state, view.tries, view.log[-1].answer) == (
        WebhookState.PENDING,
        1,
        "refused: plain http is not allowed here; use https",
    )


async def test_a_hostile_webhook_is_refused_when_the_job_is_sent() -> None:
    async with world(Postbox()) as w:
        with pytest.raises(InvalidRequest, match='"webhook" cannot be used: its host is an address that is not public'):
            await w.submit(webhook="https://10.0.0.1/?token=hunter2")
        assert (await w.snapshot()).queued == 0


async def test_a_webhook_can_be_sent_once_more() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        id = await ended(w)
        await dispatch(w)
        (told,) = (await seen(w, id)).log
        again = await w.gateway.webhooks.replay(ENDPOINT, id)
        assert again == WebhookView(id, WebhookState.PENDING, 0, (told,), 0)
        await dispatch(w)
        first, second = postbox.letters
        assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
        open_ = await w.submit(webhook=URL)
        with pytest.raises(Conflict, match="no outcome yet"):
            await w.gateway.webhooks.replay(ENDPOINT, open_)
        plain = await w.submit()
        for unknown in ("none", plain):
            with pytest.raises(NotFound):
                await w.gateway.webhooks.replay(ENDPOINT, unknown)
        with pytest.raises(NotFound, match=r"endpoint 'ns\.other' does not exist"):
            await w.gateway.webhooks.replay("ns.other", id)


async def test_what_was_given_up_can_be_seen_and_sent_again_for_a_while() -> None:
    postbox = Postbox()
    async with world(postbox) as w:
        postbox.answers.extend([answer.NO_TRUST] * 8)
        id = await ended(w)
        for _ in range(100):
            await w.sweep()
            await later(w, 60_000)
        assert (await seen(w, id)).state is WebhookState.DEAD
        await w.gateway.webhooks.replay(ENDPOINT, id)
        await dispatch(w)
        assert (await seen(w, id)).state is WebhookState.DELIVERED
        await w.sweep()
        with pytest.raises(NotFound):
            await seen(w, id)


async def test_a_gateway_sends_a_bounded_number_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "SENDING_MAX", 2)
    postbox = Postbox()
    async with world(postbox) as w:
        hosts = [f"h{number}.example.com" for number in range(3)]
        for host in hosts:
            postbox.hold(host)
            await ended(w, f"https://{host}/")
        await dispatch(w)
        assert len(postbox.letters) == 2
        await later(w, dispatcher.CROWDED_MS)
        assert len(postbox.letters) == 2
        for host in hosts:
            postbox.say(host)
        await settle()
        await later(w, dispatcher.CROWDED_MS)
        assert len(postbox.letters) == 3


async def test_bodies_take_a_bounded_amount_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(traffic, "BYTES_MAX", 1_000)
    postbox = Postbox()
    async with world(postbox) as w:
        worker = Worker(w)
        for host in ("a.example.com", "b.example.com"):
            postbox.hold(host)
            await w.submit(webhook=f"https://{host}/")
            (job,) = await worker.take()
            await worker.finish(job, b'"' + b"x" * 900 + b'"')
        await dispatch(w)
        assert len(postbox.letters) == 1
        postbox.say(postbox.letters[0].host)
        await settle()
        await later(w, dispatcher.CROWDED_MS)
        assert len(postbox.letters) == 2
        postbox.say(postbox.letters[1].host)


async def test_a_gateway_without_a_way_out_keeps_webhooks_for_one_that_has() -> None:
    store, postbox = MemoryStore(), Postbox()
    first = World(store)
    await first.register()
    id = await ended(first)
    second = World(store, postbox.outgoing(), first.clock)
    await second.register()
    await dispatch(second)
    assert postbox.letters[0].document["id"] == id


async def test_the_answer_about_a_webhook_has_only_what_there_is() -> None:
    view = WebhookView("a", WebhookState.ARMED, 0, (), None)
    assert webhook_answer(view) == b'{"id":"a","state":"ARMED","tries":0}'
    log = (LogLine(12_602, "no connection to its host"), LogLine(2_579, "HTTP 503"))
    planned = WebhookView("a", WebhookState.PENDING, 2, log, 7_421)
    assert webhook_answer(planned) == (
        b'{"id":"a","state":"PENDING","tries":2,"lastAnswer":"HTTP 503",'
        b'"log":[{"agoMs":12602,"answer":"no connection to its host"},{"agoMs":2579,"answer":"HTTP 503"}],'
        b'"nextTryInMs":7421}'
    )
