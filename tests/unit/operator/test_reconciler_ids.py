"""Ids of their own in the URLs of endpoints: who has one, who waits for it, who gives it up."""

from submodel_operator.ports import Key
from submodel_operator.reconcile.endpoint import MISSING_PERIOD_SECONDS
from tests.support.endpoints import KEY, signals
from tests.support.operator_world import World


async def test_an_id_of_its_own_is_in_registration_url_and_every_call_to_the_gateway() -> None:
    world = World(endpointId="speech")
    world.gateway.say(signals(endpoint_id="speech", owner="team-a.tokens"))
    world.cluster.holders["speech"] = KEY
    await world.step()
    (registration,) = world.gateway.registrations
    assert (registration.endpoint_id, registration.owner) == ("speech", "team-a.tokens")
    assert world.status["url"] == "https://jobs.example/v2/speech"
    world.gateway.say(signals(endpoint_id="speech", owner="team-a.tokens", queued=1))
    await world.step()
    assert world.replicas == [1]


async def test_an_id_that_an_older_endpoint_has_is_told_and_taken_when_it_is_free() -> None:
    world = World(endpointId="speech")
    world.cluster.holders["speech"] = Key("team-a", "elder")
    outcome = await world.step()
    assert (outcome.failure, outcome.again_after_seconds) == (None, MISSING_PERIOD_SECONDS)
    ready = world.ready()
    assert (ready["status"], ready["reason"]) == ("False", "EndpointIdTaken")
    assert "speech belongs to endpoint elder, which is older; create it anew with another id" in ready["message"]
    assert (world.gateway.registrations, world.cluster.applied) == ([], [])
    world.gateway.say(signals(endpoint_id="speech", owner="team-a.tokens"))
    world.cluster.holders["speech"] = KEY
    await world.step()
    assert world.ready()["status"] == "True"


async def test_an_id_that_a_stranger_has_is_told_without_the_strangers_name() -> None:
    world = World(endpointId="speech")
    world.cluster.holders["speech"] = Key("team-b", "secret-plans")
    await world.step()
    assert "an endpoint of another namespace" in world.ready()["message"]
    assert "secret-plans" not in world.ready()["message"]


async def test_who_waits_for_an_id_is_looked_at_as_soon_as_its_owner_is_forgotten() -> None:
    world = World(endpointId="speech")
    elder = Key("team-a", "elder")
    world.cluster.holders["speech"] = elder
    await world.step()
    world.gateway.say(signals(endpoint_id="speech", owner="team-a.elder"))
    outcome = await world.reconciler.reconcile(elder)
    assert world.gateway.forgotten == ["speech"]
    assert outcome.others == {KEY}


async def test_an_id_of_a_namesake_before_is_given_up() -> None:
    world = World(endpointId="speech")
    world.gateway.say(signals(endpoint_id="text", owner="team-a.tokens"))
    await world.step()
    assert world.gateway.forgotten == ["text"]
