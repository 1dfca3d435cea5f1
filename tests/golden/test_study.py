"""The study of the scalers says what its runs say."""

from tests.bench.study import PAGE, PICTURE
from tests.bench.study_page import page
from tests.bench.study_picture import picture
from tests.bench.study_runs import FAMILY, OURS, points


def test_the_page_and_the_picture_are_made_of_the_table_beside_them() -> None:
    found = points()
    assert PAGE.read_text(encoding="utf-8") == page(found)
    assert PICTURE.read_text(encoding="utf-8") == picture(found)


def test_our_scalers_interrupted_no_job_in_any_run() -> None:
    ours = (OURS, "QUEUE_DELAY", "QUEUE_DELAY:idle=60", *FAMILY)
    interrupted = [point.interrupted for (_, _, policy), point in points().items() if policy in ours]
    assert interrupted
    assert not any(interrupted)
