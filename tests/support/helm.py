"""Finds helm and renders the chart with it."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

CHART = Path(__file__).parents[2] / "charts" / "submodel"
RELEASE, NAMESPACE = "demo", "team"
KUBERNETES = "1.34.0"
"""Version that rendering pretends to meet; helm on its own pretends to meet an old one."""


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm. Skips the test where helm is missing; fails it there when CI is set, because nobody would notice."""
    return subprocess.run([_program(), *arguments], capture_output=True, text=True, check=False)


@cache
def render(*settings: str, chart: Path = CHART) -> tuple[dict[str, Any], ...]:
    """The objects that the chart makes with `--set` of each of `settings`."""
    chosen = [argument for setting in settings for argument in ("--set", setting)]
    target = ["--namespace", NAMESPACE, "--kube-version", KUBERNETES]
    result = helm("template", RELEASE, str(chart), *target, *chosen)
    assert result.returncode == 0, result.stderr
    return tuple(document for document in yaml.safe_load_all(result.stdout) if document)


def refusal(*settings: str) -> str:
    """What helm says when it refuses `--set` of each of `settings`."""
    chosen = [argument for setting in settings for argument in ("--set", setting)]
    result = helm("template", RELEASE, str(CHART), "--kube-version", KUBERNETES, *chosen)
    assert result.returncode != 0
    return result.stderr


def find(kind: str, name: str, *settings: str) -> dict[str, Any]:
    """The one rendered object of this kind and name."""
    (found,) = [item for item in render(*settings) if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    return found


def kinds(kind: str, *settings: str) -> list[dict[str, Any]]:
    """All rendered objects of this kind."""
    return [item for item in render(*settings) if item["kind"] == kind]


def _program() -> str:
    environ = os.environ  # noqa: TID251  # which tools a machine has is said by its environment
    built = sorted(Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").glob("submodel-cluster/*/bin/helm"))
    program = environ.get("HELM") or shutil.which("helm") or (str(built[-1]) if built else None)
    if program:
        return program
    if environ.get("CI"):
        pytest.fail("helm is missing; put it on PATH or name it in HELM")
    pytest.skip("helm is missing; put it on PATH, name it in HELM, or build the test cluster")
