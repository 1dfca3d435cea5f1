"""What the pages say of the chart's values: each exists, and each file of values on a page is one that helm takes."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from tests.packaging.test_docs import PAGES, ROOT, blocks, shown
from tests.support.helm import CHART

VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
ELSEWHERE = {"worker"}
"""Also a part of an endpoint's spec, so that a name below it may be either."""


def exists(path: str) -> bool:
    """Whether the chart has this value; below one that is empty or a list by default anything may stand."""
    node: Any = VALUES
    for name in re.sub(r"\[.*", "", path).split("."):
        if not isinstance(node, dict):
            return False
        if not node:
            return True
        if name not in node:
            return False
        node = node[name]
    return True


def set_on_pages() -> Iterator[tuple[str, str]]:
    """Each value that a command sets, with its page."""
    for path in PAGES:
        for console in blocks(path.read_text(encoding="utf-8"), "console"):
            yield from ((shown(path), name) for name in re.findall(r"--set[= ]'?([\w.\[\]]+)=", console))


def named_on_pages() -> Iterator[tuple[str, str]]:
    """Each word in backquotes that looks like a value, with its page."""
    tops = "|".join(sorted(set(VALUES) - ELSEWHERE))
    for path in PAGES:
        if path.name in ("CHANGELOG.md", "custom-resource.md"):
            continue
        for name in re.findall(rf"`((?:{tops})\.[A-Za-z.]+?)(?:=[^`]*)?`", path.read_text(encoding="utf-8")):
            yield shown(path), name


OF_OTHER_THINGS = {"gateway.json"}


def test_every_value_that_a_command_on_a_page_sets_exists() -> None:
    found = list(set_on_pages())
    assert found
    assert [each for each in found if not exists(each[1])] == []


def test_every_value_that_a_page_names_exists() -> None:
    found = [each for each in named_on_pages() if each[1] not in OF_OTHER_THINGS]
    assert found
    assert [each for each in found if not exists(each[1])] == []


def files_of_values() -> list[Any]:
    """The YAML blocks of the pages that hold nothing but values of the chart."""
    found = []
    for path in PAGES:
        for block in blocks(path.read_text(encoding="utf-8"), "yaml"):
            document = yaml.safe_load(block)
            if isinstance(document, dict) and set(document) <= set(VALUES) and "kind" not in document:
                found.append(pytest.param(document, id=f"{path.relative_to(ROOT)}:{'+'.join(document)}"))
    return found


@pytest.mark.parametrize("document", files_of_values())
def test_every_file_of_values_on_a_page_fits_the_schema(document: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
