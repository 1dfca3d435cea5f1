"""`submodel explain`: the account of the scaler, from Kubernetes and from local mode."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from submodel_operator.cli import cli
from submodel_operator.cli.local_status import read_local_status, remove_local_status, write_local_status
from submodel_operator.errors import UsageError
from tests.support.endpoints import KEY, manifest
from tests.support.fake_apiserver import FakeApiServer
from tests.support.free_ports import free_port
from tests.support.kubeconfig import write_kubeconfig

PROPOSAL = {"scalerType": "QUEUE_DELAY", "desired": 10, "reason": "LateJobs", "message": "9 jobs waited"}
STATUS: dict[str, Any] = {
    "workers": {"desired": 3, "ready": 1, "busy": 1},
    "jobs": {"queued": 9, "inProgress": 1},
    "autoscaling": {
        "lastDecision": {
            "at": "2026-01-01T12:00:04Z",
            "current": 1,
            "desired": 3,
            "reason": "WorkersMax",
            "message": "9 jobs waited; workersMax allows 3",
            "proposal": {**PROPOSAL, "change": "more workers come for more late jobs"},
        },
        "shadow": {"scalerType": "ADAPTIVE", "desired": 2, "reason": "Backlog", "message": "9 jobs queued"},
    },
    "conditions": [
        {"type": "Ready", "status": "True", "reason": "Registered", "message": "jobs are accepted"},
        {"type": "ScalerHealthy", "status": "False", "reason": "SignalsStale", "message": "the gateway is silent"},
    ],
}
SENTENCES = [
    "team-a/tokens: 3 workers wanted, 1 ready, 1 busy; 9 jobs queued, 1 running.",
    "2026-01-01T12:00:04Z: 1 worker → 3 (WorkersMax): 9 jobs waited; workersMax allows 3.",
    "QUEUE_DELAY asked for 10 (LateJobs): 9 jobs waited.",
    "WorkersMax made it 3.",
    "What would change it: more workers come for more late jobs.",
    "In the shadow, ADAPTIVE asked for 2 (Backlog): 9 jobs queued.",
    "ScalerHealthy is False (SignalsStale): the gateway is silent.",
]


@pytest.fixture
async def server() -> AsyncIterator[FakeApiServer]:
    async with FakeApiServer().running() as server:
        yield server


def explain(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(cli, ["explain", *arguments], env=env)


def test_local_mode_is_explained_from_its_data_folder(tmp_path: Path) -> None:
    write_local_status(tmp_path, KEY, STATUS)
    assert explain("--data", str(tmp_path)).output.splitlines() == SENTENCES


def test_a_data_folder_of_another_endpoint_is_not_taken_for_the_one_that_was_named(tmp_path: Path) -> None:
    write_local_status(tmp_path, KEY, STATUS, manifest())
    assert explain("tokens", "--data", str(tmp_path)).output.splitlines() == SENTENCES
    told = explain("images", "--data", str(tmp_path))
    assert str(told.exception).endswith("runs team-a/tokens, not images; leave the name out, or name another folder")
    nothing = tmp_path / "scaling.yaml"
    other = CliRunner().invoke(cli, ["what-if", "images", "--data", str(tmp_path), "--scaling", str(nothing)])
    assert "runs team-a/tokens, not images" in str(other.exception)


def test_the_account_can_be_had_as_data(tmp_path: Path) -> None:
    write_local_status(tmp_path, KEY, STATUS)
    assert json.loads(explain("--data", str(tmp_path), "--json").output) == STATUS["autoscaling"]


def test_an_endpoint_without_a_decision_says_so(tmp_path: Path) -> None:
    write_local_status(tmp_path, KEY, {})
    assert explain("--data", str(tmp_path)).output.splitlines() == [
        "team-a/tokens: 0 workers wanted, 0 ready, 0 busy; 0 jobs queued, 0 running.",
        "No decision has changed the number of workers yet.",
    ]


def test_what_does_not_run_or_is_damaged_is_a_sentence(tmp_path: Path) -> None:
    write_local_status(tmp_path, KEY, STATUS)
    remove_local_status(tmp_path)
    with pytest.raises(UsageError, match=r"no endpoint runs with .* name the folder of a running submodel up"):
        read_local_status(tmp_path)
    (tmp_path / "status.json").write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="is damaged"):
        read_local_status(tmp_path)
    assert isinstance(explain().exception, UsageError)


def test_a_kubernetes_that_does_not_answer_is_told_with_what_to_try(tmp_path: Path) -> None:
    nobody = write_kubeconfig(tmp_path / "kubeconfig", f"http://127.0.0.1:{free_port()}", "t")
    lost = explain("tokens", KUBECONFIG=nobody)
    assert "Kubernetes does not answer: " in str(lost.exception)
    assert "see whether kubectl get sme does" in str(lost.exception)


def test_without_a_way_to_kubernetes_it_says_what_to_set(tmp_path: Path) -> None:
    lost = explain("tokens", KUBECONFIG="", HOME=str(tmp_path))
    assert "set KUBECONFIG to the file that kubectl uses" in str(lost.exception)
    assert str(lost.exception).endswith("; for an endpoint of submodel up, add --data .submodel")


async def test_an_endpoint_on_kubernetes_is_explained_from_its_status(server: FakeApiServer, tmp_path: Path) -> None:
    kubeconfig = server.kubeconfig(tmp_path)
    server.store.create("submodelendpoints", "team-a", manifest())
    server.store.get("submodelendpoints", "team-a", "tokens")["status"] = STATUS
    result = await asyncio.to_thread(explain, "tokens", "-n", "team-a", KUBECONFIG=kubeconfig)
    assert result.output.splitlines() == SENTENCES
    missing = await asyncio.to_thread(explain, "tokens", "-n", "team-b", KUBECONFIG=kubeconfig)
    assert "there is no endpoint tokens in namespace team-b" in str(missing.exception)
