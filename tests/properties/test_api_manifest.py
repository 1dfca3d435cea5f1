"""Model, schema and messages agree, whatever a manifest holds."""

import json
import re
from typing import Any

from hypothesis import event, given
from hypothesis import strategies as st

from submodel_operator.api.manifest import parse_endpoint, read_manifest
from submodel_operator.api.schema import with_defaults
from submodel_operator.api.v1alpha1 import SPEC_RULES
from submodel_operator.errors import InvalidEndpoint
from tests.support.endpoint_schema import openapi_schema, schema_problems
from tests.support.endpoint_strategies import damaged_endpoints, endpoints

BEYOND_THE_SCHEMA = (*(rule.message for rule in SPEC_RULES), "keep one entry for each name")
"""Ends of the problems that the API server finds by CEL and by the keys of a list map."""


@given(damaged_endpoints())
def test_model_and_schema_accept_the_same_endpoints(endpoint: dict[str, Any]) -> None:
    problems = problems_of(endpoint)
    event("refused" if problems else "accepted")
    if all(problem.endswith(BEYOND_THE_SCHEMA) for problem in problems):
        assert schema_problems(endpoint) == []
    else:
        assert schema_problems(endpoint) != []


@given(endpoints())
def test_the_defaults_of_model_and_schema_are_the_same(endpoint: dict[str, Any]) -> None:
    if problems_of(endpoint):
        event("refused")
        return
    stored = with_defaults(openapi_schema(), endpoint)
    assert parse_endpoint(stored) == parse_endpoint(endpoint)
    assert with_defaults(openapi_schema(), stored) == stored


@given(damaged_endpoints())
def test_every_problem_is_one_sentence_that_begins_with_its_path(endpoint: dict[str, Any]) -> None:
    for problem in problems_of(endpoint):
        assert re.match(r"spec(\.[\w/.]+|\[\d+\])*: \S", problem), problem
        assert not re.search(r"\n|pydantic|Input should|https?:|type=|does not fit", problem), problem


@given(damaged_endpoints())
def test_an_endpoint_reads_the_same_from_text(endpoint: dict[str, Any]) -> None:
    text = json.dumps(endpoint, ensure_ascii=False)
    if problems := problems_of(endpoint):
        assert problems_of_text(text) == problems
    else:
        assert read_manifest(text, "file") == parse_endpoint(endpoint)


@given(st.text(alphabet="ab:-?&*!<>{}[],#|'\"%@\n\t 01\x00\x85é", max_size=40))
def test_any_text_is_read_or_refused_with_sentences(text: str) -> None:
    for problem in problems_of_text(text):
        assert re.match(r"(file|apiVersion|kind): \S", problem), problem


def problems_of(endpoint: dict[str, Any]) -> list[str]:
    try:
        parse_endpoint(endpoint)
    except InvalidEndpoint as refusal:
        return list(refusal.problems)
    return []


def problems_of_text(text: str) -> list[str]:
    try:
        read_manifest(text, "file")
    except InvalidEndpoint as refusal:
        return list(refusal.problems)
    return []
