"""What clients and workers of a fleet wrote down, and what is wrong with it. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Execution:
    """A handler ran: `id` is random, so that each output names the execution that it comes from."""

    job: str
    id: str
    worker: str


@dataclass(frozen=True, slots=True)
class Read:
    """A client read a job."""

    job: str
    status: str
    worker: str
    output: Any


@dataclass(slots=True)
class History:
    """Everything in the order in which each client and worker saw it."""

    submitted: dict[str, int] = field(default_factory=dict)
    """Number of each acknowledged job, by its id."""

    reads: list[Read] = field(default_factory=list)
    executions: list[Execution] = field(default_factory=list)


def violations(history: History) -> list[str]:
    """Sentences about what must not be: jobs lost, results changed, results of a lease that was not the last."""
    final: dict[str, Read] = {}
    found: list[str] = []
    for read in history.reads:
        first = final.get(read.job)
        if first is not None and read != first:
            found.append(f"{read.job} was {first} and later {read}")
        elif read.status == "COMPLETED":
            final.setdefault(read.job, read)
        elif read.status not in ("IN_QUEUE", "IN_PROGRESS"):
            found.append(f"{read.job} ended as {read.status}")
    by_id = {execution.id: execution for execution in history.executions}
    for job, number in history.submitted.items():
        found += _of_job(job, number, final.get(job), by_id)
    return found


def executed_again(history: History) -> int:
    """How many executions there were beyond the first of each job."""
    counts = Counter(execution.job for execution in history.executions)
    return sum(counts.values()) - len(counts)


def _of_job(job: str, number: int, read: Read | None, executions: dict[str, Execution]) -> Iterable[str]:
    if read is None:
        yield f"{job} was acknowledged and is lost"
        return
    execution = executions.get(read.output["execution"])
    if read.output["number"] != number:
        yield f"{job} was submitted as {number} and has the result of {read.output['number']}"
    if execution is None or execution.job != job:
        yield f"{job} has a result that none of its executions gave"
    elif execution.worker != read.worker:
        yield f"{job} has the result of {execution.worker}, but its last lease was that of {read.worker}"


def stale(rows: Iterable[tuple[str, int, int | None]]) -> list[str]:
    """Of stored jobs (id, attempt, attempt of the result), those whose result is not that of the last attempt."""
    return [
        f"{job} has the result of attempt {result_attempt}, its last one is {attempt}"
        for job, attempt, result_attempt in rows
        if result_attempt != attempt
    ]
