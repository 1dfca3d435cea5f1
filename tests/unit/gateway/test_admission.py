"""Who is let in, and when: rates, requests under way, the queue, and what is remembered of callers."""

from collections.abc import Mapping

import pytest

from submodel.contract.states import WorkerPhase
from submodel_gateway.errors import ConfigurationError, NotFound, Overloaded
from submodel_gateway.http import operations
from submodel_gateway.ratelimit.figures import ALL, STANDARD, Figures, figures
from submodel_gateway.service.admission import Admission, NotAdmitted, RateExceeded
from submodel_gateway.service.endpoints import Endpoints, EndpointState
from submodel_gateway.service.session import Session
from tests.support.gateway_world import ENDPOINT, TestClock, World, presence, registration


class Door:
    """An admission over one endpoint."""

    def __init__(self, rates: Mapping[str, Figures] = STANDARD, gateways: int = 1) -> None:
        self.clock = TestClock()
        self.gateways = gateways
        endpoints = Endpoints()
        self.state: EndpointState = endpoints.put(registration())
        self.admission = Admission(rates, endpoints, self.clock, lambda endpoint: self.gateways)

    def passed(self, tries: int, group: str = "run", account: str = "ci") -> int:
        """How many of these requests come through, one at a time."""
        count = 0
        for _ in range(tries):
            try:
                self.admission.enter(ENDPOINT, group, account).end()
            except RateExceeded:
                continue
            count += 1
        return count


@pytest.mark.requirement("platform.rates")
@pytest.mark.parametrize(
    ("group", "limit"),
    [("run", 1_000), ("runsync", 2_000), ("status", 2_000), ("cancel", 100), ("purge-queue", 2), ("requests", 10)],
)
def test_the_figures_of_the_hosted_platforms_are_the_default(group: str, limit: int) -> None:
    door = Door()
    assert door.passed(limit + 50, group) == limit
    door.clock.ms += 5_000
    assert door.passed(limit + 50, group) == limit // 2


def test_groups_do_not_share_their_limits() -> None:
    door = Door({**STANDARD, "status": Figures(4, None), "run": Figures(1, None)})
    assert (door.passed(9, "status"), door.passed(9, "run"), door.passed(1, "cancel")) == (4, 1, 1)


def test_every_operation_belongs_to_a_group_that_has_figures() -> None:
    used = {operation.group for operation in operations.OPERATIONS}
    assert used | {ALL} == set(STANDARD)


def test_keys_do_not_share_theirs() -> None:
    door = Door({"run": Figures(3, None)})
    assert (door.passed(9, account="a"), door.passed(9, account="b"), door.passed(1, account="a")) == (3, 3, 0)


def test_a_refusal_says_when_to_come_back() -> None:
    door = Door({"run": Figures(1, None)})
    door.passed(1)
    with pytest.raises(RateExceeded, match="more than 1 requests of run in 10 s") as refused:
        door.admission.enter(ENDPOINT, "run", "ci")
    assert refused.value.retry_after_seconds == 10
    door.clock.ms += 9_999
    assert door.passed(1) == 0
    door.clock.ms += 1
    assert door.passed(1) == 1


def test_more_requests_at_once_than_allowed_wait_for_each_other() -> None:
    door = Door({"run": Figures(None, 2)})
    first, _ = [door.admission.enter(ENDPOINT, "run", "ci") for _ in range(2)]
    with pytest.raises(Overloaded, match="2 requests of run at this endpoint are under way") as refused:
        door.admission.enter(ENDPOINT, "run", "ci")
    assert refused.value.retry_after_seconds == 1
    door.admission.enter(ENDPOINT, "run", "other")
    first.end()
    first.end()
    door.admission.enter(ENDPOINT, "run", "ci")
    with pytest.raises(Overloaded):
        door.admission.enter(ENDPOINT, "run", "ci")


def test_a_key_has_a_bound_over_all_that_it_does() -> None:
    door = Door({ALL: Figures(None, 2)})
    for group in ("run", "status"):
        door.admission.enter(ENDPOINT, group, "ci")
    with pytest.raises(Overloaded, match="2 requests of this API key are under way"):
        door.admission.enter(ENDPOINT, "cancel", "ci")
    door.admission.enter(ENDPOINT, "cancel", "")


def test_a_refusal_for_too_many_at_once_says_what_is_left_too() -> None:
    door = Door({"run": Figures(5, 1), ALL: Figures(None, 2)})
    door.admission.enter(ENDPOINT, "run", "ci")
    for _ in range(2):
        with pytest.raises(NotAdmitted, match="run at this endpoint") as refused:
            door.admission.enter(ENDPOINT, "run", "ci")
        assert refused.value.decision is not None
        assert (refused.value.decision.limit, refused.value.decision.remaining) == (5, 4)
    door.admission.enter(ENDPOINT, "cancel", "ci")
    with pytest.raises(NotAdmitted, match="this API key") as refused:
        door.admission.enter(ENDPOINT, "status", "ci")
    assert refused.value.decision is None, "this group has no rate"


def test_the_parts_of_a_request_count_for_its_rate_and_are_no_more_requests_at_once() -> None:
    door = Door({"run": Figures(4, 1), ALL: Figures(None, 1)})
    passed = door.admission.enter(ENDPOINT, "run", "ci")
    for left in (2, 1, 0):
        door.admission.count(passed)
        assert passed.decision is not None
        assert passed.decision.remaining == left
    with pytest.raises(RateExceeded):
        door.admission.count(passed)
    passed.end()
    assert door.passed(9) == 0


def test_what_was_refused_for_being_too_many_at_once_used_nothing_up() -> None:
    door = Door({"run": Figures(2, 1)})
    passed = door.admission.enter(ENDPOINT, "run", "ci")
    for _ in range(5):
        with pytest.raises(Overloaded):
            door.admission.enter(ENDPOINT, "run", "ci")
    passed.end()
    assert door.passed(9) == 1


@pytest.mark.requirement("platform.rates")
def test_limits_grow_with_the_workers_that_run() -> None:
    door = Door({"run": Figures(100, None, 40)})
    for name in ("w-1", "w-2"):
        door.state.presence[name] = presence(name)
    assert door.passed(500) == 100, "40 for each of 2 are less than 100"
    for number in range(5):
        session = Session(f"w-{number}", "s", "r1", 0, 0, phase=WorkerPhase.READY)
        door.state.sessions[session.worker] = session
    door.clock.ms += 60_000
    assert door.passed(500) == 200
    for session in door.state.sessions.values():
        session.gone = True
    door.state.presence = {"w-1": presence("w-1", "Pending")}
    door.clock.ms += 60_000
    assert door.passed(500) == 100


def test_gateways_share_the_limits_of_their_store() -> None:
    doors = [Door({"run": Figures(1_000, None), "purge-queue": Figures(2, None)}, gateways=3) for _ in range(3)]
    assert 1_000 <= sum(door.passed(1_000) for door in doors) <= 1_002
    assert [door.passed(9, "purge-queue") for door in doors] == [1, 1, 1], "none of them lets nothing through"
    for door in doors[:2]:
        door.gateways = 2
        door.clock.ms += 60_000
    assert [door.passed(1_000) for door in doors[:2]] == [500, 500]


def test_keys_that_are_idle_are_forgotten_and_those_that_are_not_are_kept() -> None:
    door = Door({"run": Figures(10, 10)})
    for number in range(1_000):
        door.passed(1, account=f"key-{number}")
    busy = door.admission.enter(ENDPOINT, "run", "busy")
    assert len(door.admission) == 1_001
    door.clock.ms += 60_000
    door.passed(1, account="late")
    assert len(door.admission) == 2, "the busy key's and the late one's"
    busy.end()


def test_endpoints_that_do_not_exist_leave_nothing_behind() -> None:
    door = Door()
    for number in range(100):
        with pytest.raises(NotFound):
            door.admission.enter(f"ns.made-up-{number}", "run", "ci")
    assert len(door.admission) == 0


def test_switched_off_nothing_is_limited_or_remembered() -> None:
    door = Door(figures(["off"]))
    assert door.passed(5_000) == 5_000
    assert len(door.admission) == 0


@pytest.mark.parametrize(
    ("words", "group", "expected"),
    [
        ("", "run", STANDARD["run"]),
        ("run=5000", "run", Figures(5_000, 200, 100)),
        ("run=5000/10", "run", Figures(5_000, 10, 100)),
        ("run=off/10", "run", Figures(None, 10, 100)),
        ("run=5/off/0", "run", Figures(5, None, 0)),
        ("cancel=7 run=off", "run", Figures(None, None)),
        ("cancel=7 run=off", "status", STANDARD["status"]),
        ("all=off/50", ALL, Figures(None, 50)),
        ("all=off", ALL, Figures(None, None)),
    ],
)
def test_an_installation_changes_what_it_names(words: str, group: str, expected: Figures) -> None:
    assert figures(words.split())[group] == expected


@pytest.mark.parametrize("words", ["run", "run=", "run=0", "run=1/2/3/4", "walk=1", "run=1 run=2", "off off", "all=5"])
def test_what_cannot_be_read_is_named_with_a_remedy(words: str) -> None:
    with pytest.raises(ConfigurationError, match=r"SUBMODEL_GATEWAY_RATE_LIMITS: .*; give"):
        figures(words.split())


@pytest.mark.requirement("platform.queue")
@pytest.mark.parametrize(("workers_max", "most"), [(0, 50), (1, 50), (20, 100), (None, 300)])
async def test_a_queue_grows_to_what_its_workers_may_get_through(workers_max: int | None, most: int) -> None:
    world = World(queue_limit=5)
    await world.sweep()
    await world.register(workers_max=workers_max)
    # The first above the limit is still taken, as on the hosted platforms.
    for _ in range(300 if workers_max is None else most + 1):
        await world.submit()
    if workers_max is not None:
        with pytest.raises(Overloaded, match=r"scaling\.workersMax") as refused:
            await world.submit()
        assert refused.value.retry_after_seconds == 5
        await world.gateway.clients.purge(ENDPOINT)
        assert await world.submit()
    await world.gateway.close()


async def test_an_endpoint_may_bound_its_queue_itself() -> None:
    world = World()
    await world.sweep()
    await world.register(workers_max=0, queued_max=3)
    for _ in range(4):
        await world.submit()
    with pytest.raises(Overloaded, match=r"3 jobs and more are queued.*raise jobs\.maxQueued"):
        await world.submit()
    await world.gateway.close()


async def test_without_a_queue_limit_a_queue_has_none() -> None:
    world = World()
    await world.sweep()
    await world.register(workers_max=0)
    for _ in range(120):
        await world.submit()
    await world.gateway.close()
