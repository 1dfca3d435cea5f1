"""Gateways as processes on one PostgreSQL: they work as one, and outlive a restart of the database."""

import hashlib
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import INTERNAL_TOKEN, Http, LiveGateway
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.slow

ENOUGH = 150


def gateway(folder: Path, url: str) -> LiveGateway:
    """A gateway that knows the endpoint."""
    started = LiveGateway(folder, SUBMODEL_GATEWAY_STORE=url)
    register(started)
    return started


def exchange(at: LiveGateway, **fields: Any) -> Any:
    with Http(at.public, TOKEN) as worker:
        return worker.ok("POST", "/v2/e/workers/w/exchange", {"session": "s", "phase": "ready", **fields})


def hear_of_one_completed(at: LiveGateway) -> None:
    """Returns when this gateway has heard what another one counted; counts of zero are left out."""
    since = 0
    with Http(at.internal, INTERNAL_TOKEN) as operator:
        while True:
            seen = operator.ok("GET", f"/internal/v1/snapshots?since={since}&waitMs=20000")
            if any(each.get("completedTotal") == 1 for each in seen["endpoints"]):
                return
            since = seen["version"]


def test_a_job_of_one_gateway_runs_at_another_one_and_is_read_at_both(tmp_path: Path, own_url: str) -> None:
    with gateway(tmp_path, own_url) as front, gateway(tmp_path, own_url) as back, ThreadPoolExecutor(2) as pool:
        with Http(front.public) as client, Http(back.public) as other:
            # Held until another gateway's job arrives.
            turn = pool.submit(exchange, back, request=1, capacity=1, waitMs=20_000)
            answer = pool.submit(client.ok, "POST", "/v2/e/runsync?wait=60000", {"input": {"n": 1}})
            (job,) = turn.result()["jobs"]
            held = {"id": job["id"], "token": job["token"]}
            exchange(back, request=2, results=[{**held, "output": "done"}])
            assert answer.result()["output"] == "done"
            hear_of_one_completed(front)
            assert [each.ok("GET", "/v2/e/health")["jobs"]["completed"] for each in (client, other)] == [1, 1]


def test_an_endpoint_of_which_one_was_told_a_moment_ago_is_served_by_the_other(tmp_path: Path, own_url: str) -> None:
    with gateway(tmp_path, own_url) as front, gateway(tmp_path, own_url) as back, Http(back.public) as client:
        for number in range(10):
            register(front, f"new-{number}")
            assert client.ok("POST", f"/v2/new-{number}/run", {"input": 1})["status"] == "IN_QUEUE"
        assert client.call("POST", "/v2/never/run", {"input": 1})[0] == 404


def test_a_key_of_which_one_was_told_a_moment_ago_is_let_in_by_the_other(tmp_path: Path, own_url: str) -> None:
    keys = {"SUBMODEL_GATEWAY_STORE": own_url, "SUBMODEL_GATEWAY_KEYS": str(tmp_path)}
    keys["SUBMODEL_GATEWAY_KEY_PEPPER"] = "pepper"
    with LiveGateway(tmp_path, **keys) as front, LiveGateway(tmp_path, **keys) as back:
        for number in range(10):
            key = f"a-key-of-the-endpoint-that-is-long-enough-{number}"
            told = {"id": "ci", "sha256": hashlib.sha256(key.encode()).hexdigest(), "scopes": ["read"]}
            register(front, "e", generation=number + 1, apiKeys=[told])
            with Http(back.public, key) as client:
                assert client.ok("GET", "/v2/e/health")["jobs"]["inQueue"] == 0


def test_a_restart_of_the_database_loses_no_accepted_job(
    tmp_path: Path, own_url: str, own_server: PostgresServer
) -> None:
    accepted: list[list[str]] = [[] for _ in range(4)]
    enough, ended = threading.Event(), threading.Event()

    def submit(ids: list[str]) -> list[int]:
        """Statuses other than 200."""
        refused = []
        with Http(front.public) as client:
            while not ended.is_set():
                status, answer = client.call("POST", "/v2/e/run", {"input": len(ids)})
                if status == 200:
                    ids.append(answer["id"])
                else:
                    refused.append(status)
                if sum(map(len, accepted)) >= ENOUGH:
                    enough.set()
        return refused

    with gateway(tmp_path, own_url) as front, ThreadPoolExecutor(4) as pool:
        writers = [pool.submit(submit, ids) for ids in accepted]
        try:
            for _ in range(2):
                assert enough.wait(30)
                own_server.restart(immediate=True)
                enough.clear()
                accepted_before = sum(map(len, accepted))
                while sum(map(len, accepted)) < accepted_before + ENOUGH:
                    enough.wait(1)
        finally:
            ended.set()
        assert {status for writer in writers for status in writer.result()} <= {503}
        ids = {id for each in accepted for id in each}
        with Http(front.public) as client:
            assert {client.ok("GET", f"/v2/e/status/{id}")["status"] for id in ids} == {"IN_QUEUE"}
            assert client.ok("GET", "/v2/e/health")["jobs"]["inQueue"] >= len(ids)
