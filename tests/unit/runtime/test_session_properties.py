"""A worker's session against a gateway that loses answers, answers late and in any order, and stops jobs."""

import json
from typing import Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from submodel.contract import wire
from submodel.contract.exchange import ExchangeAnswer, ExchangeRequest, JobPolicy, LeasedJob, Refused
from submodel.serverless.dialect import Flow
from submodel.serverless.outcome import Outcome
from submodel.serverless.session import Flight, Kind, Session

CONCURRENCY = 2


class GatewayModel:
    """Leases by the rules of the contract; jobs are named by numbers."""

    def __init__(self) -> None:
        self.stored: dict[int, ExchangeAnswer] = {}
        self.made = 0
        self.queued = 0
        self.leases: dict[str, dict[str, Any]] = {}
        self.chunks: dict[str, list[int]] = {}
        self.results: dict[str, list[int]] = {}
        self.stopped: set[str] = set()
        self.pending_stops: list[str] = []

    def exchange(self, request: ExchangeRequest) -> ExchangeAnswer:
        if request.request not in self.stored:
            self.stored[request.request] = self._answer(request)
        return self.stored[request.request]

    def _answer(self, request: ExchangeRequest) -> ExchangeAnswer:
        refused: dict[str, str] = {}
        for chunks in request.chunks:
            if self._live(chunks.id, chunks.token, refused):
                so_far = self.chunks.setdefault(chunks.id, [])
                assert chunks.seq == len(so_far) + 1, "a gap or a repetition in the stream"
                so_far += [json.loads(bytes(item)) for item in chunks.items]
        for result in request.results:
            if self._live(result.id, result.token, refused):
                assert result.id not in self.results, "a second result"
                assert isinstance(result.output, msgspec.Raw)
                self.results[result.id] = json.loads(bytes(result.output))
                del self.leases[result.id]
        for held in request.released:
            if self._live(held.id, held.token, refused):
                del self.leases[held.id]
                self.queued += 1
        for held in request.running:
            self._live(held.id, held.token, refused)
        listed = {held.id for held in request.running}
        for job_id, lease in self.leases.items():
            known = request.request > lease["request"] and lease["request"] not in request.unanswered
            assert not (known and job_id not in listed), f"{job_id} looks lost"
        stops, self.pending_stops = self.pending_stops, []
        return ExchangeAnswer(jobs=self._hand_out(request), refused=_refusals(refused), stop=stops)

    def _live(self, job_id: str, token: str, refused: dict[str, str]) -> bool:
        lease = self.leases.get(job_id)
        if lease is None or lease["token"] != token:
            refused[job_id] = "stale"
            return False
        return True

    def _hand_out(self, request: ExchangeRequest) -> list[LeasedJob]:
        jobs = []
        for _ in range(min(request.capacity, self.queued)):
            self.queued -= 1
            self.made += 1
            job_id, token = f"j{self.made}", f"t{self.made}"
            self.leases[job_id] = {"token": token, "request": request.request}
            jobs.append(LeasedJob(id=job_id, token=token, input=msgspec.Raw(b"0"), policy=JobPolicy()))
        return jobs

    def stop(self) -> None:
        job_id = next(iter(self.leases))
        del self.leases[job_id]
        self.stopped.add(job_id)
        self.pending_stops.append(job_id)


def _refusals(refused: dict[str, str]) -> list[Refused]:
    return [Refused(id=job_id, reason=reason) for job_id, reason in refused.items()]


class WorkerAndGateway(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.session = Session("s", CONCURRENCY)
        self.session.ready()
        self.gateway = GatewayModel()
        self.flights: list[Flight] = []
        self.answers: list[tuple[Flight, ExchangeAnswer]] = []
        self.waiting: list[LeasedJob] = []
        self.handlers: dict[str, list[int]] = {}
        self.ids: dict[str, str] = {}
        self.leaving = False

    @rule(jobs=st.integers(1, 4))
    def submit(self, jobs: int) -> None:
        self.gateway.queued += jobs

    @rule(seconds=st.sampled_from([0.0, 0.01, 0.1, 16.0]))
    def send(self, seconds: float) -> None:
        self.now += seconds
        step = self.session.next_request(self.now)
        if isinstance(step, Flight):
            self.flights.append(step)

    @precondition(lambda self: self.flights)
    @rule(data=st.data())
    def reach_the_gateway(self, data: st.DataObject) -> None:
        """A request arrives, in any order; it stays under way until its answer is read.

        A TAKE that was cut short is answered here: what it brought is lost to the worker otherwise, and the gateway
        takes it back by its own rules.
        """
        flight = data.draw(st.sampled_from(self.flights))
        request = wire.decode(wire.encode(flight.request), ExchangeRequest)
        answer = self.gateway.exchange(request)
        if data.draw(st.booleans()):
            self.flights.remove(flight)
            self.answers.append((flight, answer))
        elif not flight.must_be_answered and flight.kind is not Kind.TAKE:
            self.flights.remove(flight)
            self.session.dropped(flight)

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def read_an_answer(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from(self.answers))
        self.answers.remove(item)
        news = self.session.answered(*item, self.now)
        assert not (self.leaving and news.jobs)
        self.waiting += news.jobs
        for token in news.stops:
            assert token in self.handlers

    @precondition(lambda self: self.waiting)
    @rule()
    def begin(self) -> None:
        job = self.waiting.pop(0)
        self.ids[job.token] = job.id
        if self.session.begin(job.token):
            self.handlers[job.token] = []

    @precondition(lambda self: self.handlers)
    @rule(data=st.data())
    def stream(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.handlers)))
        sent = self.handlers[token]
        if self.session.add_chunk(token, str(len(sent)).encode())[0] is Flow.ON:
            sent.append(len(sent))

    @precondition(lambda self: self.handlers)
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.handlers)))
        self.session.finish(token, Outcome(json.dumps(self.handlers.pop(token)).encode()), 1)

    @precondition(lambda self: self.gateway.leases)
    @rule()
    def stop_a_job(self) -> None:
        self.gateway.stop()

    @precondition(lambda self: not self.leaving)
    @rule()
    def leave(self) -> None:
        self.leaving = True
        self.session.leave()

    @invariant()
    def no_more_jobs_run_than_fit(self) -> None:
        assert len(self.handlers) <= CONCURRENCY

    @invariant()
    def one_request_of_each_kind(self) -> None:
        kinds = [flight.kind for flight in self.flights] + [flight.kind for flight, _ in self.answers]
        assert len(kinds) == len(set(kinds)) <= len(Kind)

    @invariant()
    def results_follow_all_of_their_chunks(self) -> None:
        for job_id, output in self.gateway.results.items():
            assert self.gateway.chunks.get(job_id, []) == output

    def teardown(self) -> None:
        """Whatever happened: when the network works, every job ends and a leaving worker settles."""
        if not self.leaving:
            self.session.leave()
        for _ in range(60):
            self.now += 16.0
            step = self.session.next_request(self.now)
            if isinstance(step, Flight):
                self.flights.append(step)
            for job in self.waiting:
                assert not self.session.begin(job.token)
            for token in list(self.handlers):
                self.session.finish(token, Outcome(json.dumps(self.handlers.pop(token)).encode()), 1)
            for flight in self.flights:
                self.answers.append((flight, self.gateway.exchange(flight.request)))
            for item in self.answers:
                self.session.answered(*item, self.now)
            self.flights, self.answers = [], []
        assert self.session.settled
        assert not self.gateway.leases
        super().teardown()


TestWorkerAndGateway = WorkerAndGateway.TestCase
TestWorkerAndGateway.settings = settings(max_examples=80, stateful_step_count=60)
