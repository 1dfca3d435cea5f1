"""Each command line on the page of the job API is run as it stands there, and its answer fits the OpenAPI document."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest

from submodel_gateway.http import openapi
from submodel_gateway.http.operations import OPENAI, OPERATIONS, Operation
from tests.packaging.test_openapi import DOCUMENT, examples
from tests.support.gateway_ports import TOKEN, register
from tests.support.live_gateway import Http, LiveGateway
from tests.support.worker_process import WorkerProcess

HANDLER = """
    import submodel.serverless

    async def handler(job):
        if job["input"].get("fail"):
            raise ValueError("no luck")
        for number in range(5):
            yield f"Generated async token output {number}"

    submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""
LINES = [(operation, line) for operation in OPERATIONS if operation is not OPENAI for line, _ in examples(operation)]


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Http]:
    folder = tmp_path_factory.mktemp("gateway")
    settings = {"SUBMODEL_GATEWAY_WEBHOOK_ALLOW": "127.0.0.1", "SUBMODEL_GATEWAY_RATE_LIMITS": "run=1000"}
    with LiveGateway(folder, **settings) as gateway:
        register(gateway, "default.tokens", models=["meta-llama/Llama-3.1-8B"])
        environment = {
            "SUBMODEL_GATEWAY_URL": gateway.public,
            "SUBMODEL_ENDPOINT_ID": "default.tokens",
            "SUBMODEL_WORKER_ID": "w-1",
            "SUBMODEL_WORKER_TOKEN": TOKEN,
        }
        with WorkerProcess(folder, HANDLER, environment), Http(f"{gateway.public}/v2/default.tokens") as client:
            yield client


def finished(client: Http, input: dict[str, Any]) -> str:
    """A job that has come to its end and tried its webhook, which nobody answers."""
    job = client.ok("POST", "/run", {"input": input, "webhook": "http://127.0.0.1:9/"})["id"]
    client.ok("GET", f"/status-sync/{job}?wait=20000")
    return str(job)


@pytest.mark.parametrize(("operation", "line"), LINES, ids=[line.partition("$URL/")[2][:24] for _, line in LINES])
def test_a_command_line_on_the_page_works(client: Http, operation: Operation, line: str) -> None:
    environment = {
        "URL": client.base,
        "ID": finished(client, {"fail": operation.name == "retry"}),
        "PATH": os.defpath,
    }
    command = ["bash", "-c", f"curl -w '\\n%{{http_code}}' {line}"]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=40)
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    if "|" in line:
        assert ran.stdout
        return
    body, _, status = ran.stdout.rpartition("\n")
    assert (status, operation.answer is not None) == ("200", True), body
    if operation.events and "event-stream" in line:
        assert "event: status\n" in body
        return
    assert operation.answer
    schema = {"$ref": f"#/components/schemas/{operation.answer.__name__}", **DOCUMENT}
    answer = json.loads(body)
    jsonschema.validate(answer, schema)
    known = openapi.schemas()[operation.answer.__name__]["properties"]
    assert answer.keys() <= known.keys()
