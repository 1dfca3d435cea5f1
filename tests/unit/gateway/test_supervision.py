"""When serving processes are started, told to leave, and given up."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from submodel_gateway.parent.supervision import (
    GIVE_UP_SECONDS,
    LEAVE_SECONDS,
    PAUSE_SECONDS_MAX,
    STEADY_SECONDS,
    Action,
    Deed,
    Supervision,
)


def serving(now: float = 0.0, *, alone: bool = False) -> Supervision:
    """One process, number 1, that serves."""
    made = Supervision()
    assert made.tick(now) == [Action(Deed.START)]
    made.started(1, now)
    assert made.ready(1, now, alone=alone) == []
    return made


def test_a_process_that_ends_is_followed_at_once() -> None:
    made = serving()
    (said,) = made.ended(1, -9, 1.0)
    assert said == Action(Deed.SAY, why="the serving process was ended by signal 9; the next one starts in 0 s")
    assert made.tick(1.0) == [Action(Deed.START)]
    assert made.tick(1.0) == []


def test_processes_that_keep_ending_are_followed_later_and_later() -> None:
    made, now, pauses = serving(), 0.0, []
    for pid in range(1, 12):
        made.ended(pid, 1, now)
        next_at = made.next_at()
        assert next_at is not None
        pauses.append(round(next_at - now, 3))
        now = next_at
        assert made.tick(now) == [Action(Deed.START)]
        made.started(pid + 1, now)
    assert pauses[:3] == [0.0, 0.1, 0.2]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_SECONDS_MAX


def test_a_process_that_served_for_a_while_takes_the_blame_off_its_followers() -> None:
    made = serving()
    made.ended(1, 1, 0.0)
    made.tick(0.0)
    made.started(2, 0.0)
    made.ready(2, 0.0, alone=True)
    made.ended(2, 1, STEADY_SECONDS)
    assert made.next_at() == STEADY_SECONDS


def test_settings_that_cannot_be_used_end_a_gateway_that_never_served() -> None:
    made = Supervision()
    made.tick(0.0)
    made.started(1, 0.0)
    assert made.ended(1, 2, 1.0) == [Action(Deed.EXIT, code=2)]


def test_a_gateway_that_served_tries_to_start_again_for_as_long_as_deliveries_are_held() -> None:
    made = serving()
    made.ended(1, -9, 0.0)
    for now in (1.0, GIVE_UP_SECONDS):
        made.tick(now + PAUSE_SECONDS_MAX)
        made.started(2, now)
        assert made.ended(2, 2, now)[0].deed is Deed.SAY
    made.tick(GIVE_UP_SECONDS + PAUSE_SECONDS_MAX)
    made.started(2, GIVE_UP_SECONDS)
    assert made.ended(2, 2, GIVE_UP_SECONDS + 1) == [Action(Deed.EXIT, code=2)]


def test_an_upgrade_starts_the_next_process_before_the_present_one_leaves() -> None:
    made = serving()
    assert made.upgrade(1.0) == []
    assert made.tick(1.0) == [Action(Deed.START)]
    made.started(2, 1.0)
    assert made.upgrade(1.5) == made.tick(1.5) == []
    assert made.ready(2, 2.0, alone=False) == [Action(Deed.LEAVE, 1)]
    assert made.ended(1, 0, 3.0) == made.tick(3.0) == []


def test_where_the_store_admits_one_process_the_present_one_leaves_first() -> None:
    made = serving(alone=True)
    assert made.upgrade(1.0) == [Action(Deed.LEAVE, 1)]
    assert made.tick(1.0) == []
    assert made.ended(1, 0, 2.0) == []
    assert made.tick(2.0) == [Action(Deed.START)]


def test_a_next_process_that_cannot_start_leaves_the_present_one_serving() -> None:
    made = serving()
    made.upgrade(1.0)
    made.tick(1.0)
    made.started(2, 1.0)
    (said,) = made.ended(2, 2, 2.0)
    assert said.deed is Deed.SAY
    assert made.tick(99.0) == []
    assert list(made.children) == [1]


def test_a_process_that_does_not_leave_is_killed() -> None:
    made = serving(alone=True)
    made.upgrade(1.0)
    assert made.next_at() == 1.0 + LEAVE_SECONDS
    (killed,) = made.tick(1.0 + LEAVE_SECONDS)
    assert (killed.deed, killed.pid) == (Deed.KILL, 1)
    assert made.tick(2.0 + LEAVE_SECONDS) == []


def test_the_end_waits_for_the_processes_and_has_their_code() -> None:
    made = serving()
    assert made.stop() == [Action(Deed.END, 1)]
    assert made.upgrade(1.0) == made.tick(1.0) == []
    assert made.ended(1, 0, 1.0) == [Action(Deed.EXIT, code=0)]


def test_the_end_of_a_gateway_between_two_processes_is_at_once() -> None:
    made = serving()
    made.ended(1, -9, 1.0)
    assert made.stop() == [Action(Deed.EXIT)]


def test_orphans_of_others_are_nobodys_loss() -> None:
    made = serving()
    assert made.ended(77, 1, 1.0) == []
    assert made.tick(1.0) == []


class Life(RuleBasedStateMachine):
    """Processes that start, serve, end and are replaced, as they please."""

    def __init__(self) -> None:
        super().__init__()
        self.made = Supervision()
        self.now = 0.0
        self.pids = 0
        self.alone = False
        self.over = False
        self.do(self.made.tick(self.now))

    def do(self, actions: list[Action]) -> None:
        for action in actions:
            if action.deed is Deed.START:
                self.pids += 1
                self.made.started(self.pids, self.now)
            elif action.deed is Deed.EXIT:
                self.over = True
            elif action.pid:
                assert action.pid in self.made.children

    def pick(self, data: st.DataObject) -> int:
        return data.draw(st.sampled_from(sorted(self.made.children)))

    @rule(seconds=st.floats(0.0, 100.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        if not self.over:
            self.do(self.made.tick(self.now))

    @precondition(lambda self: self.made.children and not self.over)
    @rule(data=st.data(), alone=st.booleans())
    def one_serves(self, data: st.DataObject, alone: bool) -> None:
        self.do(self.made.ready(self.pick(data), self.now, alone=alone))

    @precondition(lambda self: self.made.children and not self.over)
    @rule(data=st.data(), code=st.sampled_from([-9, 0, 1, 2]))
    def one_ends(self, data: st.DataObject, code: int) -> None:
        self.do(self.made.ended(self.pick(data), code, self.now))

    @precondition(lambda self: not self.over)
    @rule()
    def it_is_upgraded(self) -> None:
        self.do(self.made.upgrade(self.now))

    @precondition(lambda self: not self.over)
    @rule()
    def it_is_told_to_end(self) -> None:
        self.do(self.made.stop())

    @invariant()
    def somebody_serves_or_will(self) -> None:
        if not self.over and not self.made.stopping:
            assert self.made.children or self.made.start_at is not None

    @invariant()
    def at_most_one_is_on_its_way(self) -> None:
        coming = [each for each in self.made.children.values() if each.ready_at is None]
        assert len(coming) + (self.made.start_at is not None) <= 1

    @invariant()
    def an_end_comes_to_an_end(self) -> None:
        if self.made.stopping and not self.made.children:
            assert self.over


TestLife = pytest.mark.slow(Life.TestCase)
