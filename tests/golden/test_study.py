"""The study of the scalers says what its runs say."""

from tests.bench import study


def test_the_page_is_made_of_the_table_beside_it() -> None:
    assert study.PAGE.read_text(encoding="utf-8") == study.page()


def test_our_scalers_interrupted_no_job_in_any_run() -> None:
    ours = (study.OURS, "QUEUE_DELAY", "QUEUE_DELAY:idle=60", *study.FAMILY)
    interrupted = [point.interrupted for (_, _, policy), point in study.points().items() if policy in ours]
    assert interrupted
    assert not any(interrupted)
