"""Promises to clients and workers of the hosted platforms that no other test is about, in the words of the wire."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest

from submodel.contract import limits
from submodel.contract.internal import GoneWorker
from submodel.contract.states import JobState
from submodel_gateway.http.public import public_app
from submodel_gateway.service.access import Open
from submodel_gateway.service.legacy import POLL_WAIT_MS
from tests.support.gateway_world import ENDPOINT, World, world
from tests.support.legacy_worker import Call, LegacyWorker

SECONDS_UNTIL_AN_SDK_GIVES_UP = 30


class Client:
    """Says what clients say, and keeps the answers' documents."""

    def __init__(self, w: World) -> None:
        self._app = public_app(w.gateway, Open())

    async def ask(self, method: str, operation: str, document: Any = None, **query: str) -> tuple[int, Any]:
        path = f"/v2/{ENDPOINT}/{operation}" + (f"?{urlencode(query)}" if query else "")
        body = b"" if document is None else json.dumps(document).encode()
        answer = await Call(self._app, method, path, {}, body).answer()
        return answer.status, answer.json

    async def ok(self, method: str, operation: str, document: Any = None, **query: str) -> Any:
        status, answer = await self.ask(method, operation, document, **query)
        assert status == 200, answer
        return answer


@pytest.mark.requirement("worker.take.held")
def test_a_poll_is_held_for_less_than_the_most_impatient_sdk_waits() -> None:
    assert 15_000 <= POLL_WAIT_MS <= (SECONDS_UNTIL_AN_SDK_GIVES_UP - 5) * 1000


@pytest.mark.requirement("worker.result.path")
async def test_the_job_is_the_one_in_the_path_whatever_the_request_id_says() -> None:
    async with world() as w:
        first, second = await w.submit(), await w.submit()
        worker = LegacyWorker(w)
        await worker.ask(batch=2).answer()
        worker.headers["x-request-id"] = second
        await worker.chunk(first, "item")
        await worker.done(first, {"output": 1})
        assert [(await w.status(id)).job.state for id in (first, second)] == [JobState.COMPLETED, JobState.IN_PROGRESS]


@pytest.mark.requirement("worker.lost.again")
async def test_a_job_is_given_up_when_it_has_lost_three_workers_and_says_so() -> None:
    async with world() as w:
        id = await w.submit()
        for attempt, name in enumerate(("w-1", "w-2", "w-3"), 1):
            job = await LegacyWorker(w, name).take()
            assert job["id"] == (id if attempt == 1 else f"{id}-a{attempt}")
            await w.gateway.registry.gone(ENDPOINT, [GoneWorker(worker=name, reason="exit 3")])
            await w.pass_time(120_000)
        status = await Client(w).ok("GET", f"status/{id}")
        assert (status["status"], status["retries"]) == ("FAILED", 2)
        assert "exit 3" in status["error"]


@pytest.mark.requirement("client.status.types")
@pytest.mark.parametrize("error", ["text", {"code": 7}, ["a"], True])
async def test_errors_are_texts_and_times_are_whole_numbers(error: Any) -> None:
    async with world() as w:
        id = await w.submit()
        await LegacyWorker(w).take()
        w.clock.ms += 3
        await LegacyWorker(w).done(id, {"error": error})
        status = await Client(w).ok("GET", f"status/{id}")
        assert type(status["error"]) is str
        assert {name: type(status[name]) for name in ("delayTime", "executionTime", "retries")} == {
            "delayTime": int,
            "executionTime": int,
            "retries": int,
        }


@pytest.mark.requirement("client.stream.cancelled")
async def test_the_stream_of_a_cancelled_job_ends_for_a_reader_that_does_not_know_the_state() -> None:
    async with world() as w:
        id, client = await w.submit(), Client(w)
        await LegacyWorker(w).take()
        await LegacyWorker(w).chunk(id, "item")
        await client.ok("POST", f"cancel/{id}", {})
        answers = [await client.ok("GET", f"stream/{id}") for _ in range(2)]
        assert [(answer["status"], len(answer["stream"])) for answer in answers] == [("CANCELLED", 1), ("CANCELLED", 0)]
        status, answer = await client.ask("GET", f"stream/{id}")
        assert status == 404
        assert "read to its end" in answer["error"]
        assert len((await client.ok("GET", f"stream/{id}", offset="0"))["stream"]) == 1


@pytest.mark.requirement("client.status200")
@pytest.mark.parametrize(
    ("method", "operation"),
    [
        ("POST", "run"),
        ("GET", "status/{id}"),
        ("POST", "status/{id}"),
        ("GET", "status-sync/{id}"),
        ("POST", "status-sync/{id}"),
        ("GET", "stream/{id}"),
        ("POST", "stream/{id}"),
        ("GET", "cancel/{id}"),
        ("POST", "cancel/{id}"),
        ("GET", "health"),
        ("POST", "purge-queue"),
        ("GET", "requests"),
    ],
)
async def test_success_is_200_and_json_with_an_empty_body_or_an_empty_object(method: str, operation: str) -> None:
    async with world() as w:
        id, client = await w.submit(), Client(w)
        bodies: list[Any] = [{"input": 1}] if operation == "run" else [None, {}]
        for body in bodies:
            query = {"wait": "0"} if operation.startswith(("stream", "status-sync")) else {}
            assert isinstance(await client.ok(method, operation.format(id=id), body, **query), dict)


@pytest.mark.requirement("platform.states")
async def test_no_other_states_are_known_than_those_of_the_platforms() -> None:
    assert set(JobState) == {"IN_QUEUE", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"}


@pytest.mark.requirement("platform.timeout")
async def test_a_job_beyond_its_limits_is_timed_out_whether_it_runs_or_waits() -> None:
    async with world() as w:
        running = await w.submit(execution_timeout_ms=5_000)
        await LegacyWorker(w).take()
        waiting = await w.submit(ttl_ms=10_000)
        await w.pass_time(11_000)
        client = Client(w)
        for id in (running, waiting):
            assert (await client.ok("GET", f"status/{id}"))["status"] == "TIMED_OUT"


@pytest.mark.requirement("platform.retention")
@pytest.mark.parametrize(("operation", "retention_ms"), [("run", 30 * 60_000), ("runsync", 60_000)])
async def test_a_result_can_be_read_as_long_as_documented(operation: str, retention_ms: int) -> None:
    async with world() as w:
        client = Client(w)
        id = (await client.ok("POST", operation, {"input": 1}, **({"wait": "0"} if operation == "runsync" else {})))[
            "id"
        ]
        await client.ok("POST", f"cancel/{id}")
        w.clock.ms += retention_ms - 1
        await w.sweep()
        assert (await client.ok("GET", f"status/{id}"))["status"] == "CANCELLED"
        w.clock.ms += 1
        await w.sweep()
        assert (await client.ask("GET", f"status/{id}"))[0] == 404


@pytest.mark.requirement("platform.s3")
async def test_credentials_for_a_bucket_reach_the_worker_and_no_client() -> None:
    async with world() as w:
        client, secret = Client(w), "access-secret-of-a-bucket"
        id = (await client.ok("POST", "run", {"input": 1, "s3Config": {"accessSecret": secret}}))["id"]
        assert (await LegacyWorker(w).take())["s3Config"] == {"accessSecret": secret}
        await LegacyWorker(w).done(id, {"output": 1})
        for operation in (f"status/{id}", f"stream/{id}", "requests", "health"):
            assert secret not in json.dumps(await client.ok("GET", operation))


@pytest.mark.requirement("platform.sizes")
def test_sizes_are_the_documented_ones() -> None:
    sizes = {"run": limits.RUN_BODY_BYTES, "runsync": limits.RUNSYNC_BODY_BYTES, "chunk": limits.CHUNK_BYTES}
    assert sizes == {"run": 10 * 1024 * 1024, "runsync": 20 * 1024 * 1024, "chunk": 1024 * 1024}
