"""The jobs of a handler's own server: bounds, limits, and what is kept (with a handler that the test plays)."""

import pytest

from submodel.contract.exchange import JobPolicy, LeasedJob
from submodel.contract.states import JobState
from submodel.serverless.dialect import Flow, News
from submodel.serverless.local import desk as desks
from submodel.serverless.local.desk import Closed, Desk
from submodel.serverless.local.jobs import LocalJob
from submodel.serverless.outcome import Outcome

MIB = 2**20


class Played:
    """A desk, and what it told the executor."""

    def __init__(self, concurrency: int = 1) -> None:
        self.jobs: list[LeasedJob] = []
        self.stops: list[str] = []
        self.ended: list[tuple[str, JobState]] = []
        self.desk = Desk(concurrency, lambda job: self.ended.append((job.id, job.state)))

    def hear(self, news: News) -> None:
        self.jobs += news.jobs
        self.stops += news.stops

    def submit(self, policy: JobPolicy | None = None, output_bytes_max: int = MIB) -> str:
        return self.desk.submit({"input": 1}, policy or JobPolicy(), output_bytes_max)

    def state(self, job_id: str) -> JobState | None:
        found: JobState | None = self.desk.read(job_id, lambda job: job.state)
        return found

    def wait(self, job_id: str) -> JobState | None:
        self.desk.wait(job_id, 20, lambda job: job.state.terminal)
        return self.state(job_id)


def opened(concurrency: int = 1) -> Played:
    played = Played(concurrency)
    played.desk.open(played.hear)
    return played


def test_jobs_wait_until_an_executor_is_there_and_then_come_in_their_order() -> None:
    played = Played(concurrency=2)
    ids = [played.submit() for _ in range(3)]
    assert played.jobs == []
    played.desk.open(played.hear)
    assert [job.id for job in played.jobs] == ids[:2]
    assert played.desk.begin(ids[0])
    played.desk.finish(ids[0], Outcome(b"1"), 5)
    assert [job.id for job in played.jobs] == ids
    assert played.ended == [(ids[0], JobState.COMPLETED)]


def test_a_handler_that_blocks_makes_it_one_job_at_a_time() -> None:
    played = opened(concurrency=3)
    assert played.desk.limit(1)
    assert not played.desk.limit(1), "it is no news the second time"
    for _ in range(2):
        played.submit()
    assert len(played.jobs) == 1


def test_a_job_that_is_cancelled_while_it_waits_never_begins() -> None:
    played = opened()
    first, second = played.submit(), played.submit()
    played.desk.stop(second)
    played.desk.finish(first, Outcome(b"1"), 5)
    assert [job.id for job in played.jobs] == [first]


def test_a_job_that_is_cancelled_before_its_first_step_frees_its_place() -> None:
    played = opened()
    first, second = played.submit(), played.submit()
    played.desk.stop(first)
    assert not played.desk.begin(first)
    assert played.stops == [], "no handler runs that could be stopped"
    assert [job.id for job in played.jobs] == [first, second]


def test_what_a_cancelled_job_still_does_is_void() -> None:
    played = opened()
    job_id = played.submit()
    played.desk.begin(job_id)
    played.desk.stop(job_id)
    assert played.stops == [job_id]
    assert played.desk.add_chunk(job_id, b"1") is Flow.END
    played.desk.progress(job_id, 1)
    played.desk.finish(job_id, Outcome(b"1"), 5)
    assert played.state(job_id) is JobState.CANCELLED
    assert played.desk.read(job_id, lambda job: job.output) is None
    assert played.ended == [(job_id, JobState.CANCELLED)]


@pytest.mark.parametrize("begun", [False, True])
def test_a_job_beyond_its_time_has_timed_out(begun: bool) -> None:
    played = opened()
    job_id = played.submit(JobPolicy(execution_timeout_ms=1) if begun else JobPolicy(ttl_ms=1))
    if begun:
        played.desk.begin(job_id)
    assert played.wait(job_id) is JobState.TIMED_OUT
    assert played.desk.counts().failed == 1


def test_an_output_that_the_gateway_would_not_take_fails_the_job() -> None:
    played = opened()
    job_id = played.submit(output_bytes_max=10)
    played.desk.begin(job_id)
    played.desk.finish(job_id, Outcome(b'"12345678901"'), 5)
    assert played.state(job_id) is JobState.FAILED
    assert "upload it and return its URL" in played.desk.read(job_id, LocalJob.status).error


def test_the_oldest_of_those_that_ended_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desks, "KEPT", 2)
    played = opened()
    ids = [played.submit() for _ in range(3)]
    for job_id in ids:
        played.desk.begin(job_id)
        played.desk.finish(job_id, Outcome(b"1"), 5)
    assert [played.state(job_id) for job_id in ids] == [None, JobState.COMPLETED, JobState.COMPLETED]


def test_a_closed_desk_takes_no_more_and_is_idle_when_the_last_job_has_ended() -> None:
    played = opened()
    first, second = played.submit(), played.submit()
    played.desk.close()
    with pytest.raises(Closed):
        played.submit()
    for job_id in (first, second):
        played.desk.begin(job_id)
        played.desk.finish(job_id, Outcome(b"1"), 5)
    played.desk.wait_until_idle()
    assert played.state(second) is JobState.COMPLETED
