"""Laws of the job state machine, over arbitrary histories of events."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from submodel.contract.states import JobState
from submodel_gateway.jobs import events
from submodel_gateway.jobs.record import Job, WebhookState
from submodel_gateway.jobs.tally import Tally, count
from submodel_gateway.jobs.transition import Refusal, Transition, transition

SUBMITTED = events.Submitted(
    id="a",
    endpoint="e",
    seq=1,
    max_attempts=2,
    execution_timeout_ms=5_000,
    ttl_ms=60_000,
    retention_ms=5_000,
    retry_errors=True,
    webhook=True,
)

KINDS = (
    *("take",) * 4,
    *("error", "final", "lost", "retry", "settle") * 2,
    *("beat", "progress", "chunk", "ok", "release", "free", "due", "held", "cancel", "replay"),
)

Step = tuple[str, int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(KINDS),
        st.sampled_from([0, 1, 100, 2_000, 3_000, 5_000]),
        st.sampled_from([0, 0, 0, 1, 3]),
    ),
    min_size=10,
    max_size=40,
)
"""What happens, milliseconds later than the step before, with the token of the n-th last lease."""


def event(name: str, token: str, nonce: int, gen: int, now: int) -> events.Event:
    match name:
        case "take":
            return events.Taken(worker="w", session="s", nonce=nonce, lease_ms=3_000)
        case "beat":
            return events.Heartbeat(token, 3_000)
        case "progress":
            return events.Progressed(token)
        case "chunk":
            return events.Chunked(token, 1, (1, 1))
        case "ok" | "error" | "final":
            return events.Finished(token=token, failed=name != "ok", final=name == "final")
        case "release":
            return events.Released(token)
        case "lost" | "free":
            return events.Lost(token, "gone", charged=name == "lost")
        case "due":
            return events.Due()
        case "held":
            return events.Due(back_at=now, hold_until=now + 2_000)
        case "retry":
            return events.Retried(nonce)
        case "settle":
            return events.WebhookSettled(gen, nonce % 2 == 0)
        case "replay":
            return events.WebhookReplayed()
    return events.Cancelled()


def history(taken: list[Step]) -> list[tuple[Job, events.Event, Transition | Refusal, int]]:
    """Each step as (job before, event, answer, now)."""
    now = 1_000
    first = transition(None, SUBMITTED, now)
    assert isinstance(first, Transition)
    assert first.after is not None
    job, tokens = first.after, ["never"]
    seen: list[tuple[Job, events.Event, Transition | Refusal, int]] = []
    for nonce, (name, later, back) in enumerate(taken, 1):
        now += later
        happens = event(name, tokens[max(0, len(tokens) - 1 - back)], nonce, max(1, job.gen - back // 3), now)
        answer = transition(job, happens, now)
        seen.append((job, happens, answer, now))
        if isinstance(answer, Refusal):
            continue
        if answer.after is None:
            break
        job = answer.after
        if name == "take":
            tokens.append(job.token)
    return seen


@given(steps)
def test_an_outcome_changes_no_more_until_it_is_forgotten_or_retried(taken: list[Step]) -> None:
    for job, happens, answer, now in history(taken):
        if not job.state.terminal or isinstance(answer, Refusal) or answer.after == job:
            continue
        if answer.after is None:
            assert job.due_at <= now
        elif isinstance(happens, events.Retried):
            assert job.state in (JobState.FAILED, JobState.TIMED_OUT)
        else:
            assert answer.after == replace(job, webhook=answer.after.webhook)
            assert (answer.after.webhook is WebhookState.PENDING) == isinstance(happens, events.WebhookReplayed)
            assert job.webhook is WebhookState.PENDING or isinstance(happens, events.WebhookReplayed)


@given(steps)
def test_generations_grow_by_retries_alone(taken: list[Step]) -> None:
    for job, happens, answer, _ in history(taken):
        if isinstance(answer, Transition) and answer.after is not None:
            assert answer.after.gen - job.gen == isinstance(happens, events.Retried) == answer.reopened


@given(steps)
def test_a_webhook_is_pending_only_while_there_is_an_outcome_to_tell(taken: list[Step]) -> None:
    for _, _, answer, _ in history(taken):
        if isinstance(answer, Transition) and answer.after is not None:
            assert (answer.after.webhook is WebhookState.ARMED) != answer.after.state.terminal


@given(steps)
def test_only_the_live_token_writes(taken: list[Step]) -> None:
    for job, happens, answer, _ in history(taken):
        token = getattr(happens, "token", None)
        if token is not None and isinstance(answer, Transition) and not answer.duplicate:
            assert job.state is JobState.IN_PROGRESS
            assert token == job.token


@given(steps)
def test_attempts_only_grow_and_charged_executions_stay_within_their_limit(taken: list[Step]) -> None:
    for job, _, answer, _ in history(taken):
        if isinstance(answer, Transition) and answer.after is not None:
            assert answer.after.attempt >= job.attempt
            assert 0 <= answer.after.used <= answer.after.max


@given(steps)
def test_a_generation_is_executed_no_more_often_than_allowed_plus_what_was_not_charged(taken: list[Step]) -> None:
    taken_by_gen: Counter[int] = Counter()
    for job, happens, answer, _ in history(taken):
        if isinstance(answer, Refusal):
            continue
        if isinstance(happens, events.Taken):
            taken_by_gen[job.gen] += 1
        elif isinstance(happens, events.Released) or (isinstance(happens, events.Lost) and not happens.charged):
            taken_by_gen[job.gen] -= 1
        assert taken_by_gen[job.gen] <= job.max


@given(steps)
def test_a_running_job_is_not_ended_by_the_sweeper_while_it_is_held(taken: list[Step]) -> None:
    for job, happens, answer, now in history(taken):
        if not isinstance(happens, events.Due) or job.state is not JobState.IN_PROGRESS:
            continue
        if (job.taken_at or now) < happens.back_at and now < happens.hold_until:
            after = answer.job if isinstance(answer, Refusal) else answer.after
            assert after is not None
            assert (after.state, after.token) == (job.state, job.token)
            assert after.due_at > now


@given(steps)
def test_a_running_job_always_has_a_lease_and_others_never(taken: list[Step]) -> None:
    for _, _, answer, _ in history(taken):
        if isinstance(answer, Transition) and answer.after is not None:
            assert (answer.after.lease_until is not None) == (answer.after.state is JobState.IN_PROGRESS)


@given(steps)
def test_a_sweep_leaves_nothing_due(taken: list[Step]) -> None:
    for _, happens, answer, now in history(taken):
        if isinstance(happens, events.Due) and isinstance(answer, Transition) and answer.after is not None:
            assert answer.after.due_at > now


@given(steps)
def test_every_generation_is_counted_exactly_once(taken: list[Step]) -> None:
    first = transition(None, SUBMITTED, 1_000)
    assert isinstance(first, Transition)
    tally = count(Tally(), first)
    gen = 1
    for _, _, answer, _ in history(taken):
        if isinstance(answer, Transition):
            tally = count(tally, answer)
            gen = answer.after.gen if answer.after else gen
        alive = tally.queued + tally.in_progress
        ended = tally.completed + tally.failed + tally.cancelled + tally.timed_out
        assert (tally.arrived, alive + ended) == (gen, gen)
        assert min(tally.queued, tally.in_progress) >= 0


@given(st.integers(1, 1 << 62), st.lists(st.integers(1, 60_000), max_size=5))
def test_taken_jobs_carry_the_take_in_their_token(nonce: int, waits: list[int]) -> None:
    job = transition(None, SUBMITTED, 0)
    assert isinstance(job, Transition)
    done = transition(job.after, events.Taken(worker="w", session="s", nonce=nonce, lease_ms=1), sum(waits) % 60_000)
    assert isinstance(done, Transition)
    assert done.after is not None
    assert done.after.token == f"1-{nonce:016x}"
