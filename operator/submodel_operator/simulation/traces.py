"""Jobs as they came somewhere: our own file, and the formats of the public traces, recognised by their columns.

| Source | Columns that are read |
|---|---|
| ours | `arrives_at,seconds` |
| Azure Functions 2021 | `app,func,end_timestamp,duration`, in seconds |
| Azure Functions 2019 | `HashApp,HashFunction,1,…,1440`, invocations per minute; durations come from the caller |
| Huawei 2025, requests | `time_frontend` or `time_worker`, `funcName`, `runtimeCost` or `totalCost_worker`: seconds |
| IBM Code Engine 2026 | lines of JSON: `AppHash`, `InvocationTimes` in seconds, `AppExecTimes` in milliseconds |

The last is published as pickled tables, which run whatever code is in them: `to_json(orient="records", lines=True)` of
a table that you trust makes the lines.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any, Final

from submodel_operator.errors import UsageError
from submodel_operator.simulation.workloads import Job, Workload

MINUTES_OF_A_DAY: Final = 1440
JOBS_MAX: Final = 2_000_000
"""More do not fit into a memory; a trace holds millions of functions, of which one is wanted."""

Row = Mapping[str, str]


def read(path: Path, function: str = "", duration_seconds: float = 1.0, seconds: float | None = None) -> Workload:
    """The jobs of one function of a trace, moved so that the first comes at once.

    Args:
        function: part of the app's or function's name; empty takes all rows.
        duration_seconds: how long a job runs, where the trace does not say it.
        seconds: length of the observation; later jobs are left out.

    Raises:
        UsageError: the file cannot be read, has no known columns, or holds no such job.
    """
    try:
        jobs = sorted(_jobs(path, function, duration_seconds))
    except OSError as error:
        raise UsageError(f"--trace: cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, ValueError, LookupError, TypeError, csv.Error) as error:
        raise UsageError(f"--trace: {path} is damaged: {error}") from error
    if not jobs:
        wanted = f" of a function with {function!r} in its name" if function else ""
        raise UsageError(f"--trace: {path} holds no job{wanted}")
    first = jobs[0].arrives_at
    length = jobs[-1].arrives_at - first + 1.0 if seconds is None else seconds
    kept = tuple(Job(job.arrives_at - first, job.seconds) for job in jobs if job.arrives_at - first < length)
    return Workload(path.name, kept, length)


def _jobs(path: Path, function: str, duration_seconds: float) -> Iterator[Job]:
    with path.open(encoding="utf-8", newline="") as file:
        begins = file.read(1)
        file.seek(0)
        found = _from_lines(file, function) if begins == "{" else _from_table(file, path, function, duration_seconds)
        for number, job in enumerate(found):
            if number >= JOBS_MAX:
                raise UsageError(f"--trace: {path} holds more than {JOBS_MAX:,} jobs; choose one with --function")
            if job.seconds >= 0:
                yield job


def _from_table(file: Iterable[str], path: Path, function: str, duration_seconds: float) -> Iterator[Job]:
    rows = csv.DictReader(file)
    columns = set(rows.fieldnames or ())
    if {"arrives_at", "seconds"} <= columns:
        return (Job(float(row["arrives_at"]), float(row["seconds"])) for row in rows)
    if {"end_timestamp", "duration"} <= columns:
        return _azure_2021(rows, function)
    if {"HashFunction", "1", str(MINUTES_OF_A_DAY)} <= columns:
        return _azure_2019(rows, function, duration_seconds)
    if columns & {"time_frontend", "time_worker"} and columns & {"runtimeCost", "totalCost_worker"}:
        return _huawei(rows, function)
    raise UsageError(
        f"--trace: {path} has the columns {', '.join(sorted(columns)[:8]) or 'of no table'}; "
        "write a table with the columns arrives_at and seconds, or use one of the named formats"
    )


def _azure_2021(rows: Iterable[Row], function: str) -> Iterator[Job]:
    for row in rows:
        if function in row["app"] or function in row["func"]:
            duration = float(row["duration"])
            yield Job(float(row["end_timestamp"]) - duration, duration)


def _azure_2019(rows: Iterable[Row], function: str, duration_seconds: float) -> Iterator[Job]:
    """A minute's invocations come at instants of chance within it: the trace holds only their number."""
    for row in rows:
        if function not in row.get("HashApp", "") and function not in row["HashFunction"]:
            continue
        chance = Random(row["HashFunction"])
        for minute in range(MINUTES_OF_A_DAY):
            for _ in range(int(row[str(minute + 1)] or 0)):
                yield Job(60.0 * (minute + chance.random()), duration_seconds)


def _huawei(rows: Iterable[Row], function: str) -> Iterator[Job]:
    for row in rows:
        if not function or function == row.get("funcName"):
            at, cost = row.get("time_frontend") or row.get("time_worker"), row.get("runtimeCost")
            if at and (cost or row.get("totalCost_worker")):
                yield Job(float(at), float(cost or row["totalCost_worker"]))


def _from_lines(file: Iterable[str], function: str) -> Iterator[Job]:
    for line in file:
        row: dict[str, Any] = json.loads(line)
        if function in row.get("AppHash", ""):
            for at, milliseconds in zip(row["InvocationTimes"], row["AppExecTimes"], strict=True):
                yield Job(float(at), float(milliseconds) / 1000)
