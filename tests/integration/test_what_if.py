"""`submodel what-if` on an endpoint that runs, and what it says when it cannot."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from submodel_operator.cli import cli
from tests.integration.test_local_mode import GREETING, call, up, write


def what_if(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["what-if", *arguments])


@pytest.mark.slow
def test_the_jobs_that_an_endpoint_had_are_replayed_under_another_scaling(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("scalerType: REQUEST_COUNT\nscalerValue: 1\nworkersMax: 5\n", encoding="utf-8")
    with up(write(tmp_path, GREETING.format(greeting="hello")), tmp_path) as server:
        url = server.wait_for(r"url\s+(http\S+)")[1]
        early = what_if("--data", str(tmp_path / "data"), "--scaling", str(other))
        assert "look further back with --hours, or try again once some have" in str(early.exception)
        for _ in range(3):
            assert call(f"{url}/runsync?wait=20000", {"input": {}})["status"] == "COMPLETED"
        told = what_if("--data", str(tmp_path / "data"), "--scaling", str(other))
        assert told.exit_code == 0, told
        assert re.search(r"default/local: 3 jobs in [\d.]+ s since ", told.output)
        for row in ("as it was", r"now \(QUEUE_DELAY\), simulated", r"other.yaml \(REQUEST_COUNT\), simulated"):
            assert re.search(rf"^{row} +\d", told.output, re.MULTILINE), told.output
        assert "With other.yaml, 95 % of the jobs would start within" in told.output
        other.write_text("scalerType: NOTHING\n", encoding="utf-8")
        refused = what_if("--data", str(tmp_path / "data"), "--scaling", str(other))
        assert "other.yaml: spec.scaling.scalerType" in str(refused.exception)
        other.write_text("scalerType: [", encoding="utf-8")
        refused = what_if("--data", str(tmp_path / "data"), "--scaling", str(other))
        assert str(refused.exception).count("other.yaml") == 1
        other.write_text("workersMax: 0\n", encoding="utf-8")
        refused = what_if("--data", str(tmp_path / "data"), "--scaling", str(other))
        assert "no job would ever run" in str(refused.exception)
    assert not (tmp_path / "data" / "gateway.json").exists()


def test_without_an_endpoint_a_gateway_or_a_token_it_says_what_to_name(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    assert "name the endpoint" in str(what_if("--scaling", str(other)).exception)
    told = what_if("--data", str(tmp_path), "--scaling", str(other))
    assert "no endpoint runs with" in str(told.exception)
