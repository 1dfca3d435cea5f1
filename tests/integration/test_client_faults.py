"""Both clients when connections break, answers are lost and the gateway is away."""

import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

import submodel
from submodel import errors
from tests.support.client_world import (
    CLIENTS,
    ENDPOINT,
    ClientFace,
    Kind,
    base_url,
    new_endpoint,
    numbers,
    serving,
    start_worker,
)
from tests.support.free_ports import free_port
from tests.support.gateway_process import GatewayProcess
from tests.support.tcp_proxy import Cut, TcpProxy

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with serving(tmp_path_factory.mktemp("gateway")) as gateway:
        yield gateway


@pytest.fixture
def proxy(gateway: GatewayProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[TcpProxy]:
    with TcpProxy(gateway.port) as proxy:
        monkeypatch.setattr(submodel, "endpoint_url_base", base_url(proxy.port), raising=False)
        yield proxy


@pytest.fixture(params=CLIENTS)
def kind(request: pytest.FixtureRequest) -> Kind:
    return CLIENTS[request.param]


@pytest.fixture
def served(kind: Kind, proxy: TcpProxy) -> Iterator[ClientFace]:
    """A client of the endpoint with a worker."""
    client = kind(ENDPOINT)
    yield client
    client.close()


@pytest.fixture
def endpoint(gateway: GatewayProcess) -> str:
    """The id of an endpoint of its own, without workers."""
    return new_endpoint(gateway)


@pytest.fixture
def waiting(kind: Kind, proxy: TcpProxy, endpoint: str) -> Iterator[ClientFace]:
    client = kind(endpoint)
    yield client
    client.close()


def jobs_made(gateway: GatewayProcess, endpoint: str) -> list[str]:
    return [job["id"] for job in gateway.call("GET", f"{endpoint}/requests?limit=100")["requests"]]


@pytest.mark.parametrize("cut", Cut)
def test_a_submit_whose_connection_breaks_makes_one_job(
    waiting: ClientFace, proxy: TcpProxy, gateway: GatewayProcess, endpoint: str, cut: Cut
) -> None:
    proxy.cuts = [cut, cut]
    job = waiting.run({"items": 1})
    assert proxy.requests == 3
    assert jobs_made(gateway, endpoint) == [job.id]


@pytest.mark.parametrize("cut", Cut)
def test_a_run_sync_whose_connection_breaks_makes_one_job_and_returns_its_output(
    served: ClientFace, proxy: TcpProxy, gateway: GatewayProcess, cut: Cut
) -> None:
    before = len(jobs_made(gateway, ENDPOINT))
    proxy.cuts = [cut]
    assert served.run_sync({"items": 2}) == numbers(0, 1)
    assert len(jobs_made(gateway, ENDPOINT)) == before + 1


@pytest.mark.parametrize("cut", Cut)
def test_a_stream_whose_answers_are_lost_has_every_item_once(
    served: ClientFace, proxy: TcpProxy, tmp_path: Path, cut: Cut
) -> None:
    gate = tmp_path / "gate"
    job = served.run({"items": 2, "more": 1, "gate": str(gate)})
    items = job.stream()
    proxy.cuts = [cut]
    assert [next(items), next(items)] == numbers(0, 1)
    gate.touch()
    proxy.cuts = [cut, None, cut]
    assert list(items) == numbers(2)


def test_a_purge_whose_answer_is_lost_is_not_repeated(
    waiting: ClientFace, proxy: TcpProxy, gateway: GatewayProcess, endpoint: str
) -> None:
    waiting.run({})
    proxy.cuts = [Cut.BEFORE_ANSWER]
    with pytest.raises(errors.GatewayUnavailable):
        waiting.purge_queue(timeout=20)
    assert proxy.requests == 2
    assert gateway.call("GET", f"{endpoint}/health")["jobs"]["inQueue"] == 0


def test_an_idle_connection_that_was_closed_is_noticed_before_it_is_used(proxy: TcpProxy, endpoint: str) -> None:
    with submodel.Endpoint(endpoint) as client:
        client.health()
        proxy.break_connections()
        client.purge_queue()
    assert (proxy.requests, proxy.connections) == (2, 2)


def test_calls_in_a_row_share_a_connection(waiting: ClientFace, proxy: TcpProxy) -> None:
    for _ in range(5):
        waiting.health()
    assert (proxy.requests, proxy.connections) == (5, 1)


def test_a_forked_child_has_connections_of_its_own(proxy: TcpProxy, endpoint: str) -> None:
    script = f"""
        import os, submodel
        submodel.endpoint_url_base = "{base_url(proxy.port)}"
        endpoint = submodel.Endpoint("{endpoint}")
        endpoint.health()
        child = os.fork()
        for _ in range(20):
            assert endpoint.health()["jobs"]["inQueue"] == 0
        if child:
            assert os.waitpid(child, 0)[1] == 0
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=True, timeout=30)
    assert (proxy.requests, proxy.connections) == (41, 2)


def test_a_restarted_gateway_interrupts_neither_a_stream_nor_a_wait(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GatewayProcess(tmp_path) as gateway, start_worker(tmp_path, gateway):
        gateway.register(ENDPOINT)
        monkeypatch.setattr(submodel, "endpoint_url_base", base_url(gateway.port), raising=False)
        client = kind(ENDPOINT)
        job = client.run({"items": 2, "more": 1, "gate": "gate"})
        items = job.stream()
        assert [next(items), next(items)] == numbers(0, 1)
        gateway.kill()
        gateway.start()
        gateway.register(ENDPOINT)
        (tmp_path / "gate").touch()
        assert list(items) == numbers(2)
        assert job.output(timeout=20) == numbers(0, 1, 2)
        client.close()


def test_a_gateway_that_is_away_is_told_within_the_callers_time_and_found_again(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with GatewayProcess(tmp_path) as gateway:
        gateway.register(ENDPOINT)
        monkeypatch.setattr(submodel, "endpoint_url_base", base_url(gateway.port), raising=False)
        client = kind(ENDPOINT)
        job = client.run({})
        gateway.kill()
        with pytest.raises(errors.GatewayUnavailable, match=f"{ENDPOINT}/health"):
            client.health(timeout=0.3)
        gateway.start()
        gateway.register(ENDPOINT)
        assert job.status() == "IN_QUEUE"
        client.close()


def test_nobody_at_the_base_url_is_told_with_the_url(kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    base = base_url(free_port())
    monkeypatch.setattr(submodel, "endpoint_url_base", base, raising=False)
    client = kind(ENDPOINT)
    with pytest.raises(errors.GatewayUnavailable, match=f"{base}/{ENDPOINT}/health"):
        client.health(timeout=0.1)
    client.close()
