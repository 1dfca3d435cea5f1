"""What a worker says next, and what answers mean (pure; instants are made up)."""

import math
from typing import Any

import msgspec
import pytest

from submodel.contract.exchange import ExchangeAnswer, JobPolicy, LeasedJob, Refused
from submodel.contract.states import WorkerPhase
from submodel.serverless.dialect import Flow
from submodel.serverless.outcome import Outcome
from submodel.serverless.session import (
    BATCH_BYTES,
    CONGESTED_BYTES,
    FORSAKEN_SECONDS,
    REQUEST_BYTES,
    TAKE_AFTER_SECONDS,
    Flight,
    Kind,
    Session,
)


def job(job_id: str, token: str = "1-n") -> LeasedJob:
    return LeasedJob(id=job_id, token=token, input=msgspec.Raw(b"null"), policy=JobPolicy())


def ready(concurrency: int = 1) -> Session:
    session = Session("s", concurrency)
    session.ready()
    return session


def flight(session: Session, now: float, kind: Kind) -> Flight:
    step = session.next_request(now)
    assert isinstance(step, Flight)
    assert step.kind is kind
    return step


def pause(session: Session, now: float) -> float:
    step = session.next_request(now)
    assert isinstance(step, float)
    return step


def answer(session: Session, under_way: Flight, now: float = 0.0, **fields: Any) -> list[str]:
    return session.answered(under_way, ExchangeAnswer(**fields), now).stops


def settled(session: Session) -> bool:
    return session.settled


def congested(session: Session) -> bool:
    return session.congested


def running(session: Session, *job_ids: str, now: float = 0.0) -> None:
    """Take jobs, begin them, and let the session notice at `now` when that made it full."""
    taken = flight(session, now, Kind.TAKE)
    answer(session, taken, now, jobs=[job(job_id, f"t-{job_id}") for job_id in job_ids])
    for job_id in job_ids:
        assert session.begin(f"t-{job_id}")
    if len(job_ids) == session.concurrency:
        pause(session, now)


def test_the_first_word_of_a_starting_worker_asks_for_nothing() -> None:
    session = Session("s", 1)
    first = flight(session, 0.0, Kind.FLUSH)
    assert (first.request.phase, first.request.capacity, first.request.wait_ms) == (WorkerPhase.STARTING, 0, 0)
    answer(session, first)
    assert pause(session, 0.0) == 11.25, "it is heard of four times per lease while it starts"


def test_a_ready_worker_holds_one_request_and_offers_its_slots_once() -> None:
    session = ready(3)
    take = flight(session, 0.0, Kind.TAKE)
    assert (take.request.phase, take.request.capacity, take.request.wait_ms) == (WorkerPhase.READY, 3, 11_250)
    assert pause(session, 0.0) == math.inf


def test_another_concurrency_counts_from_the_next_call_for_jobs() -> None:
    session = ready(1)
    take = flight(session, 0.0, Kind.TAKE)
    session.set_concurrency(3)
    assert pause(session, 0.0) == math.inf, "what was offered stays offered"
    answer(session, take, jobs=[job("a", "t-a")])
    assert flight(session, TAKE_AFTER_SECONDS, Kind.TAKE).request.capacity == 2


def test_fewer_jobs_at_once_stop_none_that_runs() -> None:
    session = ready(2)
    running(session, "a", "b")
    session.set_concurrency(1)
    session.finish("t-a", Outcome(b"1"), 1)
    assert flight(session, 0.0, Kind.FLUSH).request.capacity == 0


def test_a_blocking_handler_runs_one_job_at_a_time_whatever_is_wished() -> None:
    session = ready(3)
    session.limit(1)
    session.set_concurrency(5)
    assert flight(session, 0.0, Kind.TAKE).request.capacity == 1


def test_the_result_of_a_short_job_travels_with_the_call_for_the_next() -> None:
    session = ready()
    running(session, "a")
    session.finish("t-a", Outcome(b"1"), 5)
    take = flight(session, 0.001, Kind.TAKE)
    assert [(result.id, result.execution_ms) for result in take.request.results] == [("a", 5)]
    assert take.request.capacity == 1
    assert take.request.running == [], "the request that ends a lease does not renew it"


def test_where_more_jobs_fit_the_next_call_waits_a_moment_for_the_first_result() -> None:
    session = ready(3)
    running(session, "a", "b")
    assert pause(session, 0.0) == TAKE_AFTER_SECONDS
    session.finish("t-a", Outcome(b"1"), 1)
    take = flight(session, 0.0, Kind.TAKE)
    assert [result.id for result in take.request.results] == ["a"]
    assert take.request.capacity == 2
    answer(session, take, 0.5, jobs=[job("c", "t-c")])
    assert flight(session, 0.5 + TAKE_AFTER_SECONDS, Kind.TAKE).request.capacity == 1


def test_a_full_worker_listens_for_stops_after_a_moment() -> None:
    session = ready()
    running(session, "a")
    listen_at = pause(session, 0.0)
    assert listen_at == 0.05
    listen = flight(session, listen_at, Kind.LISTEN)
    assert (listen.request.capacity, listen.request.running[0].id) == (0, "a")
    assert answer(session, listen, stop=["a"]) == ["t-a"]


def test_a_long_job_is_heard_of_four_times_per_lease() -> None:
    session = ready()
    running(session, "a")
    flight(session, 0.05, Kind.LISTEN)
    assert pause(session, 0.05) == 11.3
    assert flight(session, 11.3, Kind.FLUSH).request.running[0].token == "t-a"


def test_the_lease_time_of_the_gateway_sets_the_heartbeat() -> None:
    session = ready(2)
    take = flight(session, 0.0, Kind.TAKE)
    answer(session, take, jobs=[job("a")], lease_ms=3000)
    assert flight(session, 0.25, Kind.TAKE).request.wait_ms == 750
    assert pause(session, 0.25) == 1.0


def test_a_result_is_kept_and_its_lease_renewed_until_it_is_acknowledged() -> None:
    session = ready(2)
    running(session, "a")
    flight(session, 0.5, Kind.TAKE)
    session.finish("t-a", Outcome(b"1"), 1)
    carrier = flight(session, 0.5, Kind.FLUSH)
    assert len(carrier.request.results) == 1
    assert carrier.request.unanswered == [2]
    answer(session, carrier)
    assert pause(session, 1.0) == math.inf, "nothing is left to say"


def test_a_minute_without_a_gateway_loses_nothing() -> None:
    session = ready(1)
    running(session, "a")
    session.add_chunk("t-a", b"1")
    unheard = flight(session, 0.0, Kind.FLUSH)
    session.add_chunk("t-a", b"2")
    session.finish("t-a", Outcome(b"[]"), 1)
    assert not session.give_up()
    for now in (15.0, 30.0, 60.0):
        step = session.next_request(now)
        assert not isinstance(step, Flight) or not step.cargo, "the request under way is repeated, in its order"
    answer(session, unheard, 60.0)
    rest = flight(session, 60.0, Kind.FLUSH).request
    assert [(chunks.seq, [bytes(item) for item in chunks.items]) for chunks in rest.chunks] == [(2, [b"2"])]
    assert [result.token for result in rest.results] == ["t-a"]


def test_a_lease_stays_in_the_list_while_another_request_carries_its_result() -> None:
    session = ready()
    running(session, "a")
    flight(session, 0.05, Kind.LISTEN)
    session.finish("t-a", Outcome(b"1"), 1)
    take = flight(session, 0.1, Kind.TAKE)
    assert (len(take.request.results), take.request.unanswered) == (1, [2])
    heartbeat = flight(session, 15.1, Kind.FLUSH)
    assert [held.token for held in heartbeat.request.running] == ["t-a"]
    assert heartbeat.request.results == []
    assert answer(session, heartbeat, refused=[Refused(id="a", reason="stale")]) == [], "the other one ended it"
    answer(session, take)
    assert session.next_request(16.0) != heartbeat


def test_a_quiet_line_sends_a_chunk_at_once_and_a_busy_one_batches() -> None:
    session = ready()
    running(session, "a")
    session.add_chunk("t-a", b"1")
    first = flight(session, 0.01, Kind.FLUSH)
    session.add_chunk("t-a", b"2")
    answer(session, first)
    session.add_chunk("t-a", b"3")
    assert pause(session, 0.012) == 0.02
    second = flight(session, 0.02, Kind.FLUSH)
    assert [(chunks.seq, [*map(bytes, chunks.items)]) for chunks in second.request.chunks] == [(2, [b"2", b"3"])]


def test_only_an_item_that_may_be_sent_earlier_than_planned_wakes_a_thread() -> None:
    session = ready()
    running(session, "a")
    assert [session.add_chunk("t-a", b"1") for _ in range(3)] == [(Flow.ON, True), (Flow.ON, False), (Flow.ON, False)]
    assert session.add_chunk("t-a", b"x" * BATCH_BYTES) == (Flow.ON, True)
    under_way = flight(session, 0.01, Kind.FLUSH)
    assert session.add_chunk("t-a", b"2") == (Flow.ON, False)
    answer(session, under_way)
    answer(session, flight(session, 0.02, Kind.FLUSH))
    assert session.add_chunk("t-a", b"3") == (Flow.ON, True)


def test_much_data_does_not_wait_for_the_batch() -> None:
    session = ready()
    running(session, "a")
    session.add_chunk("t-a", b"1")
    answer(session, flight(session, 0.01, Kind.FLUSH))
    session.add_chunk("t-a", b'"' + b"x" * 70_000 + b'"')
    flight(session, 0.011, Kind.FLUSH)


def test_chunks_of_a_running_job_never_ride_on_a_held_request() -> None:
    session = ready(2)
    running(session, "a")
    session.add_chunk("t-a", b"1")
    take = flight(session, TAKE_AFTER_SECONDS, Kind.TAKE)
    assert take.request.chunks == []
    assert flight(session, TAKE_AFTER_SECONDS, Kind.FLUSH).request.chunks[0].seq == 1


def test_a_result_waits_for_the_chunks_before_it() -> None:
    session = ready()
    running(session, "a")
    session.add_chunk("t-a", b"1")
    carrier = flight(session, 0.01, Kind.FLUSH)
    session.finish("t-a", Outcome(b"[]"), 1)
    assert flight(session, 0.02, Kind.TAKE).request.results == []
    answer(session, carrier)
    assert flight(session, 0.03, Kind.FLUSH).request.results[0].id == "a"


def test_the_newest_progress_wins() -> None:
    session = ready()
    running(session, "a")
    session.set_progress("a", b"1")
    first = flight(session, 0.01, Kind.FLUSH)
    session.set_progress("a", b"2")
    answer(session, first)
    second = flight(session, 0.03, Kind.FLUSH)
    assert [bytes(progress.value) for progress in second.request.progress] == [b"2"]
    answer(session, second)
    assert pause(session, 0.04) == 0.05, "nothing but the LISTEN is due"


def test_a_stale_lease_is_stopped_and_its_result_dropped() -> None:
    session = ready()
    running(session, "a")
    listen = flight(session, 0.05, Kind.LISTEN)
    assert answer(session, listen, refused=[Refused(id="a", reason="stale")]) == ["t-a"]
    assert session.add_chunk("t-a", b"1") == (Flow.END, False)
    assert flight(session, 0.05, Kind.LISTEN).request.running == [], "its slot is taken until the handler returns"
    session.finish("t-a", Outcome(b"1"), 1)
    take = flight(session, 0.2, Kind.TAKE)
    assert (take.request.results, take.request.running, take.request.capacity) == ([], [], 1)


def test_a_job_stopped_before_it_began_never_begins() -> None:
    session = ready(2)
    take = flight(session, 0.0, Kind.TAKE)
    answer(session, take, jobs=[job("a")])
    assert answer(session, flight(session, TAKE_AFTER_SECONDS, Kind.TAKE), stop=["a"]) == []
    assert not session.begin("1-n")


def test_a_stop_of_a_lease_spares_a_later_lease_of_the_same_job() -> None:
    session = ready()
    running(session, "a")
    listen = flight(session, 0.05, Kind.LISTEN)
    session.finish("t-a", Outcome(b"1"), 1)
    take = flight(session, 0.1, Kind.TAKE)
    answer(session, take, 0.1, jobs=[job("a", "second")], refused=[Refused(id="a", reason="stale")])
    assert session.begin("second")
    assert answer(session, listen, 0.1, stop=["a"], stop_tokens=["t-a"]) == []
    assert session.add_chunk("second", b"1") == (Flow.ON, True)


def test_a_refusal_of_an_old_lease_spares_a_later_lease_of_the_same_job() -> None:
    session = ready(2)
    running(session, "a")
    answer(session, flight(session, 0.1, Kind.TAKE), 0.1, jobs=[job("a", "second")])
    assert session.begin("second")
    session.finish("t-a", Outcome(b"1"), 1)
    carrier = flight(session, 0.2, Kind.TAKE)
    assert [held.token for held in carrier.request.running] == ["second"]
    stale = Refused(id="a", reason="stale", token="t-a")
    assert answer(session, carrier, 0.2, refused=[stale]) == []
    assert session.add_chunk("second", b"1") == (Flow.ON, True)


def test_a_result_that_is_too_large_becomes_a_failure() -> None:
    session = ready()
    running(session, "a")
    session.finish("t-a", Outcome(b'"large"'), 7)
    take = flight(session, 0.0, Kind.TAKE)
    answer(session, take, refused=[Refused(id="a", reason="too-large")])
    again = flight(session, 0.0, Kind.TAKE).request.results[0]
    assert (again.output, again.execution_ms) == (msgspec.UNSET, 7)
    assert "too large" in str(again.error)


def test_jobs_whose_request_was_refused_as_a_whole_go_again_each_by_itself() -> None:
    session = ready(3)
    running(session, "a", "b", "c")
    for name in ("a", "b"):
        session.finish(f"t-{name}", Outcome(b"1"), 1)
    session.refused_together(flight(session, 0.0, Kind.TAKE))
    session.finish("t-c", Outcome(b"1"), 1)
    sent = []
    for _ in range(3):
        under_way = flight(session, 0.0, Kind.TAKE)
        sent.append([result.id for result in under_way.request.results])
        answer(session, under_way)
    assert sent == [["a"], ["b"], ["c"]]


@pytest.mark.parametrize("large", [Outcome(error="x" * REQUEST_BYTES), Outcome(b"x" * REQUEST_BYTES)])
def test_a_large_outcome_goes_by_itself(large: Outcome) -> None:
    session = ready(2)
    running(session, "a", "b")
    session.finish("t-a", Outcome(b"1"), 1)
    session.finish("t-b", large, 1)
    assert [result.id for result in flight(session, 0.0, Kind.TAKE).request.results] == ["a"]
    assert [result.id for result in flight(session, 0.0, Kind.FLUSH).request.results] == ["b"]


def test_a_chunk_that_is_too_large_ends_the_job() -> None:
    session = ready()
    running(session, "a")
    session.add_chunk("t-a", b"1")
    carrier = flight(session, 0.01, Kind.FLUSH)
    assert answer(session, carrier, 0.01, refused=[Refused(id="a", reason="too-large")]) == ["t-a"]
    assert "too large" in str(flight(session, 0.02, Kind.TAKE).request.results[0].error)


def test_a_gap_is_sent_again_once_and_then_fails_the_job() -> None:
    session = ready()
    running(session, "a")
    session.add_chunk("t-a", b"1")
    gap = [Refused(id="a", reason="gap")]
    answer(session, flight(session, 0.01, Kind.FLUSH), 0.01, refused=gap)
    again = flight(session, 0.03, Kind.FLUSH)
    assert again.request.chunks[0].seq == 1
    assert answer(session, again, 0.03, refused=gap) == ["t-a"]
    assert "lost" in str(flight(session, 0.04, Kind.TAKE).request.results[0].error)


def test_a_drain_ends_the_offer_until_an_answer_says_otherwise() -> None:
    session = ready()
    answer(session, flight(session, 0.0, Kind.TAKE), drain=True)
    said = flight(session, 0.1, Kind.FLUSH)
    assert (said.request.phase, said.request.capacity) == (WorkerPhase.DRAINING, 0)
    answer(session, said, 0.1, drain=True)
    listen = flight(session, 1.0, Kind.LISTEN)
    answer(session, listen, 5.0)
    assert flight(session, 7.0, Kind.TAKE).request.phase is WorkerPhase.READY
    assert not settled(session)


def test_a_busy_gateway_is_left_alone_for_as_long_as_it_asks() -> None:
    session = ready()
    answer(session, flight(session, 0.0, Kind.TAKE), 1.0, retry_after_ms=2000)
    assert pause(session, 1.0) == 3.0
    flight(session, 3.0, Kind.TAKE)


def test_a_gateway_that_does_not_hold_is_asked_ever_more_slowly() -> None:
    session, now, asked = ready(), 0.0, 0
    while now < 10.0:
        step = session.next_request(now)
        if isinstance(step, Flight):
            asked += 1
            answer(session, step, now)
        else:
            now = step
    assert asked < 20


def test_a_leaving_worker_gives_back_what_has_not_begun() -> None:
    session = ready(2)
    take = flight(session, 0.0, Kind.TAKE)
    answer(session, take, jobs=[job("a", "t-a"), job("b", "t-b")])
    assert session.begin("t-a")
    assert session.leave() == []
    said = flight(session, 0.0, Kind.FLUSH)
    assert [held.id for held in said.request.released] == ["b"]
    assert [held.id for held in said.request.running] == ["a"]
    assert not session.begin("t-b")
    answer(session, said)
    assert not settled(session)
    session.finish("t-a", Outcome(b"1"), 1)
    last = flight(session, 0.1, Kind.FLUSH)
    assert not settled(session)
    answer(session, last)
    assert settled(session)


def test_a_leaving_worker_cuts_its_held_request_short_and_releases_what_it_brings() -> None:
    session = ready()
    take = flight(session, 0.0, Kind.TAKE)
    assert session.leave() == [take]
    assert (take.request.request, take.request.capacity, take.request.wait_ms) == (1, 0, 0)
    goodbye = flight(session, 0.0, Kind.FLUSH)
    assert goodbye.request.phase is WorkerPhase.DRAINING
    answer(session, goodbye)
    assert not settled(session), "its answer may bring a job"
    news = session.answered(take, ExchangeAnswer(jobs=[job("a")]), 0.0)
    assert news.jobs == []
    released = flight(session, 0.0, Kind.FLUSH)
    assert [held.id for held in released.request.released] == ["a"]
    answer(session, released)
    assert settled(session)


def test_a_leaving_worker_without_anything_under_way_says_goodbye() -> None:
    session = ready()
    answer(session, flight(session, 0.0, Kind.TAKE))
    session.leave()
    assert not settled(session)
    session.dropped(flight(session, 0.0, Kind.FLUSH))
    assert settled(session), "one that the gateway does not hear is enough"


def test_what_a_leaving_worker_holds_is_dropped_once_the_gateway_has_not_known_it_for_long() -> None:
    session = ready(2)
    running(session, "a", "b")
    session.finish("t-a", Outcome(b"1"), 1)
    take = flight(session, 1.0, Kind.TAKE)
    session.refused(1.0)
    assert not session.forsaken(1.0 + FORSAKEN_SECONDS), "it does not leave"
    session.leave()
    assert session.forsaken(1.0 + FORSAKEN_SECONDS)
    session.unheard()
    session.refused(30.0)
    assert not session.forsaken(29.0 + FORSAKEN_SECONDS)
    session.dropped(take)
    assert session.add_chunk("t-b", b"1") == (Flow.ON, True)
    session.dropped(flight(session, 31.0, Kind.FLUSH))
    assert not settled(session), "a job runs"
    session.finish("t-b", Outcome(b"1"), 1)
    session.dropped(flight(session, 32.0, Kind.FLUSH))
    assert settled(session)


def test_a_result_acknowledged_at_once_does_not_delay_the_next_call() -> None:
    session = ready()
    running(session, "a")
    session.finish("t-a", Outcome(b"1"), 1)
    answer(session, flight(session, 0.001, Kind.TAKE), 0.002)
    flight(session, 0.002, Kind.TAKE)


def test_giving_up_releases_what_runs() -> None:
    session = ready()
    running(session, "a")
    session.leave()
    assert session.give_up() == ["t-a"]
    last = flight(session, 0.0, Kind.FLUSH)
    assert [held.id for held in last.request.released] == ["a"]
    session.finish("t-a", Outcome(b"1"), 1)
    answer(session, last)
    assert settled(session)


def test_a_failed_worker_is_done_when_it_has_said_so() -> None:
    session = Session("s", 1)
    first = flight(session, 0.0, Kind.FLUSH)
    session.fail("ImportError")
    answer(session, first)
    assert not settled(session)
    last = flight(session, 0.0, Kind.FLUSH)
    assert (last.request.phase, last.request.reason) == (WorkerPhase.UNHEALTHY, "ImportError")
    answer(session, last)
    assert settled(session)


def test_generators_pause_while_much_is_unacknowledged() -> None:
    session = ready()
    running(session, "a")
    assert session.add_chunk("t-a", b"x" * CONGESTED_BYTES) == (Flow.ON, True)
    assert not congested(session)
    session.add_chunk("t-a", b"x")
    assert congested(session)
    assert session.add_chunk("t-a", b"x" * BATCH_BYTES) == (Flow.WAIT, True)
    answer(session, flight(session, 0.1, Kind.FLUSH))
    assert not congested(session)


def test_a_lower_limit_shrinks_the_offer() -> None:
    session = ready(5)
    assert session.limit(1)
    assert not session.limit(1)
    assert flight(session, 0.0, Kind.TAKE).request.capacity == 1
