"""Readers of traces: each format by its columns, and what is said of files that are none."""

import json
from pathlib import Path

import pytest

from submodel_operator.errors import UsageError
from submodel_operator.simulation.traces import read
from submodel_operator.simulation.workloads import Job


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_our_own_table(tmp_path: Path) -> None:
    trace = read(written(tmp_path / "jobs.csv", "arrives_at,seconds\n12.5,2\n10,1.5\n"))
    assert trace.jobs == (Job(0.0, 1.5), Job(2.5, 2.0))
    assert (trace.name, trace.seconds) == ("jobs.csv", 3.5)


def test_an_observation_ends_when_it_is_told_to(tmp_path: Path) -> None:
    path = written(tmp_path / "jobs.csv", "arrives_at,seconds\n0,1\n5,1\n10,1\n")
    assert len(read(path, seconds=10.0).jobs) == 2


def test_azure_2021_tells_ends_and_durations(tmp_path: Path) -> None:
    rows = "app,func,end_timestamp,duration\na1,f1,100.5,0.5\na2,f2,90,1\na1,f3,103,2\n"
    trace = read(written(tmp_path / "azure.csv", rows), function="a1")
    assert trace.jobs == (Job(0.0, 0.5), Job(1.0, 2.0))


def test_azure_2019_tells_numbers_per_minute(tmp_path: Path) -> None:
    minutes = ",".join(str(minute) for minute in range(1, 1441))
    counts = ",".join(["3", "0", "2", *["0"] * 1437])
    rows = f"HashOwner,HashApp,HashFunction,Trigger,{minutes}\no,a,f,http,{counts}\no,a,g,http,{counts}\n"
    trace = read(written(tmp_path / "azure.csv", rows), function="f", duration_seconds=2.5)
    assert len(trace.jobs) == 5
    assert {job.seconds for job in trace.jobs} == {2.5}
    assert sum(job.arrives_at < 60 for job in trace.jobs) == 3


def test_huawei_tells_instants_and_costs(tmp_path: Path) -> None:
    columns = "time_worker,time_frontend,requestID,funcName,totalCost_worker,runtimeCost"
    rows = f"{columns}\n5,5.1,x,296,0.03,0.02\n6,6,y,29,1,1\n"
    assert read(written(tmp_path / "huawei.csv", rows), function="296").jobs == (Job(0.0, 0.02),)


def test_ibm_tells_lists_in_lines_of_json(tmp_path: Path) -> None:
    lines = [
        {"AppHash": "a", "InvocationTimes": [10.0, 11.0], "AppExecTimes": [500, 250]},
        {"AppHash": "b", "InvocationTimes": [10.5], "AppExecTimes": [1000]},
    ]
    path = written(tmp_path / "ibm.jsonl", "\n".join(map(json.dumps, lines)))
    assert read(path).jobs == (Job(0.0, 0.5), Job(0.5, 1.0), Job(1.0, 0.25))
    assert read(path, function="b").jobs == (Job(0.0, 1.0),)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n1,2\n", "has the columns a, b; write a table with the columns arrives_at and seconds"),
        ("", "has the columns of no table"),
        ("arrives_at,seconds\n", "holds no job"),
        ("arrives_at,seconds\nsoon,1\n", "is damaged"),
        ('{"AppHash": "a", "InvocationTimes": [1, 2], "AppExecTimes": [1]}', "is damaged"),
        ('{"AppHash": ', "is damaged"),
        ("\udcff".encode("utf-8", "surrogateescape").decode("latin-1") + "arrives_at\n", "has the columns"),
    ],
)
def test_a_file_that_is_no_trace_is_named_with_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        read(written(tmp_path / "trace", text))


def test_a_function_that_is_not_there_and_a_missing_file_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "azure.csv", "app,func,end_timestamp,duration\na,f,1,1\n")
    with pytest.raises(UsageError, match="no job of a function with 'zzz' in its name"):
        read(path, function="zzz")
    with pytest.raises(UsageError, match="cannot read"):
        read(tmp_path / "missing.csv")
