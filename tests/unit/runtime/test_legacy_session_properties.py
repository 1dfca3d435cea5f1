"""A worker's session against a hosted platform that fails, is late, repeats itself, and stops jobs."""

import json
from urllib.parse import parse_qs, unquote, urlsplit

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from submodel.serverless.dialect import Flow
from submodel.serverless.http_reply import Reply
from submodel.serverless.legacy_calls import Call, Item, Kind
from submodel.serverless.legacy_session import POSTS_MAX, LegacySession
from submodel.serverless.legacy_urls import LegacyUrls
from submodel.serverless.outcome import Outcome

CONCURRENCY = 2
URLS = LegacyUrls(
    take="http://p/job-take/w?x=1",
    done="http://p/done/$ID?x=1",
    stream="http://p/stream/$ID?x=1",
    ping="http://p/ping?",
)
FAULTS = [None, Reply(500, b""), Reply(429, b""), Reply(401, b"")]


class WorkerAndPlatform(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = LegacySession(URLS, CONCURRENCY, "1")
        self.session.ready()
        self.calls: list[Call] = []
        self.made = 0
        self.queue: list[str] = []
        self.handed_out: list[str] = []
        self.stopped: set[str] = set()
        self.waiting: list[tuple[str, str]] = []
        self.handlers: dict[str, str] = {}
        self.sent: dict[str, int] = {}
        self.ran: list[str] = []
        self.streams: dict[str, list[int]] = {}
        self.results: dict[str, int] = {}
        self.leaving = False

    @rule(jobs=st.integers(1, 3))
    def submit(self, jobs: int) -> None:
        for _ in range(jobs):
            self.made += 1
            self.queue.append(f"j{self.made}")

    @rule(seconds=st.sampled_from([0.0, 0.1, 2.0, 30.0]))
    def ask(self, seconds: float) -> None:
        self.now += seconds
        step = self.session.next_call(self.now)
        if isinstance(step, Call):
            self.calls.append(step)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        call = data.draw(st.sampled_from(self.calls))
        fault = data.draw(st.sampled_from([*FAULTS, *[Reply(200, b"")] * 4]))
        self._answer(call, self._served(call) if fault is None or fault.status == 200 else fault, lost=fault is None)

    @precondition(lambda self: self.waiting)
    @rule()
    def begin(self) -> None:
        token, job_id = self.waiting.pop(0)
        if self.session.begin(token):
            self.handlers[token] = job_id
            self.ran.append(job_id)

    @precondition(lambda self: self.handlers)
    @rule(data=st.data())
    def stream(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.handlers)))
        number = self.sent.get(token, 0)
        if self.session.add_chunk(token, str(number).encode())[0] is Flow.ON:
            self.sent[token] = number + 1

    @precondition(lambda self: self.handlers)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.handlers)))
        del self.handlers[token]
        self.session.finish(token, Outcome(str(self.sent.get(token, 0)).encode()), 1)

    @precondition(lambda self: self.handlers)
    @rule()
    def stop_a_job(self) -> None:
        self.stopped.add(next(iter(self.handlers.values())))

    @precondition(lambda self: self.handed_out)
    @rule()
    def hand_out_again(self) -> None:
        """The platform believes that the worker lost the job."""
        if (name := self.handed_out[-1]) not in self.results and name not in self.stopped:
            self.queue.insert(0, name)

    @precondition(lambda self: not self.leaving)
    @rule()
    def leave(self) -> None:
        self.leaving = True
        self.session.leave()

    def _served(self, call: Call) -> Reply:
        if call.kind is Kind.TAKE:
            query = parse_qs(urlsplit(call.url).query)
            size = int(query.get("batch_size", ["1"])[0])
            assert size <= CONCURRENCY
            taken, self.queue = self.queue[:size], self.queue[size:]
            self.handed_out += taken
            return Reply(200, json.dumps([{"id": name, "input": 0} for name in taken]).encode())
        if call.kind is Kind.STOP:
            return Reply(200, json.dumps({"jobsToStop": sorted(self.stopped)}).encode())
        if call.kind is Kind.POST:
            name, output = unquote(urlsplit(call.url).path.rpartition("/")[2]), json.loads(call.body or b"")["output"]
            if call.item is Item.CHUNK:
                self.streams.setdefault(name, []).append(output)
            else:
                self.results.setdefault(name, output)
        return Reply(200, b"{}")

    def _answer(self, call: Call, reply: Reply, lost: bool) -> None:
        """`lost`: the platform did what it was asked, and the answer never came."""
        self.calls.remove(call)
        news = self.session.answered(call, None if lost else reply, self.now, 0.5)
        self.waiting += [(job.token, job.id) for job in news.jobs]
        for token in news.stops:
            assert token in self.handlers

    @invariant()
    def no_more_jobs_run_than_fit(self) -> None:
        assert len(self.handlers) + len(self.waiting) <= CONCURRENCY

    @invariant()
    def a_job_runs_once_at_a_time(self) -> None:
        running = [name for name in self.handlers.values() if name not in self.stopped]
        assert len(running) == len(set(running))

    @invariant()
    def one_question_of_each_kind_and_a_few_posts(self) -> None:
        kinds = [call.kind for call in self.calls]
        assert all(kinds.count(kind) <= (POSTS_MAX if kind is Kind.POST else 1) for kind in Kind)
        posts = [call.token for call in self.calls if call.kind is Kind.POST]
        assert len(posts) == len(set(posts))

    @invariant()
    def chunks_keep_their_order_and_none_is_left_out(self) -> None:
        for name, chunks in self.streams.items():
            if self.ran.count(name) == 1:
                assert sorted(set(chunks)) == list(range(len(set(chunks))))
                assert chunks == sorted(chunks), "a repetition may only follow itself"

    def teardown(self) -> None:
        """Whatever happened: when the platform works, every job that ran has its result, and the worker settles."""
        if not self.leaving:
            self.session.leave()
        for _ in range(400):
            self.now += 5.0
            while isinstance(step := self.session.next_call(self.now), Call):
                self.calls.append(step)
            for call in list(self.calls):
                self._answer(call, self._served(call), lost=False)
            while self.waiting:
                self.begin()
            for token in list(self.handlers):
                del self.handlers[token]
                self.session.finish(token, Outcome(b"0"), 1)
            if self.session.settled:
                break
        assert self.session.settled
        assert set(self.ran) - self.stopped <= set(self.results)


TestWorkerAndPlatform = WorkerAndPlatform.TestCase
TestWorkerAndPlatform.settings = settings(max_examples=100, stateful_step_count=60)
