"""The commands of the quickstart, as they stand there, on this cluster instead of kind."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.conftest import SYSTEM
from tests.cluster.helm import RELEASE
from tests.cluster.job_api import end
from tests.cluster.kubernetes import kubectl, run

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/quickstart.md").read_text(encoding="utf-8").partition("## On kind\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
EXAMPLE = "docs/examples/async-generator/endpoint.yaml"


@pytest.fixture
def applied(release: str) -> Iterator[None]:
    """The endpoint of the page, which is in the namespace that kubectl takes by itself."""
    (apply,) = (line for line in commands() if line.startswith("kubectl apply"))
    run("bash", "-c", f"cd {shlex.quote(str(ROOT))} && {apply}")
    yield
    kubectl("delete", "-f", str(ROOT / EXAMPLE), "--wait=false")


def commands() -> list[str]:
    """Every command of the page; one that goes on over several lines is one."""
    return [line for block in BLOCKS for line in block.replace("\\\n", "").splitlines()]


def test_the_installation_of_the_page_is_that_of_these_tests() -> None:
    """But for the images, which are made in another way here, and the size of the volume."""
    (install,) = (line for line in commands() if line.startswith("helm install"))
    chart = ["helm", "install", RELEASE, "charts/submodel"]
    assert shlex.split(install) == [*chart, "--namespace", SYSTEM, "--create-namespace", "--wait"]
    (test,) = (line for line in commands() if line.startswith("helm test"))
    assert shlex.split(test) == ["helm", "test", RELEASE, "--namespace", SYSTEM, "--logs"]


def test_the_request_of_the_page_is_answered_with_what_the_example_gives(applied: None) -> None:
    (forward,) = (line for line in commands() if line.startswith("kubectl port-forward"))
    # Another port on this side: the one of the page may be taken here.
    opened = subprocess.Popen(
        [*shlex.split(forward)[:-1], ":8000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        line = opened.stdout.readline() if opened.stdout else ""
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        (block,) = (block for block in BLOCKS if "curl" in block)
        script = block.replace("127.0.0.1:8000", f"127.0.0.1:{found[1]}")
        said = run("bash", "-euc", script, timeout=120).out
    finally:
        end(opened)
    assert '"status": "COMPLETED"' in said or '"status":"COMPLETED"' in said
    assert "Generated async token output 4" in said
    assert re.search(r"^tokens +True ", said, re.MULTILINE)
