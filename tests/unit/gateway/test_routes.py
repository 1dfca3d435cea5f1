"""What routes of the public port make of parameters, bodies and callers, beyond the use cases behind them."""

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from submodel_gateway.http.answers import health_answer
from submodel_gateway.http.envelope import LARGE_BYTES
from submodel_gateway.http.public import public_app
from submodel_gateway.service.access import Open
from submodel_gateway.service.clients import Health
from submodel_gateway.store.base import Submit
from tests.support.gateway_world import ENDPOINT, TOKEN, FailingStore, Worker, World, settle, world
from tests.support.legacy_worker import Call


def call(w: World, method: str, path: str, body: Any = None, **headers: str) -> Call:
    sent = {"authorization": f"Bearer {TOKEN}", **headers}
    text = b"" if body is None else json.dumps(body).encode()
    return Call(public_app(w.gateway, Open()), method, f"/v2/{ENDPOINT}/{path}", sent, text)


class Counting(ThreadPoolExecutor):
    """The threads of a loop; how often one was asked for."""

    asked = 0

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **named: Any) -> "Future[Any]":
        self.asked += 1
        return super().submit(function, *arguments, **named)


def large(size: int) -> dict[str, tuple[str, Any]]:
    """A body that is a little larger than `size`, for every route that reads one."""
    text = "x" * size
    return {
        "run": ("run", {"input": text}),
        "runsync": ("runsync?wait=0", {"input": text}),
        "run-batch": ("run-batch", {"requests": [{"input": text}]}),
        "openai": ("openai/v1/chat/completions", {"messages": text}),
        "exchange": ("workers/w/exchange", {"session": "s", "request": 1, "phase": "ready", "note": text}),
        "job-done": ("job-done/w/x", {"output": text}),
        "job-stream": ("job-stream/w/x", {"output": text}),
    }


@pytest.mark.parametrize("route", large(0))
async def test_a_large_body_is_read_in_a_thread_and_a_small_one_is_not(route: str) -> None:
    threads = Counting(1)
    asyncio.get_running_loop().set_default_executor(threads)
    async with world() as w:
        for size, wanted in ((10, False), (LARGE_BYTES, True)):
            before = threads.asked
            path, body = large(size)[route]
            asked = call(w, "POST", path, body)
            while wanted and threads.asked == before and not asked.done:
                await settle(1)
            await settle()
            asked.hang_up()
            await asked.answer()
            assert (threads.asked > before) == wanted


@pytest.mark.requirement("client.runsync", "client.status.sync", "client.stream.held")
@pytest.mark.parametrize(("method", "path"), [("POST", "runsync"), ("GET", "status-sync/{id}"), ("GET", "stream/{id}")])
async def test_without_a_wait_a_request_is_held_all_the_same(method: str, path: str) -> None:
    async with world() as w:
        id = await w.submit()
        asked = call(w, method, path.format(id=id), {"input": 1})
        await settle()
        assert not asked.done
        worker = Worker(w)
        for job in await worker.take(capacity=2):
            await worker.finish(job)
        assert (await asked.answer()).json["status"] == "COMPLETED"


@pytest.mark.parametrize(("method", "path"), [("POST", "runsync"), ("GET", "status-sync/{id}"), ("GET", "stream/{id}")])
async def test_what_comes_to_a_gateway_that_leaves_is_answered_and_not_held(method: str, path: str) -> None:
    async with world() as w:
        id = await w.submit()
        w.gateway.drain()
        answer = await call(w, method, f"{path.format(id=id)}?wait=20000", {"input": 1}).answer()
        assert (answer.status, answer.json["status"]) == (200, "IN_QUEUE")


@pytest.mark.requirement("client.requests")
async def test_jobs_are_listed_by_their_states_and_page_by_page() -> None:
    async with world() as w:
        ids = [await w.submit() for _ in range(5)]
        for id in ids[:3]:
            await w.gateway.clients.cancel(ENDPOINT, id)

        async def listed(query: str) -> tuple[list[str], int | None]:
            page = (await call(w, "GET", f"requests?{query}").answer()).json
            return [job["id"] for job in page["requests"]], page["next"]

        assert await listed("") == (ids[::-1], None)
        assert await listed("status=IN_QUEUE") == (ids[:2:-1], None)
        assert await listed("status=cancelled,IN_QUEUE") == (ids[::-1], None)
        first, following = await listed("status=CANCELLED&limit=2")
        assert first == [ids[2], ids[1]]
        assert await listed(f"status=CANCELLED&limit=2&before={following}") == ([ids[0]], None)
        assert (await call(w, "GET", "requests?status=RUNNING").answer()).status == 400


@pytest.mark.requirement("client.status.ttl")
async def test_a_reader_says_in_the_query_how_long_a_final_job_is_kept() -> None:
    async with world() as w:
        id = await w.submit()
        await w.gateway.clients.cancel(ENDPOINT, id)
        for ttl, status in (("5000", 200), ("-1", 400), ("soon", 400)):
            assert (await call(w, "POST", f"status/{id}?ttl={ttl}").answer()).status == status
        await w.pass_time(4_000)
        assert (await call(w, "GET", f"status/{id}").answer()).status == 200
        await w.pass_time(2_000)
        assert (await call(w, "GET", f"status/{id}").answer()).status == 404


@pytest.mark.requirement("client.errors")
async def test_what_the_store_cannot_do_now_says_when_to_come_back() -> None:
    store = FailingStore()
    async with world(store) as w:
        store.refused.add(Submit)
        answer = await call(w, "POST", "run", {"input": 1}).answer()
        assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")


async def test_a_request_of_openais_api_that_is_repeated_with_its_key_is_one_job() -> None:
    async with world() as w:
        body: dict[str, Any] = {"messages": []}
        asked = [call(w, "POST", "openai/v1/chat/completions", body, **{"idempotency-key": "k"}) for _ in range(2)]
        await settle()
        assert (await w.snapshot()).queued == 1
        for each in asked:
            each.hang_up()
            await each.answer()


async def test_events_are_sent_to_a_caller_that_takes_other_things_as_well() -> None:
    async with world() as w:
        id = await w.submit()
        await w.gateway.clients.cancel(ENDPOINT, id)
        for accepted in ("text/event-stream", "application/json, Text/Event-Stream;q=0.9"):
            answer = await call(w, "GET", f"stream/{id}", accept=accepted).answer()
            assert b"event: status\n" in answer.body


async def test_a_body_that_says_that_it_is_not_compressed_is_taken() -> None:
    async with world() as w:
        sent = {"content-encoding": "identity"}
        assert (await call(w, "POST", "run", {"input": 1}, **sent).answer()).status == 200


@pytest.mark.requirement("client.health")
def test_health_says_why_jobs_are_held_back() -> None:
    jobs = dict.fromkeys(("completed", "failed", "inProgress", "inQueue", "retried"), 0)
    workers = dict.fromkeys(("idle", "initializing", "ready", "running", "throttled", "unhealthy"), 0)
    assert json.loads(health_answer(Health(jobs, workers, "too hot")))["warning"] == "too hot"
    assert json.loads(health_answer(Health(jobs, workers))) == {"jobs": jobs, "workers": workers}
