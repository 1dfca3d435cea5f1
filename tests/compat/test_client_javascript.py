"""The JavaScript SDK of the hosted platform works as a client against a real gateway and a worker of ours."""

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.compat import environments
from tests.support.client_world import ENDPOINT, base_url, numbers, start_worker
from tests.support.gateway_process import GatewayProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PROGRAM = """
import runpodSdk from "runpod-sdk";

const collected = async (items) => { const all = []; for await (const item of items) all.push(item); return all; };
const outcome = async (asked) => { try { return await asked; } catch (error) { return error.response.status; } };
const [baseUrl] = process.argv.slice(2);
const endpoint = runpodSdk("key", { baseUrl }).endpoint("ns.e");
const told = {};

const { id, status } = await endpoint.run({ input: { items: 2 } });
told.run = [typeof id, status];
told.stream = await collected(endpoint.stream(id));
told.status = await endpoint.status(id);
told.runSync = await endpoint.runSync({ input: { items: 1 } }, 30000);
told.failed = await endpoint.runSync({ input: { fail: true } }, 30000);
const gated = await endpoint.run({ input: { gate: "never" } });
told.statusSync = await endpoint.statusSync(gated.id, 1000);
told.cancel = await endpoint.cancel(gated.id);
told.streamOfCancelled = await collected(endpoint.stream(gated.id));
told.health = await endpoint.health();
told.purge = await endpoint.purgeQueue();
told.unknown = await outcome(endpoint.status("unknown"));
console.log(JSON.stringify(told));
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a program of the SDK got."""
    modules = environments.required("runpod-sdk-1.1.2", environments.node_modules)
    folder = tmp_path_factory.mktemp("node")
    (folder / "node_modules").symlink_to(modules)
    (folder / "program.mjs").write_text(PROGRAM)
    with GatewayProcess(folder) as gateway:
        gateway.register(ENDPOINT)
        with start_worker(folder, gateway):
            node = shutil.which("node") or "node"
            command = [node, "program.mjs", base_url(gateway.port)]
            environment = {"PATH": os.defpath, "HOME": str(folder)}
            ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


@pytest.mark.requirement("client.sdk.js")
def test_a_job_is_run_streamed_and_read(told: dict[str, Any]) -> None:
    assert told["run"] == ["string", "IN_QUEUE"]
    assert told["stream"] == [{"output": number} for number in numbers(0, 1)]
    status = told["status"]
    assert (status["status"], status["completed"], status["succeeded"]) == ("COMPLETED", True, True)
    assert status["output"] == numbers(0, 1)


@pytest.mark.requirement("client.sdk.js")
def test_runsync_brings_the_result_or_the_failure(told: dict[str, Any]) -> None:
    assert (told["runSync"]["output"], told["runSync"]["succeeded"]) == (numbers(0), True)
    failed = told["failed"]
    assert (failed["status"], failed["succeeded"]) == ("FAILED", False)
    assert "the handler's own words" in failed["error"]


@pytest.mark.requirement("client.sdk.js")
def test_a_job_that_goes_on_is_waited_for_and_cancelled(told: dict[str, Any]) -> None:
    assert (told["statusSync"]["started"], told["statusSync"]["completed"]) == (True, False)
    assert told["cancel"]["status"] == "CANCELLED"
    assert told["streamOfCancelled"] == []


@pytest.mark.requirement("client.sdk.js")
def test_the_endpoint_tells_its_health_and_is_purged(told: dict[str, Any]) -> None:
    assert told["health"]["jobs"]["completed"] == 2
    assert {type(count) for part in told["health"].values() for count in part.values()} == {int}
    assert told["purge"] == {"removed": 0, "status": "completed"}


@pytest.mark.requirement("client.sdk.js")
def test_what_is_not_there_is_an_error_with_its_status(told: dict[str, Any]) -> None:
    assert told["unknown"] == 404
