"""Each command line on the page of OpenAI's API is run as it stands there, and prints what the page shows."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway_process import GatewayProcess
from tests.support.worker_process import WorkerProcess

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/openai.md").read_text(encoding="utf-8")
HANDLER = (ROOT / "docs/examples/openai/handler.py").read_text(encoding="utf-8")
LINES = re.findall(r"^\$ (curl .+)\n(.+)$", PAGE, re.MULTILINE)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("gateway")
    with GatewayProcess(folder) as gateway:
        gateway.register("default.parrot", models=["parrot"])
        with WorkerProcess(folder, HANDLER, gateway.environment("default.parrot")):
            yield f"http://127.0.0.1:{gateway.port}/v2/default.parrot/openai/v1"


def without_time(line: str) -> Any:
    """The document of an answer or event; the worker's clock is left out."""
    document = json.loads(line.removeprefix("data: "))
    document.pop("created", None)
    return document


@pytest.mark.requirement("platform.openai")
@pytest.mark.parametrize(("line", "printed"), LINES, ids=["models", "whole", "streamed"])
def test_a_command_line_on_the_page_prints_what_it_shows(base: str, line: str, printed: str) -> None:
    environment = {"OPENAI_BASE_URL": base, "OPENAI_API_KEY": "any", "PATH": os.defpath}
    ran = subprocess.run(["bash", "-c", line], env=environment, capture_output=True, text=True, timeout=40)
    assert ran.returncode == 0, (ran.stdout, ran.stderr)
    assert without_time(ran.stdout.splitlines()[0]) == without_time(printed)
    if printed.startswith("data: "):
        assert ran.stdout.endswith("\n\ndata: [DONE]\n\n")
