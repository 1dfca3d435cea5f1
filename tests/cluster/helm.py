"""The chart as these tests install it: its folder, its values, and what helm makes of them without installing."""

import os
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kubernetes import Ran, run
from tests.support.helm import KUBERNETES

CHART = Path(__file__).parents[2] / "charts/submodel"
RELEASE = "submodel"
IMAGE_TAG = os.environ.get("SUBMODEL_TEST_IMAGE_TAG", "dev")
IMAGE_PREFIX = os.environ.get("SUBMODEL_TEST_IMAGE_PREFIX", "localhost/")


def values() -> list[str]:
    """Values of the chart: the images under test, and a volume that a laptop has room for."""
    images = [f"{part}.image.repository={IMAGE_PREFIX}submodel-{part}" for part in ("operator", "gateway", "worker")]
    tags = [f"{part}.image.tag={IMAGE_TAG}" for part in ("operator", "gateway", "worker")]
    return [f"--set={value}" for value in (*images, *tags, "gateway.persistence.size=1Gi")]


def install(namespace: str, *more: str) -> Ran:
    """`helm install` of the release, until all of it is ready."""
    return run("helm", "install", RELEASE, str(CHART), "-n", namespace, "--wait", "--timeout=120s", *values(), *more)


def upgrade(namespace: str, *more: str) -> Ran:
    """`helm upgrade` as the documentation says it, until all of it is ready."""
    waiting = ("--wait", "--timeout=120s", "--reset-then-reuse-values")
    return run("helm", "upgrade", RELEASE, str(CHART), "-n", namespace, *waiting, *more)


def reset(namespace: str) -> Ran:
    """`helm upgrade` back to the values of `install`, until all of it is ready."""
    return run("helm", "upgrade", RELEASE, str(CHART), "-n", namespace, "--wait", "--timeout=120s", *values())


def uninstall(namespace: str) -> Ran:
    """`helm uninstall` of the release, until its pods are gone."""
    return run("helm", "uninstall", RELEASE, "-n", namespace, "--ignore-not-found", "--wait")


def helm_test(namespace: str) -> str:
    """`helm test --logs`; what it said, whether it passed or not."""
    command = ("helm", "test", RELEASE, "-n", namespace, "--logs", "--timeout=200s")
    ran = run(*command, check=False, timeout=240)
    return f"{ran.out}{ran.err}"


def template(release: str, namespace: str, *settings: str) -> list[dict[str, Any]]:
    """The objects that an installation with `--set` of each of `settings` would make."""
    chosen = [f"--set={setting}" for setting in settings]
    ran = run("helm", "template", release, str(CHART), "-n", namespace, "--kube-version", KUBERNETES, *chosen)
    return [document for document in yaml.safe_load_all(ran.out) if document]


def api_key(namespace: str) -> str:
    """The API key that an installation made for its owner."""
    template = 'go-template={{ index .data "api-key" | base64decode }}'
    return run("kubectl", "get", "secret", f"{RELEASE}-api-key", "-n", namespace, "-o", template).out.strip()
