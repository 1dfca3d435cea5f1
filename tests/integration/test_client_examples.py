"""The programs on the client's page are run as they stand there."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.worker_process import WorkerProcess

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs/examples/client"
PAGE = (ROOT / "docs/how-to/use-the-client.md").read_text(encoding="utf-8")
ENDPOINT = "default.tokens"

HANDLER = """
    import submodel.serverless

    async def handler(job):
        yield job["input"]
        yield "and more"

    submodel.serverless.start({"handler": handler, "return_aggregate_stream": True})
"""


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder) as gateway:
        gateway.register(ENDPOINT)
        with WorkerProcess(folder, HANDLER, gateway.environment(ENDPOINT)):
            yield f"http://127.0.0.1:{gateway.port}/v2"


def printed(program: str, variable: str, base_url: str) -> list[str]:
    command = [sys.executable, "-W", "error", str(EXAMPLES / program)]
    ran = subprocess.run(command, env={variable: base_url}, capture_output=True, text=True, timeout=50)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


@pytest.mark.parametrize("variable", ["SUBMODEL_ENDPOINT_BASE_URL", "RUNPOD_ENDPOINT_BASE_URL"])
def test_one_job_is_streamed(base_url: str, variable: str) -> None:
    assert printed("one_job.py", variable, base_url) == [
        "{'prompt': 'hi'}",
        "and more",
        "COMPLETED [{'prompt': 'hi'}, 'and more']",
    ]


def test_many_jobs_are_waited_for(base_url: str) -> None:
    expected = [f"done: [{{'number': {number}}}, 'and more']" for number in range(3)]
    assert printed("many_jobs.py", "SUBMODEL_ENDPOINT_BASE_URL", base_url) == expected


def test_of_many_jobs_none_is_called_done_that_was_refused(base_url: str) -> None:
    said = printed("many_jobs.py", "SUBMODEL_ENDPOINT_BASE_URL", f"{base_url}/nowhere")
    assert [line.partition(" ")[0] for line in said] == ["failed:"] * 3


@pytest.mark.parametrize("program", ["one_job.py", "many_jobs.py"])
def test_the_page_shows_the_programs_as_they_are(program: str) -> None:
    assert f"```python\n{(EXAMPLES / program).read_text(encoding='utf-8')}```" in PAGE
