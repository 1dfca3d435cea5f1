"""The `openai` package, unmodified, against the example worker and workers that answer in other ways."""

import json
import os
import subprocess
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.environments import required
from tests.support.gateway_process import GatewayProcess
from tests.support.worker_process import WorkerProcess

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs/examples/openai"
SDK = "openai-3.57.0"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

DOCUMENTS = """
    import asyncio
    import submodel.serverless

    def piece(text):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        return {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}

    async def handler(job):
        text = job["input"]["openai_input"]["messages"][-1]["content"]
        if text == "fail":
            raise ValueError("the handler's own words")
        yield [piece("one "), piece("two ")]
        while text == "wait":
            await asyncio.sleep(0.01)
        if text == "break":
            raise ValueError("the handler's own words")
        yield [piece("three")]

    submodel.serverless.start({"handler": handler})
"""
"""Streams lists of documents; fails or waits when it is asked to."""

HEAD = """
    import asyncio, json, openai

    told = {}
    client = openai.OpenAI(timeout=30)

    def ask(text, **more):
        messages = [{"role": "user", "content": text}]
        return client.chat.completions.create(model="m", messages=messages, **more)

    def failure(call):
        try:
            call()
        except openai.APIError as error:
            return [type(error).__name__, getattr(error, "status_code", None), error.message]
"""


@pytest.fixture(scope="module")
def interpreter() -> Path:
    return required(SDK)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder) as running:
        running.register("default.parrot", models=["parrot"])
        running.register("ns.documents")
        parrot = WorkerProcess(folder, (EXAMPLE / "handler.py").read_text(), running.environment("default.parrot"))
        documents = tmp_path_factory.mktemp("documents")
        with parrot, WorkerProcess(documents, DOCUMENTS, running.environment("ns.documents")):
            yield running


def ran(interpreter: Path, gateway: GatewayProcess, endpoint: str, *arguments: str) -> str:
    url = f"http://127.0.0.1:{gateway.port}/v2/{endpoint}/openai/v1"
    environment = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "key", "PATH": os.defpath}
    command = [str(interpreter), "-W", "error", *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(interpreter: Path, gateway: GatewayProcess, endpoint: str, program: str) -> Any:
    text = textwrap.dedent(HEAD) + textwrap.dedent(program) + "\nprint(json.dumps(told))\n"
    return json.loads(ran(interpreter, gateway, endpoint, "-c", text))


def newest(gateway: GatewayProcess, endpoint: str) -> str:
    job = gateway.call("GET", f"{endpoint}/requests?limit=1")["requests"][0]["id"]
    return str(gateway.call("GET", f"{endpoint}/status-sync/{job}?wait=15000")["status"])


@pytest.mark.requirement("platform.openai")
def test_the_program_on_the_page_runs(interpreter: Path, gateway: GatewayProcess) -> None:
    assert ran(interpreter, gateway, "default.parrot", str(EXAMPLE / "ask.py")).splitlines() == [
        "models: parrot",
        "whole: Polly wants a cracker ",
        "streamed: Polly |wants |a |cracker ||",
    ]


def test_the_asyncio_program_on_the_page_runs(interpreter: Path, gateway: GatewayProcess) -> None:
    expected = [f"question {number} " for number in range(3)]
    assert ran(interpreter, gateway, "default.parrot", str(EXAMPLE / "ask_asyncio.py")).splitlines() == expected


def test_documents_of_a_worker_become_its_chunks(interpreter: Path, gateway: GatewayProcess) -> None:
    program = 'told["text"] = [piece.choices[0].delta.content for piece in ask("x", stream=True)]'
    assert told(interpreter, gateway, "ns.documents", program) == {"text": ["one ", "two ", "three"]}


@pytest.mark.requirement("platform.openai")
def test_what_a_worker_refuses_is_the_clients_error(interpreter: Path, gateway: GatewayProcess) -> None:
    program = """
        told["unknown"] = failure(lambda: client.completions.create(model="m", prompt="x"))
        told["model"] = failure(lambda: client.models.retrieve("crow"))
        told["once"] = failure(lambda: client.embeddings.create(model="m", input="x"))
    """
    before = gateway.call("GET", "default.parrot/health")["jobs"]["failed"]
    found = told(interpreter, gateway, "default.parrot", program)
    assert [error[:2] for error in found.values()] == [["NotFoundError", 404]] * 3
    assert "/v1/completions is not served here" in found["unknown"][2]
    assert gateway.call("GET", "default.parrot/health")["jobs"]["failed"] == before + 2


def test_a_failure_is_raised_once_and_within_a_stream_too(interpreter: Path, gateway: GatewayProcess) -> None:
    program = """
        told["whole"] = failure(lambda: ask("fail"))
        told["held"] = failure(lambda: ask("fail", stream=True))
        told["broken"] = failure(lambda: list(ask("break", stream=True)))
    """
    before = gateway.call("GET", "ns.documents/health")["jobs"]["failed"]
    found = told(interpreter, gateway, "ns.documents", program)
    for error in found.values():
        assert "the handler's own words" in error[2]
    assert [error[:2] for error in found.values()] == [["InternalServerError", 500]] * 2 + [["APIError", None]]
    assert gateway.call("GET", "ns.documents/health")["jobs"]["failed"] == before + 3


@pytest.mark.parametrize("loop", ["sync", "asyncio"])
def test_a_client_that_stops_reading_ends_the_job(interpreter: Path, gateway: GatewayProcess, loop: str) -> None:
    sync = """
        with ask("wait", stream=True) as pieces:
            told["first"] = next(iter(pieces)).choices[0].delta.content
    """
    program = """
        async def main():
            async with openai.AsyncOpenAI() as client:
                messages = [{"role": "user", "content": "wait"}]
                pieces = await client.chat.completions.create(model="m", messages=messages, stream=True)
                async for piece in pieces:
                    told["first"] = piece.choices[0].delta.content
                    break
                await pieces.close()

        asyncio.run(main())
    """
    assert told(interpreter, gateway, "ns.documents", sync if loop == "sync" else program) == {"first": "one "}
    assert newest(gateway, "ns.documents") == "CANCELLED"
