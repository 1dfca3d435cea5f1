"""`submodel simulate` from its options to its table and picture."""

from pathlib import Path
from xml.etree import ElementTree

from click.testing import CliRunner, Result

from submodel_operator.cli import cli
from submodel_operator.errors import UsageError
from submodel_operator.simulation import report


def simulate(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["simulate", *arguments])


def test_a_table_with_one_line_for_each_policy_and_a_picture_with_a_point(tmp_path: Path) -> None:
    svg = tmp_path / "cost.svg"
    compare = ["--compare", "KEDA", "--compare", "REQUEST_COUNT:1", "--compare", "ADAPTIVE"]
    result = simulate("--workload", "sparse", "--hours", "0.5", *compare, "--cold-start", "60", "--svg", str(svg))
    assert result.exit_code == 0, result.output
    title, header, *lines = result.output.splitlines()
    assert title.startswith("sparse: ")
    assert header.split()[:3] == ["policy", "p50", "s"]
    assert [line.split()[0] for line in lines[:3]] == ["ADAPTIVE", "KEDA", "REQUEST_COUNT:1"]
    assert lines[3].startswith("late: waited longer than 10 s.")
    circles = ElementTree.parse(svg).getroot().findall("{http://www.w3.org/2000/svg}circle")
    assert len(circles) == 3


def test_a_trace_is_read_and_run(tmp_path: Path) -> None:
    trace = tmp_path / "jobs.csv"
    trace.write_text("arrives_at,seconds\n" + "\n".join(f"{second},1" for second in range(20)), encoding="utf-8")
    result = simulate("--trace", str(trace), "--policy", "FIXED-PEAK:2", "--seeds", "2")
    assert result.exit_code == 0, result.output
    assert "jobs.csv: 20 jobs" in result.output


def test_one_source_of_traffic_is_needed() -> None:
    for arguments in ([], ["--workload", "sparse", "--trace", "x.csv"]):
        assert isinstance(simulate(*arguments).exception, UsageError)


def test_all_means_every_kind_of_policy() -> None:
    result = simulate("--workload", "sparse", "--hours", "0.2", "--compare", "all")
    assert result.exit_code == 0, result.output
    assert len(result.output.splitlines()) == 3 + 15
    assert all(len(line.split("  ")) > 3 for line in result.output.splitlines()[2:-1])


def test_a_picture_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    result = simulate("--workload", "sparse", "--hours", "0.1", "--svg", str(tmp_path / "no" / "x.svg"))
    assert isinstance(result.exception, UsageError)
    assert "--svg: cannot write" in str(result.exception)
    assert report.HEADER[0] == "policy"
