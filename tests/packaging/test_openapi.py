"""The OpenAPI document and its page are those of the code, and the examples of the job API's page fit them."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from submodel_gateway.http import openapi, reference
from submodel_gateway.http.operations import MODEL, MODELS, OPENAI, OPERATIONS, WEBHOOK_REPLAY, Operation

ROOT = Path(__file__).parents[2]
JOB_API = (ROOT / "docs/reference/job-api.md").read_text(encoding="utf-8")
DOCUMENT = openapi.document()


def test_the_page_is_what_the_code_makes() -> None:
    page = (ROOT / reference.PAGE_PATH).read_text(encoding="utf-8")
    assert page == reference.page_text(), "run make manifests"


def references(part: Any) -> set[str]:
    if isinstance(part, dict):
        return {part["$ref"]} if "$ref" in part else set().union(*map(references, part.values()))
    return set().union(*map(references, part)) if isinstance(part, list) else set()


def test_every_reference_in_the_document_leads_to_a_schema() -> None:
    names = {reference.rpartition("/")[2] for reference in references(DOCUMENT)}
    assert names == DOCUMENT["components"]["schemas"].keys()


def test_every_operation_has_a_name_of_its_own() -> None:
    methods = [each for path in DOCUMENT["paths"].values() for name, each in path.items() if name != "parameters"]
    names = [method["operationId"] for method in methods]
    assert len(set(names)) == len(names) == sum(len(operation.methods) for operation in OPERATIONS)


EXAMPLE = re.compile(r"^\$ curl (.+)\n(?:(\{.*)\n)?", re.MULTILINE)


_REST = {WEBHOOK_REPLAY: r"/\S*replay", MODELS: r"(?!/)", MODEL: "/"}
"""What tells apart the operations that begin with the same word."""


def examples(operation: Operation) -> list[tuple[str, str]]:
    """The command lines of an operation on the page, with what they print there."""
    word = re.compile(rf"\$URL/{operation.name}(?![\w-])" + _REST.get(operation, ""))
    return [(found[1], found[2] or "") for found in EXAMPLE.finditer(JOB_API) if word.search(found[1])]


@pytest.mark.parametrize("operation", [each for each in OPERATIONS if each is not OPENAI], ids=lambda each: each.path)
def test_every_operation_has_an_example_and_its_answer_fits_the_schema(operation: Operation) -> None:
    found = examples(operation)
    assert found
    for _, printed in found:
        if printed:
            assert operation.answer
            schema = {"$ref": f"#/components/schemas/{operation.answer.__name__}", **DOCUMENT}
            jsonschema.validate(json.loads(printed.replace(", …]", "]")), schema)
