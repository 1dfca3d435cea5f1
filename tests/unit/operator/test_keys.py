"""API keys in Secrets: what is one, what is said of the rest, and how soon a change counts."""

import hashlib

import pytest

from submodel.contract.internal import EndpointKey
from submodel_operator.errors import ClusterRefused, ClusterUnavailable
from submodel_operator.reconcile.keys import AGAIN_SECONDS, FRESH_SECONDS, KEYS_MAX, KeyReader, OwnKeys, keys_in
from tests.support.endpoints import KEY, signals
from tests.support.memory_world import ManualClock, MemoryCluster
from tests.support.operator_world import World

TEXT = "a-long-random-text-of-some-length"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_text_is_a_key_for_everything_and_a_document_says_more() -> None:
    document = b'{"key": "%s", "scopes": ["read"], "expiresAt": "2027-01-31T00:00:00Z"}' % TEXT.encode()
    found = keys_in("team", {"ci": f"{TEXT}\n".encode(), "app": document})
    assert found == OwnKeys(
        (
            EndpointKey("team/app", sha256(TEXT), ("read",), 1_801_353_600_000),
            EndpointKey("team/ci", sha256(TEXT), ("read", "run"), None),
        )
    )


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (b"", "is no key: use a random text of 32"),
        (b"too-short-" + b"x" * 20, "is no key: use a random text of 32"),
        (b"with space " + b"x" * 40, "is no key"),
        (b"\xff" * 40, "is no key"),
        (b"x" * 513, "is no key"),
        (b'{"key": "short"}', "is no key"),
        (b"{", "begins like JSON and is none"),
        (b'{"key": "\xff"}', "begins like JSON and is none"),
        (b'{"token": "x"}', "does not fit: Object contains unknown field `token`"),
        (b'{"key": "%s", "scopes": ["admin"]}' % TEXT.encode(), "has a scope 'admin'; there are read and run"),
        (b'{"key": "%s", "expiresAt": "2027-01-31T00:00:00"}' % TEXT.encode(), "without time zone"),
        (b'{"key": "%s", "expiresAt": "soon"}' % TEXT.encode(), "does not fit: Invalid RFC3339"),
    ],
)
def test_what_is_no_key_is_named_by_its_place_and_never_by_its_text(value: bytes, sentence: str) -> None:
    found = keys_in("team", {"ci": value, "good": TEXT.encode()})
    assert [key.id for key in found.keys] == ["team/good"], "the others work all the same"
    assert found.problem.startswith("entry ci of Secret team ")
    assert sentence in found.problem
    assert TEXT not in found.problem


async def test_a_secret_is_read_once_in_a_while() -> None:
    cluster, clock = MemoryCluster(), ManualClock()
    reader = KeyReader(cluster, clock)
    cluster.secrets["team-a", "one"] = {"ci": TEXT.encode()}
    for _ in range(5):
        assert [key.id for key in (await reader.read("team-a", ["one", "two"])).keys] == ["one/ci"]
    assert cluster.secrets_read == ["one", "two"]
    assert (await reader.read("team-b", ["one"])).problem == "Secret one does not exist", "namespaces are apart"
    cluster.secrets["team-a", "one"] = {}
    clock.seconds += FRESH_SECONDS
    assert (await reader.read("team-a", ["one"])).keys == ()


async def test_an_endpoint_has_a_bounded_number_of_keys_and_says_so() -> None:
    cluster = MemoryCluster()
    for name in ("one", "two"):
        cluster.secrets["team-a", name] = {f"k{number}": b"%s-%d" % (TEXT.encode(), number) for number in range(600)}
    found = await KeyReader(cluster, ManualClock()).read("team-a", ["one", "two"])
    assert len(found.keys) == KEYS_MAX
    assert found.problem.startswith("there are 1200 keys, of which the first 1000 count")


async def test_a_secret_that_the_operator_may_not_read_is_told() -> None:
    cluster = MemoryCluster(refuse_secrets=ClusterRefused("secrets is forbidden"))
    found = await KeyReader(cluster, ManualClock()).read("team-a", ["one"])
    assert found == OwnKeys(problem="Secret one cannot be read: secrets is forbidden")


WITH_SECRET = {"auth": {"keySecrets": [{"name": "one"}]}}


def condition(world: World) -> dict[str, str]:
    return next((dict(each) for each in world.status["conditions"] if each["type"] == "KeysUsable"), {})


async def test_keys_are_pushed_and_a_revoked_one_is_left_out_within_half_a_minute() -> None:
    world = World(**WITH_SECRET)
    world.cluster.secrets[KEY.namespace, "one"] = {"ci": TEXT.encode()}
    world.gateway.say(signals())
    outcome = await world.step()
    assert world.gateway.registrations[-1].api_keys == [EndpointKey("one/ci", sha256(TEXT))]
    assert (condition(world)["status"], condition(world)["reason"]) == ("True", "KeysKnown")
    assert outcome.again_after_seconds <= AGAIN_SECONDS
    del world.cluster.secrets[KEY.namespace, "one"]
    world.clock.seconds += AGAIN_SECONDS
    await world.step()
    assert world.gateway.registrations[-1].api_keys == []
    assert condition(world)["reason"] == "KeySecretUnusable"
    assert "Secret one does not exist" in condition(world)["message"]
    assert world.ready()["status"] == "True", "the installation's keys work all the same"
    assert AGAIN_SECONDS + FRESH_SECONDS - 5 <= 30


async def test_keys_stay_in_force_while_the_cluster_is_away() -> None:
    world = World(**WITH_SECRET)
    world.cluster.secrets[KEY.namespace, "one"] = {"ci": TEXT.encode()}
    await world.step()
    world.cluster.refuse_secrets = ClusterUnavailable("away")
    world.clock.seconds += AGAIN_SECONDS
    with pytest.raises(ClusterUnavailable):
        await world.step()
    assert world.gateway.registrations[-1].api_keys


async def test_an_endpoint_without_secrets_reads_none_and_says_nothing_of_keys() -> None:
    world = World()
    world.gateway.say(signals())
    await world.step()
    assert (world.cluster.secrets_read, condition(world)) == ([], {})
    assert (world.gateway.registrations[-1].open, world.gateway.registrations[-1].api_keys) == (False, [])


async def test_an_endpoint_is_open_only_when_it_says_so() -> None:
    world = World(auth={"mode": "None"})
    await world.step()
    assert world.gateway.registrations[-1].open


async def test_a_suspended_endpoint_keeps_its_queue() -> None:
    world = World(suspend=True, scaling={"workersMax": 7})
    await world.step()
    assert world.gateway.registrations[-1].workers_max == 7
