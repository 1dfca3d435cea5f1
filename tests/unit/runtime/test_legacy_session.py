"""The worker's side of the hosted platforms' dialect: what it asks, delivers, keeps and gives up."""

import json
from typing import Any

import pytest

from submodel.serverless.dialect import Flow
from submodel.serverless.http_reply import Reply
from submodel.serverless.legacy_calls import Call, Item, Kind
from submodel.serverless.legacy_session import (
    BUSY_SECONDS,
    NO_STOPS_SECONDS,
    TOO_LARGE,
    UNKNOWN_TRIES,
    UNREADABLE,
    LegacySession,
)
from submodel.serverless.legacy_urls import LegacyUrls
from submodel.serverless.outcome import Outcome

URLS = LegacyUrls(
    take="http://p/v2/e/job-take/w?gpu=A",
    done="http://p/v2/e/job-done/w/$ID?gpu=A",
    stream="http://p/v2/e/job-stream/w/$ID?gpu=A",
    ping="http://p/v2/e/ping/w?gpu=A",
    family="runpod",
)
NOTHING = Reply(204, b"")
OK = Reply(200, b"{}")


class Worker:
    """A session, and the requests that it has under way."""

    def __init__(self, concurrency: int = 1, urls: LegacyUrls = URLS) -> None:
        self.session = LegacySession(urls, concurrency, "9.9")
        self.now = 0.0
        self.calls: list[Call] = []
        self.session.ready()
        self.go()

    def go(self, seconds: float = 0.0) -> float:
        """Let time pass and make every request that is due; returns when the next one is."""
        self.now += seconds
        while isinstance(step := self.session.next_call(self.now), Call):
            self.calls.append(step)
        return step

    def call(self, kind: Kind) -> Call:
        return next(call for call in self.calls if call.kind is kind)

    def kinds(self) -> list[Kind]:
        return [call.kind for call in self.calls]

    def answer(self, kind: Kind, reply: Reply | None = OK, after: float = 0.0) -> Any:
        call = self.call(kind)
        self.calls.remove(call)
        self.now += after
        news = self.session.answered(call, reply, self.now, 0.0)
        self.go()
        return news

    def take(self, *jobs: Any) -> list[str]:
        """Have these jobs handed out and begun; their tokens."""
        body = json.dumps(jobs[0] if len(jobs) == 1 else jobs).encode()
        tokens = [job.token for job in self.answer(Kind.TAKE, Reply(200, body)).jobs]
        for token in tokens:
            assert self.session.begin(token)
        return tokens

    def finish(self, token: str, output: Any = 1, error: str | None = None) -> None:
        self.session.finish(token, Outcome(json.dumps(output).encode(), error), 5)
        self.go()


def job(name: Any, **more: Any) -> dict[str, Any]:
    return {"id": name, "input": {}, **more}


def body(call: Call) -> Any:
    assert call.body is not None
    return json.loads(call.body)


# Asking:


def test_a_ready_worker_pings_and_asks_for_a_job() -> None:
    worker = Worker()
    assert worker.call(Kind.PING).url == "http://p/v2/e/ping/w?gpu=A&runpod_version=9.9"
    assert worker.call(Kind.TAKE).url == "http://p/v2/e/job-take/w?gpu=A&job_in_progress=0"


def test_before_it_is_ready_it_says_nothing() -> None:
    assert LegacySession(URLS, 1, "9.9").next_call(0.0) == float("inf")


def test_several_free_slots_are_asked_for_at_once_and_one_alone_by_the_url_for_one() -> None:
    worker = Worker(concurrency=3)
    assert worker.call(Kind.TAKE).url == "http://p/v2/e/job-take-batch/w?gpu=A&batch_size=3&job_in_progress=0"
    worker.take(job("a"), job("b"))
    assert worker.call(Kind.TAKE).url == "http://p/v2/e/job-take/w?gpu=A&job_in_progress=1"


def test_a_full_worker_asks_for_no_more_jobs_but_soon_what_to_stop() -> None:
    worker = Worker()
    worker.take(job("a"))
    assert Kind.TAKE not in worker.kinds()
    assert Kind.STOP not in worker.kinds()
    worker.go(0.06)
    assert worker.call(Kind.STOP).url == "http://p/v2/e/job-stop/w?gpu=A"


def test_pings_list_each_job_until_its_result_is_delivered() -> None:
    worker = Worker(concurrency=2)
    worker.answer(Kind.PING)
    a, _ = worker.take(job("a"), job("b,c"))
    worker.finish(a)
    worker.go(10.0)
    assert worker.call(Kind.PING).url == "http://p/v2/e/ping/w?gpu=A&job_id=a%2Cb%2Cc&runpod_version=9.9"


def test_the_jobs_fields_reach_the_handler_and_odd_ids_become_texts() -> None:
    worker = Worker(concurrency=3)
    text = b'[{"id": 7, "input": {"x": 1}, "webhook": "http://h"}, {"id": "b"}, {"input": 1}, null, {"id": []}]'
    jobs = worker.answer(Kind.TAKE, Reply(200, text)).jobs
    assert [(job.id, bytes(job.input)) for job in jobs] == [("7", b'{"x": 1}'), ("b", b"null")]
    assert {name: bytes(value) for name, value in jobs[0].extra.items()} == {"webhook": b'"http://h"'}


@pytest.mark.parametrize(
    ("policy", "limit_ms"),
    [({"executionTimeout": 7000, "ttl": 1}, 7000), ({"executionTimeout": "soon"}, 0), (None, 0), (3, 0), ({}, 0)],
)
def test_the_limit_that_comes_with_a_job_is_known(policy: object, limit_ms: int) -> None:
    text = json.dumps(job("a", policy=policy)).encode()
    (leased,) = Worker().answer(Kind.TAKE, Reply(200, text)).jobs
    assert leased.policy.execution_timeout_ms == limit_ms
    assert json.loads(bytes(leased.extra["policy"])) == policy


def test_an_input_that_is_no_strict_json_is_read_all_the_same() -> None:
    jobs = Worker().answer(Kind.TAKE, Reply(200, b'{"id": "a", "input": [NaN, 1, "\\ud800"]}')).jobs
    assert json.loads(bytes(jobs[0].input)) == [None, 1, "\ufffd"]


@pytest.mark.parametrize("beside", [b"5", b"null", b"{}", b'"x"', b'{"input": 2}', b'{"id": {}}', b"[]", b"[NaN]"])
def test_a_malformed_element_of_a_batch_costs_none_of_the_jobs_beside_it(beside: bytes) -> None:
    body = b'[{"id": "a", "input": 1}, ' + beside + b', {"id": "b", "input": 2}]'
    assert [job.id for job in Worker().answer(Kind.TAKE, Reply(200, body)).jobs] == ["a", "b"]


@pytest.mark.parametrize("text", [b"", b"null", b"[]", b"<html>", b'"text"', b"{}", b"\xff", b"[1]"])
def test_an_answer_without_a_job_is_followed_by_a_pause(text: bytes) -> None:
    worker = Worker()
    assert worker.answer(Kind.TAKE, Reply(200, text)).jobs == []
    assert Kind.TAKE not in worker.kinds()
    worker.go(2.0)
    assert Kind.TAKE in worker.kinds()


@pytest.mark.parametrize("status", [0, 200, 204, 301, 400, 401, 404, 500, 502])
def test_no_answer_makes_a_hot_loop(status: int) -> None:
    worker = Worker(urls=LegacyUrls(take=URLS.take, done=URLS.done))
    asked = 0
    while worker.now < 100.0:
        if Kind.TAKE in worker.kinds():
            asked += 1
            worker.answer(Kind.TAKE, Reply(status, b"") if status else None)
        worker.now = worker.go()
        worker.go()
    assert 15 <= asked <= 120


def test_a_held_question_is_asked_again_at_once() -> None:
    worker = Worker()
    worker.answer(Kind.TAKE, NOTHING, after=20.0)
    assert Kind.TAKE in worker.kinds()


def test_a_busy_platform_is_left_alone_for_five_seconds() -> None:
    worker = Worker()
    worker.answer(Kind.TAKE, Reply(429, b""))
    worker.go(BUSY_SECONDS - 0.01)
    assert Kind.TAKE not in worker.kinds()
    worker.go(0.02)
    assert Kind.TAKE in worker.kinds()


def test_a_job_that_comes_again_while_it_is_here_is_not_run_twice() -> None:
    worker = Worker(concurrency=2)
    (token,) = worker.take(job("a"))
    assert worker.take(job("a")) == []
    worker.finish(token)
    worker.answer(Kind.POST)
    worker.go(1.0)
    assert len(worker.take(job("a"))) == 1, "once it was delivered, the platform knows what it does"


# Delivering:


def test_progress_chunks_and_the_result_are_posted_one_after_the_other() -> None:
    worker = Worker()
    (token,) = worker.take(job("a/1"))
    worker.session.set_progress("a/1", b"1")
    worker.session.set_progress("a/1", b"50")
    worker.session.add_chunk(token, b'"x"')
    worker.session.add_chunk(token, b'"y"')
    posts = []
    worker.go()
    for _ in range(2):
        posts.append(worker.call(Kind.POST))
        worker.answer(Kind.POST)
    worker.session.finish(token, Outcome(b"[]", streamed=True), 5)
    worker.go()
    for _ in range(2):
        posts.append(worker.call(Kind.POST))
        worker.answer(Kind.POST)
    assert [(call.url, body(call)) for call in posts] == [
        ("http://p/v2/e/job-done/w/a%2F1?gpu=A&isStream=false", {"status": "IN_PROGRESS", "output": 50}),
        ("http://p/v2/e/job-stream/w/a%2F1?gpu=A&isStream=false", {"output": "x"}),
        ("http://p/v2/e/job-stream/w/a%2F1?gpu=A&isStream=false", {"output": "y"}),
        ("http://p/v2/e/job-done/w/a%2F1?gpu=A&isStream=true", {"output": []}),
    ]
    assert Kind.POST not in worker.kinds()


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(b"null"), {"output": None}),
        (Outcome(), {}),
        (Outcome(error="e"), {"error": "e"}),
        (Outcome(b"[1]", "e"), {"output": [1], "error": "e"}),
    ],
)
def test_an_outcome_has_the_shape_that_the_platform_knows(outcome: Outcome, expected: object) -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.session.finish(token, outcome, 5)
    worker.go()
    assert body(worker.call(Kind.POST)) == expected


@pytest.mark.parametrize("status", [0, 301, 401, 403, 408, 429, 500, 503])
def test_a_result_is_posted_until_it_is_taken(status: int) -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.finish(token)
    for _ in range(50):
        worker.answer(Kind.POST, Reply(status, b"") if status else None)
        assert Kind.POST not in worker.kinds(), "not without a pause"
        worker.go(5.0)
    worker.answer(Kind.POST)
    assert not worker.session.congested
    assert worker.go(60.0) > worker.now
    assert Kind.POST not in worker.kinds()


def test_a_result_that_cannot_be_delivered_keeps_its_slot() -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.finish(token)
    assert worker.call(Kind.TAKE).url.endswith("job_in_progress=1"), "the next one is fetched meanwhile"
    worker.answer(Kind.POST, None)
    worker.answer(Kind.TAKE, NOTHING, after=20.0)
    assert Kind.TAKE not in worker.kinds()


@pytest.mark.parametrize(("status", "sentence"), [(413, TOO_LARGE), (400, UNREADABLE), (422, UNREADABLE)])
def test_a_result_that_the_platform_cannot_take_is_replaced_by_a_sentence(status: int, sentence: str) -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.finish(token)
    worker.answer(Kind.POST, Reply(status, b""))
    assert body(worker.call(Kind.POST)) == {"error": sentence}
    worker.answer(Kind.POST, Reply(status, b""))
    worker.go(60.0)
    assert Kind.POST not in worker.kinds(), "and given up when not even that is taken"


def test_a_chunk_that_the_platform_cannot_take_fails_its_job_and_stops_the_handler() -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.session.add_chunk(token, b"1")
    worker.go()
    assert worker.answer(Kind.POST, Reply(413, b"")).stops == [token]
    assert worker.session.add_chunk(token, b"2") == (Flow.END, False)
    assert body(worker.call(Kind.POST)) == {"error": TOO_LARGE}
    worker.finish(token, "what the handler returned all the same")
    worker.answer(Kind.POST, None)
    worker.go(5.0)
    assert body(worker.call(Kind.POST)) == {"error": TOO_LARGE}


@pytest.mark.parametrize("status", [404, 409, 410])
def test_a_job_that_the_platform_does_not_know_is_dropped_after_a_while(status: int) -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.finish(token)
    for _ in range(UNKNOWN_TRIES):
        worker.answer(Kind.POST, Reply(status, b""))
        worker.go(5.0)
    assert Kind.POST not in worker.kinds()
    worker.session.leave()
    worker.answer(Kind.TAKE, NOTHING)
    assert worker.session.settled


def test_a_stream_that_nobody_knows_stops_its_handler() -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.session.add_chunk(token, b"1")
    worker.go()
    stops: list[str] = []
    for _ in range(UNKNOWN_TRIES):
        stops += worker.answer(Kind.POST, Reply(404, b"")).stops
        worker.go(5.0)
    assert stops == [token]


def test_posts_of_several_jobs_are_under_way_at_once_and_one_of_each() -> None:
    worker = Worker(concurrency=6)
    tokens = worker.take(*(job(f"j{number}") for number in range(6)))
    for token in tokens:
        worker.session.add_chunk(token, b"1")
        worker.session.add_chunk(token, b"2")
    worker.go()
    assert worker.kinds().count(Kind.POST) == 4
    assert len({call.job_id for call in worker.calls if call.kind is Kind.POST}) == 4


def test_progress_that_is_not_taken_is_not_repeated() -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.session.set_progress("a", b"1")
    worker.go()
    worker.answer(Kind.POST, None)
    worker.finish(token)
    assert worker.call(Kind.POST).item is Item.RESULT


def test_generators_pause_while_too_much_waits() -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    for _ in range(9):
        worker.session.add_chunk(token, b"x" * 1024 * 1024)
    assert worker.session.congested
    worker.go()
    for _ in range(9):
        worker.answer(Kind.POST)
    assert not worker.session.congested


def test_without_a_place_for_chunks_they_are_left_out() -> None:
    worker = Worker(urls=LegacyUrls(take=URLS.take, done=URLS.done))
    (token,) = worker.take(job("a"))
    assert worker.session.add_chunk(token, b"1") == (Flow.ON, True)
    worker.go()
    assert Kind.POST not in worker.kinds()


# Stopping:


def stop(*names: str) -> Reply:
    return Reply(200, json.dumps({"jobsToStop": names}).encode())


def test_a_job_to_be_stopped_is_stopped_and_nothing_of_it_is_posted() -> None:
    worker = Worker()
    (token,) = worker.take(job("a"))
    worker.go(0.06)
    assert worker.answer(Kind.STOP, stop("a", "other")).stops == [token]
    worker.finish(token)
    assert Kind.POST not in worker.kinds()
    assert worker.call(Kind.TAKE).url.endswith("job_in_progress=0")


def test_a_job_that_has_not_begun_is_not_run() -> None:
    worker = Worker()
    (leased,) = worker.answer(Kind.TAKE, Reply(200, json.dumps(job("a")).encode())).jobs
    worker.go(0.06)
    assert worker.answer(Kind.STOP, stop("a")).stops == []
    assert not worker.session.begin(leased.token)


def test_a_stopped_job_that_goes_on_is_listed_so_that_the_platform_can_see_it() -> None:
    worker = Worker()
    worker.answer(Kind.PING)
    worker.take(job("a"))
    worker.go(0.06)
    worker.answer(Kind.STOP, stop("a"))
    worker.go(10.0)
    assert "job_id=a&" in worker.call(Kind.PING).url


def test_a_platform_without_a_stop_channel_is_seldom_asked() -> None:
    worker = Worker()
    worker.take(job("a"))
    worker.go(0.06)
    worker.answer(Kind.STOP, Reply(404, b""))
    worker.go(NO_STOPS_SECONDS - 1)
    assert Kind.STOP not in worker.kinds()
    worker.go(2)
    assert Kind.STOP in worker.kinds()


@pytest.mark.parametrize("text", [b"null", b"[]", b"{", b'{"jobsToStop": "a"}', b'{"jobsToStop": [1, null]}'])
def test_an_odd_answer_to_the_question_what_to_stop_stops_nothing(text: bytes) -> None:
    worker = Worker()
    worker.take(job("a"))
    worker.go(0.06)
    assert worker.answer(Kind.STOP, Reply(200, text)).stops == []


# Leaving:


def test_a_worker_that_leaves_asks_for_no_more_and_settles_when_all_is_delivered() -> None:
    worker = Worker(concurrency=2)
    (token,) = worker.take(job("a"))
    worker.session.leave()
    worker.answer(Kind.TAKE, NOTHING)
    assert Kind.TAKE not in worker.kinds()
    worker.finish(token)
    assert not worker.session.settled
    worker.answer(Kind.POST)
    assert worker.session.settled


def test_a_job_that_came_while_the_worker_was_told_to_leave_is_run() -> None:
    worker = Worker()
    worker.session.leave()
    (token,) = worker.take(job("late"))
    worker.finish(token)
    worker.answer(Kind.POST)
    assert worker.session.settled


def test_a_worker_that_cannot_serve_says_so_once() -> None:
    session = LegacySession(URLS, 1, "9.9")
    session.fail("gpu: " + "x" * 300 + " the GPU is lost")
    call = session.next_call(0.0)
    assert isinstance(call, Call)
    assert "status=unhealthy&check=gpu&reason=" in call.url
    assert "the%20GPU%20is%20lost&runpod_version=9.9" in call.url
    settled = [session.settled]
    session.answered(call, None, 1.0, 0.0)
    assert [*settled, session.settled] == [False, True]
    assert session.next_call(2.0) == float("inf")


def test_a_worker_that_can_tell_nobody_that_it_cannot_serve_does_not_wait() -> None:
    session = LegacySession(LegacyUrls(take=URLS.take, done=URLS.done), 1, "9.9")
    session.fail("no weights")
    assert session.settled
