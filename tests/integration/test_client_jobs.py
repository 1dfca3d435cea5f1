"""Both clients against a real gateway and a real worker."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import submodel
from submodel import errors
from tests.support.client_world import (
    CLIENTS,
    ENDPOINT,
    ClientFace,
    base_url,
    new_endpoint,
    numbers,
    serving,
    start_worker,
    worker_is_gone,
)
from tests.support.gateway_process import GatewayProcess


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with serving(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture(autouse=True)
def at_the_gateway(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submodel, "endpoint_url_base", base_url(gateway.port), raising=False)


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> Iterator[ClientFace]:
    """Of an endpoint with a worker."""
    client = CLIENTS[request.param](ENDPOINT)
    yield client
    client.close()


@pytest.fixture(params=CLIENTS)
def waiting(request: pytest.FixtureRequest, gateway: GatewayProcess) -> Iterator[ClientFace]:
    """Of an endpoint of its own, without workers."""
    client = CLIENTS[request.param](new_endpoint(gateway))
    yield client
    client.close()


def test_run_sync_returns_the_output(client: ClientFace) -> None:
    assert client.run_sync({"input": {"items": 3}}) == numbers(0, 1, 2)
    assert client.run_sync({"items": 1}) == numbers(0)


def test_a_submitted_job_is_waited_for_and_found_again_by_its_id(client: ClientFace) -> None:
    job = client.run({"items": 2})
    assert job.output(timeout=20) == numbers(0, 1)
    assert (job.status(), job.output()) == ("COMPLETED", numbers(0, 1))
    assert client.job(job.id).output() == numbers(0, 1)


def test_a_stream_brings_items_while_the_job_runs_and_ends_with_it(client: ClientFace, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = client.run({"items": 2, "more": 1, "gate": str(gate)})
    items = job.stream()
    assert [next(items), next(items)] == numbers(0, 1)
    assert job.status() == "IN_PROGRESS"
    gate.touch()
    assert list(items) == numbers(2)
    assert job.status() == "COMPLETED"


def test_a_job_that_streams_nothing_has_an_empty_stream(client: ClientFace) -> None:
    assert list(client.run({}).stream()) == []


def test_a_failed_job_raises_wherever_its_result_is_asked_for(client: ClientFace) -> None:
    with pytest.raises(errors.JobFailed, match="the handler's own words"):
        client.run_sync({"fail": True})
    job = client.run({"fail": True})
    with pytest.raises(errors.JobFailed, match="the handler's own words"):
        job.output(timeout=20)
    with pytest.raises(errors.JobFailed, match="the handler's own words"):
        list(job.stream())
    assert job.status() == "FAILED"


def test_a_cancelled_job_ends_its_stream_and_its_waiters(waiting: ClientFace) -> None:
    job = waiting.run({"items": 1})
    assert job.cancel()["status"] == "CANCELLED"
    with pytest.raises(errors.JobCancelled):
        list(job.stream())
    with pytest.raises(errors.JobCancelled):
        job.output(timeout=20)
    assert job.status() == "CANCELLED"


def test_a_job_that_is_cancelled_while_it_runs_ends_the_stream_that_is_read(client: ClientFace) -> None:
    job = client.run({"items": 1, "gate": "never"})
    items = job.stream()
    assert next(items) == {"number": 0}
    client.job(job.id).cancel()
    with pytest.raises(errors.JobCancelled):
        list(items)


def test_waiting_ends_with_a_timeout_error_and_the_job_goes_on(waiting: ClientFace) -> None:
    job = waiting.run({"items": 1})
    with pytest.raises(TimeoutError, match=r"IN_QUEUE after 0\.05 seconds; it goes on") as caught:
        job.output(timeout=0.05)
    assert isinstance(caught.value, errors.JobNotFinished)
    assert caught.value.job_id == job.id
    assert (job.output(), job.status()) == (None, "IN_QUEUE")
    with pytest.raises(errors.JobNotFinished) as caught:
        waiting.run_sync({"items": 1}, timeout=0.05)
    assert waiting.job(caught.value.job_id).status() == "IN_QUEUE"


def test_health_counts_and_a_purge_removes_what_is_queued(waiting: ClientFace) -> None:
    waiting.run({})
    waiting.run({})
    assert waiting.health()["jobs"]["inQueue"] == 2
    assert waiting.purge_queue() == {"removed": 2, "status": "completed"}
    assert waiting.health()["jobs"]["inQueue"] == 0


def test_refusals_are_typed(waiting: ClientFace) -> None:
    with pytest.raises(errors.NotFound, match="unknown-id"):
        waiting.job("unknown-id").status()
    with pytest.raises(errors.InvalidRequest, match=r"policy\.ttl"):
        waiting.run({"input": {}, "policy": {"ttl": 1}})
    with pytest.raises(TypeError, match="the input cannot be sent as JSON"):
        waiting.run({"input": b"bytes"})


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_job_whose_worker_dies_streams_from_its_beginning_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GatewayProcess(tmp_path) as gateway:
        gateway.register(ENDPOINT)
        monkeypatch.setattr(submodel, "endpoint_url_base", base_url(gateway.port))
        client = CLIENTS[kind](ENDPOINT)
        with start_worker(tmp_path, gateway, "w-1"):
            job = client.run({"items": 2, "more": 1, "gate": "gate"})
            items = job.stream()
            assert [next(items), next(items)] == numbers(0, 1)
            assert job.attempt == 1
        worker_is_gone(gateway, "w-1")
        (tmp_path / "gate").touch()
        with start_worker(tmp_path, gateway, "w-2"):
            assert list(items) == numbers(0, 1, 2)
        assert job.attempt == 2
        client.close()


def test_threads_share_an_endpoint() -> None:
    outputs: list[object] = []

    def work(endpoint: submodel.Endpoint, items: int) -> None:
        outputs.extend(endpoint.run_sync({"items": items}) == numbers(*range(items)) for _ in range(3))

    with submodel.Endpoint(ENDPOINT) as endpoint:
        threads = [threading.Thread(target=work, args=(endpoint, items)) for items in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert outputs == [True] * 24


def test_a_closed_endpoint_says_so() -> None:
    with submodel.Endpoint(ENDPOINT) as endpoint:
        endpoint.health()
    with pytest.raises(errors.ConfigurationError, match="closed"):
        endpoint.health()
