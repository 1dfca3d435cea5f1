"""What was read is kept for a while, and no longer."""

from submodel_operator.recent import Recent


def test_what_was_kept_is_there_until_its_age_is_reached() -> None:
    seen: Recent[str, int] = Recent(10.0)
    seen.keep("a", 1, now=100.0)
    assert (seen.recent("a", now=109.9), seen.recent("a", now=110.0)) == (1, None)
    assert seen.recent("b", now=100.0) is None


def test_what_is_kept_again_is_as_old_as_the_last_time() -> None:
    seen: Recent[str, int] = Recent(10.0)
    seen.keep("a", 1, now=100.0)
    seen.keep("b", 2, now=101.0)
    seen.keep("a", 3, now=105.0)
    assert (seen.recent("b", now=111.0), seen.recent("a", now=114.0)) == (None, 3)


def test_old_values_do_not_pile_up() -> None:
    seen: Recent[int, int] = Recent(10.0)
    for number in range(100):
        seen.keep(number, number, now=float(number))
        seen.recent(number, now=float(number))
    assert len(seen) == 10
