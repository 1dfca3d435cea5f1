"""A definition that lacks what the operator needs is told from one that has more."""

import copy
from typing import Any

from submodel_operator.api import crd
from submodel_operator.api.compatibility import older_definition


def definition() -> tuple[dict[str, Any], dict[str, Any]]:
    """A definition, and the fields of its spec to change."""
    found = copy.deepcopy(crd.custom_resource_definition())
    schema = found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return found, schema["properties"]["spec"]["properties"]


def test_the_definition_of_this_release_will_do() -> None:
    assert older_definition(crd.custom_resource_definition()) == ""


def test_one_that_knows_more_will_do() -> None:
    newer, spec = definition()
    spec["somethingNew"] = {"type": "string"}
    assert older_definition(newer) == ""


def test_one_that_knows_less_is_refused_with_what_it_lacks_and_what_to_do() -> None:
    older, spec = definition()
    del spec["gpu"], spec["worker"]["properties"]["env"]["items"]["properties"]["value"]
    sentence = older_definition(older)
    assert "it lacks spec.worker.env.value, spec.gpu:" in sentence
    assert "apply the one of this release" in sentence


def test_one_without_our_version_lacks_everything() -> None:
    other, _ = definition()
    other["spec"]["versions"][0]["name"] = "v1alpha0"
    assert "it lacks spec, status:" in older_definition(other)
