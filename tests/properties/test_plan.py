"""What holds for every plan: only who is known to hold nothing leaves, whatever is observed and said of workers."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from submodel.contract.states import WorkerPhase
from submodel_operator.desired import DesiredPool
from submodel_operator.plan import DeletePool, Drain, Replace, Scale, Undrain, plan
from submodel_operator.ports import Observed
from submodel_operator.scaling import ScalingDecision, Term
from tests.support.endpoints import observed, pool, view, worker

REVISIONS = ("r0", "r1", "r2")
PRESENT = DesiredPool("tokens-r1", "r1", "h1", ({"kind": "Deployment"},))
NAMES = tuple(f"w{number}" for number in range(6))

_workers: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "revision": st.sampled_from(REVISIONS),
        "phase": st.sampled_from(["Running", "Pending", "CrashLoopBackOff", "ImagePullBackOff", "Unschedulable"]),
        "age_seconds": st.sampled_from([1.0, 60.0]),
        "terminating": st.booleans(),
        "unready": st.booleans(),
        "marked": st.booleans(),
    }
)
_views = st.fixed_dictionaries(
    {
        "phase": st.sampled_from(list(WorkerPhase)),
        "running": st.integers(0, 2),
        "draining": st.booleans(),
        "replace": st.booleans(),
        "failed": st.sampled_from([0, 9]),
    }
)


@st.composite
def _facts(draw: st.DrawFn) -> Observed:
    present = [worker(name, **fields) for name in NAMES if (fields := draw(st.none() | _workers))]
    pools = [pool(each, draw(st.integers(0, 4))) for each in REVISIONS if draw(st.booleans())]
    return observed(*present, pools=tuple(pools))


@given(
    _facts(),
    st.dictionaries(st.sampled_from(NAMES), _views),
    st.integers(0, 4),
    st.sets(st.sampled_from(NAMES)),
    st.sets(st.sampled_from(REVISIONS)),
)
def test_only_workers_that_are_known_to_hold_nothing_leave(
    facts: Observed, said: dict[str, Any], replicas: int, remove: set[str], broken: set[str]
) -> None:
    revisions = {each.name: each.revision for each in facts.workers}
    views = {name: view(name, revisions.get(name, "r1"), **fields) for name, fields in said.items()}
    chosen = tuple(sorted(name for name in remove if revisions.get(name) == "r1"))
    decision = ScalingDecision(replicas, Term.STEADY, "because", chosen)
    actions = plan(facts, PRESENT, decision, views, broken=broken)
    leaving = {name for each in actions if isinstance(each, Scale) for name in each.victims}
    leaving |= {each.worker for each in actions if isinstance(each, Replace)}
    assert all(name in views and views[name].draining and not views[name].running for name in leaving)
    alive = {each.revision for each in facts.workers if not each.terminating}
    names = {each.name: each.revision for each in facts.pools}
    for each in actions:
        if isinstance(each, Scale) and each.replicas < each.present:
            assert len(each.victims) == each.present - each.replicas or names[each.pool] not in alive
    assert all(names[each.pool] not in alive for each in actions if isinstance(each, DeletePool))
    drained = {name for each in actions if isinstance(each, Drain) for name in each.workers}
    assert not drained & {name for each in actions if isinstance(each, Undrain) for name in each.workers}
    told = drained | {name for name, each in views.items() if each.draining}
    useless = set(names.values()) & broken - {"r1"}
    assert {each.name for each in facts.workers if each.revision in useless and not each.terminating} <= told
