"""The scale-in protocol on a real Kubernetes: the operator is killed at each of its steps, and demand comes back in the
middle. Whoever was busy is still there, every job ran once, and nothing of the protocol is left behind.

One worker is busy all the time; two others have nothing to do any more, and are to go.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from submodel_operator.api.constants import DELETION_COST_ANNOTATION as COST
from tests.cluster.endpoints import (
    OURS,
    WAIT,
    apply_ready,
    condition,
    inline,
    staying,
    touch,
    touch_all,
    wait_for_reason,
)
from tests.cluster.holding import MARK, SHRINK, UNMARK, hold, holds, release_hold
from tests.cluster.job_api import JobApi
from tests.cluster.killing import Operator
from tests.cluster.kubernetes import get, kubectl, wait_for_path
from tests.cluster.watching import Changes, changes_of

EACH = {"scalerType": "REQUEST_COUNT", "scalerValue": 1, "idleTimeout": 1, "workersMax": 3}
"""A worker for each job, which leaves a second after its last one."""

States = list[dict[str, Any]]


class ScaleIn:
    """An endpoint with a busy worker and two that are about to have nothing to do; and what became of its pods."""

    def __init__(self, namespace: str, api: JobApi, pods: Changes, counts: Changes) -> None:
        self.namespace, self._api, self.pods, self.counts = namespace, api, pods, counts
        self._endpoint = apply_ready(namespace, inline(WAIT, EACH))
        self._long, *short = (self.submit(until) for until in ("the-end", "begun", "begun"))
        wait_for_path("sme/it", ".status.workers.busy", "3", namespace)
        self._short = short

    def begin(self) -> None:
        """The two jobs end, and the workers that ran them are to go."""
        touch_all("begun", self.namespace)
        results = [self._api.finished(self._endpoint, job) for job in self._short]
        self.idle = {str(each["output"]) for each in results}
        assert len(self.idle) == 2
        assert [each["retries"] for each in results] == [0, 0]

    def submit(self, until: str) -> str:
        """A job that ends when its worker is told `until`."""
        return self._api.run(self._endpoint, {"until": until})

    def demand_returns(self) -> list[str]:
        """Two more jobs, for which the chosen workers are needed again."""
        return [self.submit("once-more") for _ in range(2)]

    def served(self, jobs: list[str]) -> set[str]:
        """All run; they are told to end. Returns the pods that ran them."""
        wait_for_path("sme/it", ".status.workers.busy", "3", self.namespace)
        assert self.marked() == set(), "a worker that is busy must not go first"
        touch_all("once-more", self.namespace)
        results = [self._api.finished(self._endpoint, job) for job in jobs]
        assert [(each["status"], each["retries"]) for each in results] == [("COMPLETED", 0)] * 2
        return {str(each["output"]) for each in results}

    def ends_well(self) -> None:
        """The idle ones go, the busy one stays to the end of its job, and nothing is left."""
        self.pods.until(lambda states: len(_names(states) - departed(states)) == 1)
        wait_for_path("sme/it", ".status.workers.total", "1", self.namespace)
        (pod,) = get("pods", OURS, "-n", self.namespace)["items"]
        assert self.marked() == set()
        assert [each["spec"]["replicas"] for each in get("deployments", OURS, "-n", self.namespace)["items"]] == [1]
        touch_all("the-end", self.namespace)
        result = self._api.finished(self._endpoint, self._long)
        assert (result["status"], result["retries"], result["output"]) == ("COMPLETED", 0, pod["metadata"]["name"])
        wait_for_path("sme/it", ".status.phase", "Idle", self.namespace)
        assert [pod for pod in self.pods() if was_killed(pod)] == []

    def marked(self) -> set[str]:
        """Pods that are marked to go first, and are not on their way."""
        pods = staying(self.namespace)
        return {pod["metadata"]["name"] for pod in pods if COST in pod["metadata"].get("annotations", {})}


@pytest.fixture(scope="module")
def holding(cluster: None) -> Iterator[None]:
    """The API server refuses what `hold` says."""
    with holds():
        yield


@pytest.fixture
def scale_in(holding: None, namespace: str, api: JobApi) -> Iterator[ScaleIn]:
    """About to begin."""
    with changes_of("pods", namespace) as pods, changes_of("deployments", namespace) as counts:
        yield ScaleIn(namespace, api, pods, counts)


Step = Callable[[ScaleIn], None]
"""Returns when this point of the protocol is reached."""


def is_drained(each: ScaleIn) -> None:
    """The gateway hands both no more jobs, and says so."""
    wait_for_path("sme/it", ".status.workers.draining", "2", each.namespace)


def one_is_marked(each: ScaleIn) -> None:
    """The other one's mark is still refused."""
    is_drained(each)
    hold(each.namespace, MARK, only=min(each.idle))
    each.pods.until(lambda states: _marked(states) == each.idle - {min(each.idle)})


def both_are_marked(each: ScaleIn) -> None:
    """The count is refused."""
    each.pods.until(lambda states: _marked(states) == each.idle)


def count_is_written(each: ScaleIn) -> None:
    """The Deployment asks for one worker."""
    each.counts.until(lambda states: states[-1]["spec"].get("replicas") == 1)


def both_are_gone(each: ScaleIn) -> None:
    """Nobody has looked yet whether they were the right ones."""
    each.pods.until(lambda states: departed(states) == each.idle)


def nobody_is_chosen(each: ScaleIn) -> None:
    """They have not been idle for long enough."""


def kill_once(reached: Step, scale_in: ScaleIn, release: str, held: str) -> None:
    """The operator that begins the scale-in ends where this step is reached, and what was held is held on."""
    operator = Operator(release)
    if held:
        hold(scale_in.namespace, held)
    scale_in.begin()
    reached(scale_in)
    operator.kill()


@pytest.mark.parametrize(
    ("held", "reached"),
    [("", nobody_is_chosen), (MARK, one_is_marked), (SHRINK, both_are_marked), ("", both_are_gone)],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_what_an_operator_that_is_killed_has_begun_the_next_one_ends(
    release: str, scale_in: ScaleIn, held: str, reached: Step
) -> None:
    kill_once(reached, scale_in, release, held)
    release_hold(scale_in.namespace)
    both_are_gone(scale_in)
    scale_in.ends_well()


@pytest.mark.parametrize(
    ("held", "reached"),
    [(MARK, is_drained), ("", count_is_written)],
    ids=lambda value: value.__name__ if callable(value) else value,
)
def test_demand_that_comes_back_while_the_operator_is_dead_is_served_by_whoever_is_left(
    release: str, scale_in: ScaleIn, held: str, reached: Step
) -> None:
    kill_once(reached, scale_in, release, held)
    jobs = scale_in.demand_returns()
    release_hold(scale_in.namespace)
    assert (scale_in.served(jobs) == scale_in.idle) is (reached is is_drained)
    scale_in.ends_well()


def test_marks_that_are_not_used_are_taken_off_although_the_operator_is_killed_before_and_meanwhile(
    release: str, scale_in: ScaleIn
) -> None:
    kill_once(both_are_marked, scale_in, release, SHRINK)
    hold(scale_in.namespace, UNMARK)
    jobs = scale_in.demand_returns()
    second = Operator(release)
    while "the mark of a pod" not in condition(scale_in.namespace, "Ready")["message"]:
        pass
    second.kill()
    release_hold(scale_in.namespace)
    assert scale_in.served(jobs) == scale_in.idle
    scale_in.ends_well()


def test_deletion_costs_that_are_rewritten_between_mark_and_shrink_send_nobody_else(scale_in: ScaleIn) -> None:
    hold(scale_in.namespace, SHRINK)
    scale_in.begin()
    both_are_marked(scale_in)
    names = {pod["metadata"]["name"] for pod in get("pods", OURS, "-n", scale_in.namespace)["items"]}
    for name in names:
        cost = 1000 if name in scale_in.idle else -2147483647
        kubectl("annotate", "--overwrite", "pod", name, "-n", scale_in.namespace, f"{COST}={cost}")
    (busy,) = names - scale_in.idle
    assert busy in wait_for_reason(scale_in.namespace, "Undisturbed", "DeletionCostByOthers")
    release_hold(scale_in.namespace)
    # What was refused is tried again after ever longer pauses; a changed manifest ends such a pause.
    change = '{"spec": {"scaling": {"workersMax": 4}}}'
    kubectl("patch", "sme", "it", "-n", scale_in.namespace, "--type=merge", "-p", change)
    both_are_gone(scale_in)
    kubectl("annotate", "pod", busy, "-n", scale_in.namespace, f"{COST}-")
    scale_in.ends_well()


def test_a_busy_worker_whose_readiness_probe_fails_is_not_taken_in_place_of_an_idle_one(
    namespace: str, api: JobApi
) -> None:
    probe = {"exec": {"command": ["python", "-c", "import os; assert not os.path.exists('/tmp/unready')"]}}
    container = {"name": "worker", "readinessProbe": {**probe, "periodSeconds": 1, "timeoutSeconds": 5}}
    template = {"spec": {"containers": [container]}}
    endpoint = apply_ready(namespace, inline(WAIT, {**EACH, "idleTimeout": 20}, podTemplate=template))
    long, short = (api.run(endpoint, {"until": until}) for until in ("the-end", "begun"))
    wait_for_path("sme/it", ".status.workers.busy", "2", namespace)
    pods = {pod["metadata"]["name"] for pod in get("pods", OURS, "-n", namespace)["items"]}
    touch("begun", *pods, namespace=namespace)
    idle = api.finished(endpoint, short)["output"]
    (busy,) = pods - {idle}
    touch("unready", busy, namespace=namespace)
    assert f"worker {busy} is to stay" in wait_for_reason(namespace, "Undisturbed", "UnreadyWorker")
    assert {pod["metadata"]["name"] for pod in get("pods", OURS, "-n", namespace)["items"]} == pods
    kubectl("exec", busy, "-n", namespace, "--", "python", "-c", "import os; os.remove('/tmp/unready')")
    kubectl("wait", f"pod/{idle}", "-n", namespace, "--for=delete", "--timeout=60s")
    touch("the-end", busy, namespace=namespace)
    result = api.finished(endpoint, long)
    assert (result["status"], result["retries"], result["output"]) == ("COMPLETED", 0, busy)


def was_killed(pod: dict[str, Any]) -> bool:
    """Whether its worker did not leave by itself."""
    statuses = pod["status"].get("containerStatuses", ())
    ended = [status["state"]["terminated"] for status in statuses if "terminated" in status["state"]]
    return any(each["exitCode"] not in (0, 143) for each in ended) or any(each["restartCount"] for each in statuses)


def departed(states: States) -> set[str]:
    """Pods that are gone."""
    return {each["metadata"]["name"] for each in states if each["event"] == "DELETED"}


def _names(states: States) -> set[str]:
    return {each["metadata"]["name"] for each in states}


def _marked(states: States) -> set[str]:
    """Who bears a mark by the newest word on each."""
    newest = {each["metadata"]["name"]: each["metadata"].get("annotations", {}) for each in states}
    return {name for name, annotations in newest.items() if COST in annotations}
