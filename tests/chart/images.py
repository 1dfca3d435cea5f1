"""The images that an installation pulls, by the chart's values and its version."""

from typing import Any

import yaml

from tests.support.helm import CHART


def images() -> list[str]:
    """References with the chart's defaults, without a registry; sorted."""
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    version = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))["appVersion"]
    return sorted(f"{image['repository']}:{image['tag'] or version}" for image in _images(values))


def _images(values: Any) -> list[dict[str, str]]:
    if not isinstance(values, dict):
        return []
    found = [values] if "repository" in values else []
    return found + [image for below in values.values() for image in _images(below)]
