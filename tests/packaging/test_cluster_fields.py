"""Every field of the spec is seen to take effect on a real cluster, by the test that `fields.toml` names."""

import re
import tomllib
from pathlib import Path

from tests.packaging.test_examples import fields
from tests.support.endpoint_schema import openapi_schema

FOLDER = Path(__file__).parents[1] / "cluster"
SEEN: dict[str, dict[str, list[str]]] = tomllib.loads((FOLDER / "fields.toml").read_text(encoding="utf-8"))


def test_every_field_of_the_spec_has_a_test_on_a_real_cluster() -> None:
    spec = openapi_schema()["properties"]["spec"]
    there = {path.removeprefix("spec.") for path in fields(spec, "spec")}
    named = [field for tests in SEEN.values() for below in tests.values() for field in below]
    assert sorted(named) == sorted(there)


def test_the_tests_of_fields_are_there_and_speak_of_them() -> None:
    for file, tests in SEEN.items():
        text = (FOLDER / f"{file}.py").read_text(encoding="utf-8")
        for test, below in tests.items():
            assert f"def {test}(" in text
            missing = [field for field in below if not re.search(rf"\b{field.rpartition('.')[2]}\b", text)]
            assert not missing, f"{file}.py does not set them"
