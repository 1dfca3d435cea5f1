"""Secrets and ConfigMaps that a manifest names: what they hold makes the revision, and what is missing is named."""

from typing import Any

import pytest

from submodel_operator.api.v1alpha1 import SubModelEndpoint
from submodel_operator.desired import desired_pool
from submodel_operator.errors import ReferenceMissing
from submodel_operator.ports import Reference, Referenced
from submodel_operator.references import references
from submodel_operator.resolve import ResolvedEndpoint, resolve
from tests.support.endpoints import UID, manifest, worker_settings

KEYS, CONFIG, CODE = Reference("Secret", "keys"), Reference("ConfigMap", "config"), Reference("ConfigMap", "code")
WORKER = {
    "image": "x",
    "env": [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "a"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "config", "key": "b", "optional": True}}},
    ],
    "envFrom": [{"secretRef": {"name": "keys"}}],
}
SOURCE = {"handler": {"configMapRef": {"name": "code"}}}


def with_references(worker: dict[str, Any], found: Referenced) -> ResolvedEndpoint:
    endpoint = SubModelEndpoint.model_validate(manifest(worker))
    return resolve(endpoint, UID, 1, worker_settings(), found)


def revision(worker: dict[str, Any], found: Referenced) -> str:
    return desired_pool(with_references(worker, found)).revision


def test_all_that_a_manifest_names_is_looked_up_once() -> None:
    endpoint = SubModelEndpoint.model_validate(manifest(WORKER))
    assert references(endpoint.spec.worker) == (CONFIG, KEYS)
    assert references(SubModelEndpoint.model_validate(manifest()).spec.worker) == ()


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ({KEYS: {"a": "1"}, CONFIG: {"b": "2"}}, {KEYS: {"a": "1"}, CONFIG: {"b": "2", "unused": "3"}}, True),
        ({KEYS: {"a": "1"}, CONFIG: {"b": "2"}}, {KEYS: {"a": "9"}, CONFIG: {"b": "2"}}, False),
        ({KEYS: {"a": "1"}, CONFIG: {"b": "2"}}, {KEYS: {"a": "1", "new": "3"}, CONFIG: {"b": "2"}}, False),
        ({KEYS: {"a": "1"}, CONFIG: {"b": "2"}}, {KEYS: {"a": "1"}, CONFIG: None}, False),
        ({KEYS: {"a": "1"}, CONFIG: None}, {KEYS: {"a": "1"}, CONFIG: {"other": "3"}}, True),
    ],
)
def test_what_a_worker_would_read_makes_its_revision(before: Referenced, after: Referenced, same: bool) -> None:
    assert (revision(WORKER, before) == revision(WORKER, after)) is same


@pytest.mark.parametrize(
    ("worker", "found", "words"),
    [
        (WORKER, {KEYS: None, CONFIG: None}, "spec.worker.env[0].valueFrom: there is no Secret keys with"),
        (
            WORKER,
            {KEYS: {"b": "1"}, CONFIG: None},
            "spec.worker.env[0].valueFrom: there is no Secret keys",
        ),
        (WORKER, {KEYS: None, CONFIG: None}, "spec.worker.envFrom[0]: there is no Secret keys in the namespace"),
        (SOURCE, {CODE: {}}, "spec.worker.handler.configMapRef: there is no ConfigMap code with the key"),
    ],
)
def test_what_is_missing_is_named_with_its_place(worker: dict[str, Any], found: Referenced, words: str) -> None:
    with pytest.raises(ReferenceMissing) as missing:
        with_references(worker, found)
    assert words in str(missing.value)


def test_a_source_from_a_config_map_runs_like_an_inline_one() -> None:
    inline = with_references({"handler": {"inline": "pass"}}, {})
    endpoint = with_references(SOURCE, {CODE: {"handler.py": "pass"}})
    assert endpoint.handler_source == inline.handler_source == "pass"
    assert revision(SOURCE, {CODE: {"handler.py": "pass"}}) != revision(SOURCE, {CODE: {"handler.py": "print()"}})


def test_what_cannot_be_looked_up_is_neither_missing_nor_news() -> None:
    assert with_references(WORKER, {}).reference_digest == ""
