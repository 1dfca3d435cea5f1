"""Schemathesis reads the OpenAPI document, and sends what fits it and what does not."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.compat.environments import required
from tests.hostile.target import target

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TOOL = "schemathesis-4.32.5"
CONFIGURATION = Path(__file__).with_name("schemathesis.toml")
CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
OPTIONS = {
    "--checks": CHECKS,
    "--phases": "coverage,fuzzing",
    "--max-examples": "20",
    "--max-time": "90",
    "--seed": "1",
    "--exclude-path-regex": "openai",  # held until there is a worker
}


def test_answers_are_as_the_document_says(tmp_path: Path) -> None:
    program = required(TOOL).with_name("schemathesis")
    with target(tmp_path) as gateway:
        url = gateway.gateway.public
        options = [word for option in OPTIONS.items() for word in option]
        command = [
            str(program),
            "--config-file",
            str(CONFIGURATION),
            "run",
            f"{url}/openapi.json",
            "--url",
            url,
            *options,
        ]
        environment = {"HOME": str(tmp_path), "PATH": os.defpath}
        ran = subprocess.run(
            [*command, *options], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=280
        )
        assert ran.returncode == 0, ran.stdout[-8_000:] + ran.stderr[-2_000:]
        assert gateway.serves()
