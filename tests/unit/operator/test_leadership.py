"""Who acts: never two at a time, and soon another one when the first is dead."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from submodel_operator.leadership import Candidate, Memory, Record, wrote

D = 15.0
ME, OTHER = Candidate("me", D), "other"


def record(holder: str = OTHER, mark: str = "1", duration_seconds: float = D) -> Record:
    return Record(holder, mark, duration_seconds)


@pytest.mark.parametrize("found", [None, record(holder=""), record(holder="me")])
def test_a_lease_that_nobody_else_holds_is_written_at_once(found: Record | None) -> None:
    assert ME.look(found, Memory(), now=100.0)[0]


def test_a_lease_of_another_is_looked_at_until_it_has_not_been_renewed_for_long() -> None:
    write, wait, memory = ME.look(record(), Memory(), now=100.0)
    assert (write, wait) == (False, 2.0)
    assert ME.look(record(), memory, now=111.9)[0] is False
    assert ME.look(record(), memory, now=112.0)[0] is True


def test_a_renewal_begins_the_wait_anew() -> None:
    _, _, memory = ME.look(record(), Memory(), now=100.0)
    _, _, memory = ME.look(record(mark="2"), memory, now=111.0)
    assert ME.look(record(mark="2"), memory, now=120.0)[0] is False


def test_the_wait_is_as_long_as_the_holder_asked_for() -> None:
    _, _, memory = ME.look(record(duration_seconds=60.0), Memory(), now=100.0)
    assert ME.look(record(duration_seconds=60.0), memory, now=140.0)[0] is False


def test_the_last_look_comes_exactly_when_the_wait_is_over() -> None:
    _, _, memory = ME.look(record(), Memory(), now=100.0)
    assert ME.look(record(), memory, now=111.5)[1] == pytest.approx(0.5)


def test_a_holder_acts_for_two_thirds_of_the_duration_from_when_its_renewal_was_begun() -> None:
    memory = wrote(Memory(), began_at=100.0)
    assert ME.left_seconds(memory, now=109.5) == pytest.approx(0.5)
    assert ME.left_seconds(memory, now=110.0) <= 0
    assert ME.left_seconds(Memory(), now=0.0) == 0


def test_a_holder_that_finds_another_name_does_not_act_any_more() -> None:
    _, _, memory = ME.look(record(), wrote(Memory(), began_at=100.0), now=101.0)
    assert ME.left_seconds(memory, now=101.0) == 0


@dataclass
class Server:
    """The Lease."""

    record: Record | None = None
    version: int = 0

    def write(self, candidate: Candidate) -> None:
        self.version += 1
        self.record = Record(candidate.name, str(self.version), candidate.duration_seconds)


@given(
    death=st.floats(min_value=0.0, max_value=60.0),
    offset=st.floats(min_value=0.0, max_value=1.0),
    duration=st.sampled_from([5.0, 15.0, 60.0]),
)
def test_a_standby_acts_before_the_lease_of_a_dead_holder_is_over_and_never_beside_it(
    death: float, offset: float, duration: float
) -> None:
    first, second = Candidate("first", duration), Candidate("second", duration)
    server, alive, memory = Server(), Memory(), Memory()
    renewals = [n * first.period_seconds for n in range(200) if n * first.period_seconds <= death]
    looks = offset * second.period_seconds
    while True:
        while renewals and renewals[0] <= looks:
            server.write(first)
            alive = wrote(alive, renewals.pop(0))
        write, wait, memory = second.look(server.record, memory, looks)
        if write:
            break
        looks += max(wait, 1e-6)
    assert looks - death < duration
    assert first.left_seconds(alive, looks) < -0.5 * first.period_seconds, "the first has stopped a good while ago"
