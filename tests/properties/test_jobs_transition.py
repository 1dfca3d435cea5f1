"""Laws of the job state machine, over arbitrary histories of events."""

from hypothesis import given
from hypothesis import strategies as st

from submodel.contract.states import JobState
from submodel_gateway.jobs import events
from submodel_gateway.jobs.record import Job
from submodel_gateway.jobs.tally import Tally, count
from submodel_gateway.jobs.transition import Refusal, Transition, transition

SUBMITTED = events.Submitted(
    id="a", endpoint="e", seq=1, max_attempts=2, execution_timeout_ms=5_000, ttl_ms=60_000, retention_ms=1_000
)

Step = tuple[str, int, int]

steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["take", "beat", "progress", "chunk", "ok", "error", "release", "lost", "free", "due", "cancel"]
        ),
        st.integers(0, 4_000),
        st.integers(0, 3),
    ),
    max_size=40,
)
"""What happens, milliseconds later than the step before, with the token of the n-th last lease."""


def event(name: str, token: str, nonce: int) -> events.Event:
    match name:
        case "take":
            return events.Taken(worker="w", session="s", nonce=nonce, lease_ms=3_000)
        case "beat":
            return events.Heartbeat(token, 3_000)
        case "progress":
            return events.Progressed(token)
        case "chunk":
            return events.Chunked(token, 1, (1, 1))
        case "ok" | "error":
            return events.Finished(token, name == "error")
        case "release":
            return events.Released(token)
        case "lost" | "free":
            return events.Lost(token, "gone", charged=name == "lost")
        case "due":
            return events.Due()
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
        happens = event(name, tokens[max(0, len(tokens) - 1 - back)], nonce)
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
def test_a_terminal_job_changes_no_more_until_it_is_forgotten(taken: list[Step]) -> None:
    for job, _, answer, now in history(taken):
        if job.state.terminal and isinstance(answer, Transition):
            forgotten = answer.after is None and job.keep_until is not None and job.keep_until <= now
            assert answer.after == job or forgotten


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
def test_every_job_is_counted_exactly_once(taken: list[Step]) -> None:
    first = transition(None, SUBMITTED, 1_000)
    assert isinstance(first, Transition)
    tally = count(Tally(), first)
    for _, _, answer, _ in history(taken):
        if isinstance(answer, Transition):
            tally = count(tally, answer)
        alive = tally.queued + tally.in_progress
        ended = tally.completed + tally.failed + tally.cancelled + tally.timed_out
        assert (tally.arrived, alive + ended) == (1, 1)
        assert min(tally.queued, tally.in_progress) >= 0


@given(st.integers(1, 1 << 62), st.lists(st.integers(1, 60_000), max_size=5))
def test_taken_jobs_carry_the_take_in_their_token(nonce: int, waits: list[int]) -> None:
    job = transition(None, SUBMITTED, 0)
    assert isinstance(job, Transition)
    done = transition(job.after, events.Taken(worker="w", session="s", nonce=nonce, lease_ms=1), sum(waits) % 60_000)
    assert isinstance(done, Transition)
    assert done.after is not None
    assert done.after.token == f"1-{nonce:016x}"
