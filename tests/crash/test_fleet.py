"""Two gateways, one PostgreSQL, twenty workers: kill -9 of any of them loses, changes and mixes up nothing."""

import os
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import pytest

from tests.crash.fleet import ATTEMPTS_OF, Fleet
from tests.crash.fleet_history import Execution, History, Read, executed_again, stale, violations
from tests.support.postgres import PostgresServer

ENVIRON: Mapping[str, str] = os.environ  # noqa: TID251  # `make fleet` says how many jobs
JOBS = int(ENVIRON.get("FLEET_JOBS", "1000"))
KILLS = max(6, JOBS // 500)


@pytest.mark.slow
@pytest.mark.timeout(3_600)
async def test_killing_gateways_and_workers_loses_no_job_and_changes_no_result(tmp_path: Path) -> None:
    with closing(PostgresServer()) as server:
        url = server.url()
        with Fleet(tmp_path, url, seed=JOBS) as fleet:
            history = await fleet.run(JOBS, KILLS)
        rows = msgspec.convert(server.execute(ATTEMPTS_OF, urlsplit(url).path[1:]), list[tuple[str, int, int | None]])
    print(f"{len(history.submitted)} jobs, {KILLS} kills of each, {executed_again(history)} executed again")  # noqa: T201 # for whoever runs it by hand
    assert violations(history) == stale(rows) == []
    assert len(history.submitted) == JOBS


def one_job(**changes: object) -> History:
    """A job that was submitted, executed and read twice, with something wrong about it."""
    output = {"number": 7, "execution": "x"}
    read = Read("j", "COMPLETED", "w-1", output)
    made = History({"j": 7}, [read, read], [Execution("j", "x", "w-1")])
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_the_checker_is_content_with_a_job_that_went_well() -> None:
    assert violations(one_job()) == []


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        (one_job(reads=[]), "is lost"),
        (one_job(reads=[Read("j", "FAILED", "w-1", None)]), "ended as FAILED"),
        (one_job(submitted={"j": 8}), "has the result of 7"),
        (one_job(executions=[]), "none of its executions"),
        (one_job(executions=[Execution("j", "x", "w-2")]), "its last lease was that of w-1"),
        (
            one_job(reads=[*one_job().reads, Read("j", "COMPLETED", "w-1", {"number": 7, "execution": "y"})]),
            "and later",
        ),
    ],
)
def test_the_checker_finds_what_is_wrong_with_a_history(history: History, sentence: str) -> None:
    assert any(sentence in each for each in violations(history))


def test_the_checker_finds_results_of_leases_that_were_not_the_last() -> None:
    assert stale([("a", 1, 1), ("b", 2, 1)]) == ["b has the result of attempt 1, its last one is 2"]
