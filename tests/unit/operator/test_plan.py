"""From observed and desired to actions: creation, growth, the two-step shrink, and the retirement of old revisions."""

from dataclasses import replace

from submodel.contract.states import WorkerPhase
from submodel_operator.desired import DesiredPool
from submodel_operator.plan import Apply, DeletePool, Drain, Replace, Scale, Undrain, Unmark, plan
from submodel_operator.scaling import ScalingDecision, Term
from tests.support.endpoints import observed, pool, view, worker

CHILDREN = ({"kind": "ConfigMap"}, {"kind": "Secret"}, {"kind": "Deployment"})
NEW = DesiredPool("tokens-r1", "r1", "h1", CHILDREN)


def decision(replicas: int, *remove: str) -> ScalingDecision:
    return ScalingDecision(replicas, Term.STEADY, "because", remove)


def test_a_new_endpoint_gets_its_children_in_order_and_then_its_workers() -> None:
    actions = plan(observed(), NEW, decision(2), {})
    assert actions == (*map(Apply, CHILDREN), Scale("tokens-r1", 0, 2))


def test_nothing_is_done_when_all_is_as_it_should_be() -> None:
    assert plan(observed(worker("a"), pools=(pool(replicas=1),)), NEW, decision(1), {"a": view("a")}) == ()


def test_changed_children_are_applied_again() -> None:
    assert plan(observed(pools=(pool(desired_hash="old"),)), NEW, decision(0), {}) == tuple(map(Apply, CHILDREN))


def test_a_worker_is_drained_before_it_is_removed() -> None:
    facts = observed(worker("a"), pools=(pool(replicas=1),))
    assert plan(facts, NEW, decision(0, "a"), {"a": view("a")}) == (Drain(("a",)),)


def test_a_drained_worker_is_removed_once_it_is_confirmed_empty() -> None:
    facts = observed(worker("a"), worker("b"), pools=(pool(replicas=2),))
    known = {"a": view("a", draining=True), "b": view("b", draining=True, running=1)}
    assert plan(facts, NEW, decision(0, "a", "b"), known) == (Scale("tokens-r1", 2, 1, ("a",)),)


def test_a_worker_the_gateway_has_not_confirmed_is_not_removed() -> None:
    facts = observed(worker("a"), pools=(pool(replicas=1),))
    assert plan(facts, NEW, decision(0, "a"), {}) == (Drain(("a",)),)


def test_a_drained_worker_is_taken_back_when_demand_returns() -> None:
    facts = observed(worker("a"), pools=(pool(replicas=1),))
    assert plan(facts, NEW, decision(2), {"a": view("a", draining=True)}) == (Undrain(("a",)), Scale("tokens-r1", 1, 2))


def test_a_worker_that_says_that_it_drains_because_it_was_told_to_is_taken_back() -> None:
    facts = observed(worker("a"), pools=(pool(replicas=1),))
    known = {"a": view("a", phase=WorkerPhase.DRAINING, draining=True, running=1)}
    assert plan(facts, NEW, decision(1), known) == (Undrain(("a",)),)
    known = {"a": view("a", phase=WorkerPhase.DRAINING, running=1)}
    assert plan(facts, NEW, decision(1), known) == (), "it leaves by itself"


def test_a_worker_that_asks_for_a_fresh_one_is_replaced_once_it_holds_nothing() -> None:
    facts = observed(worker("a"), pools=(pool(replicas=1),))
    busy = view("a", draining=True, replace=True, running=1)
    assert plan(facts, NEW, decision(1), {"a": busy}) == ()
    assert plan(facts, NEW, decision(1), {"a": view("a", draining=True, replace=True)}) == (Replace("a", "uid-a"),)


def test_a_worker_that_asks_for_a_fresh_one_just_goes_when_none_is_needed() -> None:
    facts = observed(worker("a"), pools=(pool(replicas=1),))
    known = {"a": view("a", draining=True, replace=True)}
    assert plan(facts, NEW, decision(0, "a"), known) == (Scale("tokens-r1", 1, 0, ("a",)),)


def test_a_worker_on_its_way_out_is_not_replaced_again() -> None:
    facts = observed(worker("a", terminating=True), pools=(pool(replicas=1),))
    assert plan(facts, NEW, decision(1), {"a": view("a", draining=True, replace=True)}) == ()


ROLLOUT = (pool("r0", 2, "h0"), pool(replicas=1))


def test_an_old_revision_is_drained_once_a_worker_of_the_new_one_works() -> None:
    facts = observed(worker("old", "r0"), worker("a"), pools=(pool("r0", 1, "h0"), pool(replicas=1)))
    known = {"old": view("old", "r0"), "a": view("a")}
    assert plan(facts, NEW, decision(1), known) == (Drain(("old",)),)


def test_an_old_revision_is_drained_at_once_when_no_worker_is_needed() -> None:
    facts = observed(worker("old", "r0"), pools=(pool("r0", 1, "h0"), pool()))
    assert plan(facts, NEW, decision(0), {"old": view("old", "r0")}) == (Drain(("old",)),)


def test_an_old_revision_works_on_until_the_new_one_has_a_worker_that_works() -> None:
    facts = observed(worker("o1", "r0"), worker("o2", "r0"), worker("a", phase="CrashLoopBackOff"), pools=ROLLOUT)
    known = {name: view(name, "r0") for name in ("o1", "o2")}
    assert plan(facts, NEW, decision(1), known) == ()


def test_old_workers_come_back_while_most_jobs_of_the_new_revision_fail_and_leave_when_they_do_not() -> None:
    facts = observed(worker("o1", "r0"), worker("a"), pools=(pool("r0", 1, "h0"), pool(replicas=1)))
    old = {"o1": view("o1", "r0", running=1, draining=True, completed=9)}
    assert plan(facts, NEW, decision(1), old | {"a": view("a", completed=1, failed=4)}) == (Undrain(("o1",)),)
    assert plan(facts, NEW, decision(1), old | {"a": view("a", failed=4)}) == ()
    assert plan(facts, NEW, decision(1), old | {"a": view("a", completed=4, failed=4)}) == ()
    assert plan(facts, NEW, decision(0), old | {"a": view("a", failed=9)}) == ()
    as_bad = {"o1": view("o1", "r0", running=1, draining=True, completed=1, failed=9), "a": view("a", failed=9)}
    assert plan(facts, NEW, decision(1), as_bad) == (), "it is not the revision"


def test_old_workers_that_were_drained_come_back_when_the_new_revision_fails() -> None:
    facts = observed(worker("o1", "r0"), worker("o2", "r0"), worker("a", phase="CrashLoopBackOff"), pools=ROLLOUT)
    known = {"o1": view("o1", "r0", draining=True), "o2": view("o2", "r0", draining=True, replace=True)}
    assert plan(facts, NEW, decision(1), known) == (Undrain(("o1",)),)


def test_only_as_many_old_workers_make_room_as_new_ones_find_none_and_idle_ones_first() -> None:
    facts = observed(worker("o1", "r0"), worker("o2", "r0"), worker("a", phase="Unschedulable"), pools=ROLLOUT)
    known = {"o1": view("o1", "r0", running=1), "o2": view("o2", "r0")}
    assert plan(facts, NEW, decision(1), known) == (Drain(("o2",)),)
    known["o2"] = view("o2", "r0", draining=True)
    assert plan(facts, NEW, decision(1), known) == (Scale("tokens-r0", 2, 1, ("o2",)),)


def test_old_workers_make_room_also_for_new_ones_that_a_quota_refuses() -> None:
    refused = replace(pool(replicas=1), refusal="exceeded quota")
    facts = observed(worker("o1", "r0"), worker("o2", "r0"), pools=(pool("r0", 2, "h0"), refused))
    known = {name: view(name, "r0") for name in ("o1", "o2")}
    assert plan(facts, NEW, decision(1), known) == (Drain(("o1",)),)


def test_applying_the_revision_before_goes_back_to_the_workers_that_are_still_there() -> None:
    facts = observed(
        worker("bad", "r2", phase="CrashLoopBackOff"), worker("a"), pools=(pool("r2", 1, "h2"), pool(replicas=1))
    )
    assert plan(facts, NEW, decision(1), {"a": view("a")}) == (Drain(("bad",)),)


def test_a_revision_that_never_had_a_ready_worker_leaves_while_the_newest_fails_and_the_one_that_worked_stays() -> None:
    bad = worker("bad", "r2", phase="ImagePullBackOff")
    pools = (pool("r0", 1, "h0"), pool("r2", 1, "h2"), pool(replicas=1))
    facts = observed(worker("old", "r0"), bad, worker("a", phase="CrashLoopBackOff"), pools=pools)
    old = {"old": view("old", "r0")}
    assert plan(facts, NEW, decision(1), old, broken={"r1", "r2"}) == (Drain(("bad",)),)
    unsaid = old | {"bad": view("bad", "r2", phase=WorkerPhase.STARTING, draining=True, running=1)}
    assert plan(facts, NEW, decision(1), unsaid, broken={"r1", "r2"}) == (), "it holds a job all the same"
    empty = old | {"bad": view("bad", "r2", phase=WorkerPhase.STARTING, draining=True)}
    assert plan(facts, NEW, decision(1), empty, broken={"r1", "r2"}) == (Scale("tokens-r2", 1, 0, ("bad",)),)


def test_what_a_revision_that_never_worked_gives_up_is_not_asked_of_one_that_works() -> None:
    pools = (pool("r0", 1, "h0"), pool("r2", 1, "h2"), pool(replicas=1))
    unplaced = worker("a", phase="Unschedulable")
    facts = observed(worker("old", "r0"), worker("bad", "r2", phase="CrashLoopBackOff"), unplaced, pools=pools)
    assert plan(facts, NEW, decision(1), {"old": view("old", "r0")}, broken={"r2"}) == (Drain(("bad",)),)


def test_a_worker_that_came_too_late_is_replaced() -> None:
    facts = observed(worker("a"), pools=(pool(replicas=1),))
    assert plan(facts, NEW, decision(1), {}, {"a"}) == (Replace("a", "uid-a"),)


def test_a_busy_worker_of_an_old_revision_stays_until_it_is_done() -> None:
    facts = observed(worker("old", "r0"), pools=(pool("r0", 1, "h0"), pool()))
    assert plan(facts, NEW, decision(0), {"old": view("old", "r0", draining=True, running=1)}) == ()


def test_an_empty_old_pool_is_deleted_once_nothing_of_it_is_alive() -> None:
    leaving = observed(worker("old", "r0", terminating=True), pools=(pool("r0", 0, "h0"), pool()))
    assert plan(leaving, NEW, decision(0), {}) == (DeletePool("tokens-r0"),)


def test_an_old_pool_is_not_shrunk_while_other_workers_exist_than_were_asked_for() -> None:
    facts = observed(worker("old", "r0"), pools=(pool("r0", 2, "h0"), pool()))
    empty = {"old": view("old", "r0", draining=True)}
    assert plan(facts, NEW, decision(0), empty) == ()


def test_an_old_pool_whose_pods_are_refused_asks_for_none() -> None:
    refused = replace(pool("r0", 2, "h0"), refusal="exceeded quota")
    assert plan(observed(pools=(refused, pool())), NEW, decision(0), {}) == (Scale("tokens-r0", 2, 0),)


def test_without_fresh_views_an_old_pool_is_drained_and_not_shrunk() -> None:
    facts = observed(worker("old", "r0"), pools=(pool("r0", 1, "h0"), pool()))
    assert plan(facts, NEW, decision(0), {}) == (Drain(("old",)),)


def test_the_mark_of_a_worker_that_stays_after_all_is_taken_off_before_it_gets_jobs_again() -> None:
    facts = observed(worker("a", marked=True), worker("b"), pools=(pool(replicas=2),))
    known = {"a": view("a", draining=True), "b": view("b", running=1)}
    assert plan(facts, NEW, decision(2), known) == (Unmark(("a",)), Undrain(("a",)))
    known["a"] = view("a", running=1)
    assert plan(facts, NEW, decision(2), known) == (Unmark(("a",)),), "the one before was stopped after the first"


def test_marks_stay_while_it_is_unknown_whether_their_workers_go() -> None:
    facts = observed(worker("a", marked=True), pools=(pool(replicas=1),))
    assert plan(facts, NEW, decision(1), {}) == ()
    assert plan(facts, NEW, decision(0, "a"), {"a": view("a")}) == (Drain(("a",)),)


def test_the_mark_of_an_old_worker_that_is_needed_again_is_taken_off() -> None:
    facts = observed(worker("o", "r0", marked=True), worker("a", phase="Pending", age_seconds=1), pools=ROLLOUT)
    known = {"o": view("o", "r0", draining=True)}
    assert plan(facts, NEW, decision(1), known) == (Unmark(("o",)), Undrain(("o",)))


def test_nobody_is_taken_back_while_the_cluster_has_yet_to_take_one() -> None:
    """The count is written, and the news of who goes is still on its way."""
    facts = observed(worker("a", marked=True), worker("b"), pools=(pool(replicas=1),))
    known = {"a": view("a", draining=True), "b": view("b", running=1)}
    assert plan(facts, NEW, decision(1), known) == ()
    facts = observed(worker("a"), worker("b"), pools=(pool(),))
    known = {name: view(name, draining=True) for name in ("a", "b")}
    assert plan(facts, NEW, decision(1), known) == (Scale("tokens-r1", 0, 1),), "either may be the one that goes"


def test_nobody_of_an_old_revision_is_taken_back_while_the_cluster_has_yet_to_take_one() -> None:
    facts = observed(worker("o1", "r0", marked=True), worker("o2", "r0"), pools=(pool("r0", 1, "h0"), pool(replicas=1)))
    known = {"o1": view("o1", "r0", draining=True), "o2": view("o2", "r0", running=1)}
    assert plan(facts, NEW, decision(1), known) == ()


def test_an_idle_worker_waits_while_the_cluster_would_take_another_because_it_calls_it_not_ready() -> None:
    facts = observed(worker("a", unready=True), worker("b"), pools=(pool(replicas=2),))
    known = {"a": view("a", draining=True, running=1), "b": view("b", draining=True)}
    assert plan(facts, NEW, decision(0, "a", "b"), known) == ()
    known["a"] = view("a", draining=True)
    assert plan(facts, NEW, decision(0, "a", "b"), known) == (Scale("tokens-r1", 2, 0, ("a", "b")),)
    known["b"] = view("b", draining=True, running=1)
    assert plan(facts, NEW, decision(0, "a", "b"), known) == (Scale("tokens-r1", 2, 1, ("a",)),)


def test_an_idle_worker_waits_while_the_cluster_would_take_another_that_it_has_not_seen_run_yet() -> None:
    known = {"a": view("a", running=1), "b": view("b", draining=True)}
    young = observed(worker("a", phase="Pending", age_seconds=1.0), worker("b"), pools=(pool(replicas=2),))
    assert plan(young, NEW, decision(1, "b"), known) == ()
    seen = observed(worker("a", age_seconds=1.0), worker("b"), pools=(pool(replicas=2),))
    assert plan(seen, NEW, decision(1, "b"), known) == (Scale("tokens-r1", 2, 1, ("b",)),)


def test_an_old_worker_waits_while_the_cluster_would_take_another_because_it_calls_it_not_ready() -> None:
    facts = observed(
        worker("o1", "r0", unready=True), worker("o2", "r0"), pools=(pool("r0", 2, "h0"), pool(replicas=0))
    )
    known = {"o1": view("o1", "r0", draining=True, running=1), "o2": view("o2", "r0", draining=True)}
    assert plan(facts, NEW, decision(0), known) == ()
