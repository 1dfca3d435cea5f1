"""The breaker of an endpoint: when it opens, and when it closes again."""

from submodel_gateway.jobs.breaker import CLOSED, LOSSES_MAX, WINDOW_MS, Breaker, Loss, after_loss, is_open

NOW = 5_000_000


def losing(*jobs: str, now: int = NOW, breaker: Breaker = CLOSED) -> Breaker:
    for job in jobs:
        breaker = after_loss(breaker, job, now)
    return breaker


def test_it_opens_when_more_than_five_different_jobs_lost_a_worker() -> None:
    assert LOSSES_MAX == 5
    assert not is_open(losing(*"abcde"), NOW)
    assert is_open(losing(*"abcdef"), NOW)


def test_one_job_that_loses_worker_after_worker_does_not_open_it() -> None:
    assert not is_open(losing(*"abcde" * 9), NOW)


def test_losses_count_for_ten_minutes() -> None:
    assert WINDOW_MS == 600_000
    opened = losing(*"abcdef")
    assert is_open(opened, NOW + WINDOW_MS - 1)
    assert not is_open(opened, NOW + WINDOW_MS)
    spread = losing("f", now=NOW + WINDOW_MS, breaker=losing(*"abcde"))
    assert spread == Breaker((Loss("f", NOW + WINDOW_MS),))


def test_a_job_that_is_lost_again_counts_from_then() -> None:
    again = losing("a", now=NOW + WINDOW_MS - 1, breaker=losing(*"abcde"))
    assert again.losses[-1] == Loss("a", NOW + WINDOW_MS - 1)
    assert is_open(losing("f", now=NOW + WINDOW_MS - 1, breaker=again), NOW + WINDOW_MS - 1)


def test_it_remembers_no_more_than_it_needs() -> None:
    opened = losing(*"abcdefgh")
    assert [loss.job for loss in opened.losses] == list("cdefgh")
    assert is_open(opened, NOW)


def test_a_closed_one_remembers_nothing() -> None:
    assert CLOSED.losses == ()
    assert not is_open(CLOSED, NOW)
