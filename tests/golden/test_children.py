"""The children of an endpoint, whole: an added field shows in the review."""

from pathlib import Path

import pytest
import yaml

from submodel_operator.desired import desired_pool
from tests.support.endpoints import resolved
from tests.support.golden import assert_golden

CASES = sorted((Path(__file__).parent / "children").glob("*/endpoint.yaml"))


@pytest.mark.parametrize("source", CASES, ids=lambda path: path.parent.name)
def test_children_are_as_recorded(source: Path) -> None:
    pool = desired_pool(resolved(yaml.safe_load(source.read_text(encoding="utf-8"))))
    assert_golden(source.with_name("children.yaml"), yaml.safe_dump_all(map(dict, pool.children), sort_keys=False))
