"""Endpoints in; plan and status out: a folder for each feature, each drift and each fault."""

from pathlib import Path

import pytest
import yaml

from submodel_operator.api.conditions import REMEDIES, Reason
from tests.support.endpoint_schema import schema_problems
from tests.support.golden import assert_golden
from tests.support.golden_cases import outcome

CASES = sorted(Path(__file__).parent.glob("*/*/case.yaml"))
FAULTS = [path for path in CASES if path.parts[-3] == "faults"]


def name(path: Path) -> str:
    return "/".join(path.parts[-3:-1])


@pytest.mark.parametrize("source", CASES, ids=name)
def test_what_becomes_of_an_endpoint_is_as_recorded(source: Path) -> None:
    assert_golden(source.with_name("outcome.yaml"), outcome(source))


@pytest.mark.parametrize("source", CASES, ids=name)
def test_every_case_is_one_that_the_schema_lets_in(source: Path) -> None:
    case = yaml.safe_load(source.read_text(encoding="utf-8"))
    specs = [case["endpoint"]["spec"], *(step["spec"] for step in case["steps"] if "spec" in step)]
    assert [schema_problems({**case["endpoint"], "spec": spec}) for spec in specs] == [[] for _ in specs]


@pytest.mark.parametrize("source", FAULTS, ids=name)
def test_every_fault_is_told_with_its_remedy_and_ends_by_itself_when_its_cause_is_gone(source: Path) -> None:
    steps = [step["status"] for step in yaml.safe_load(outcome(source)) if isinstance(step["status"], dict)]
    conditions = [each for step in steps for each in step.get("conditions", ()) if each["status"] == "False"]
    told = [each for each in conditions if each["reason"] in REMEDIES or each["type"] == "Ready"]
    assert told
    for each in told:
        assert len(each["message"].split()) > 5
        if each["reason"] not in (Reason.INVALID_SPEC, Reason.NAME_CONFLICT):  # whose words name the field, the object
            assert REMEDIES[each["reason"]] in each["message"]
    ready = [each for step in steps for each in step.get("conditions", ()) if each["type"] == "Ready"]
    assert ready[-1]["status"] == "True"
