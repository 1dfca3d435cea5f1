"""What the operator hears of gateways that share a PostgreSQL, by the one address that it knows."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from submodel.contract.internal import EndpointRegistration
from tests.support.balancer import Balancer
from tests.support.live_gateway import Http, LiveGateway
from tests.support.operator_ear import following
from tests.support.postgres import shared_server

pytestmark = pytest.mark.slow

ENDPOINT = "ns.e"


@pytest.fixture
def gateways(tmp_path: Path, url: str) -> Iterator[list[LiveGateway]]:
    with ExitStack() as exit:
        yield [exit.enter_context(LiveGateway(tmp_path, SUBMODEL_GATEWAY_STORE=url)) for _ in range(2)]


def submit(gateway: LiveGateway) -> None:
    with Http(gateway.public) as client:
        client.ok("POST", f"/v2/{ENDPOINT}/run", {"input": 1})


async def test_it_hears_of_each_job_wherever_it_came_in(gateways: list[LiveGateway]) -> None:
    with Balancer(gateways, internal=True) as service:
        async with following(service.url, ENDPOINT) as ear:
            await ear.client.register(EndpointRegistration(endpoint_id=ENDPOINT, epoch="uid", generation=1))
            for number in range(6):
                await asyncio.to_thread(submit, gateways[number % 2])
                await ear.until(lambda signals, queued=number + 1: signals.snapshot.queued == queued)  # type: ignore[misc]  # a default binds it


async def test_it_goes_on_hearing_when_the_one_it_spoke_to_is_killed(gateways: list[LiveGateway]) -> None:
    first, second = gateways
    with Balancer([first], internal=True) as service:
        async with following(service.url, ENDPOINT) as ear:
            await ear.client.register(EndpointRegistration(endpoint_id=ENDPOINT, epoch="uid", generation=1))
            await asyncio.to_thread(submit, first)
            await ear.until(lambda signals: signals.snapshot.queued == 1)
            service.members = [second]
            first.kill()
            await asyncio.to_thread(submit, second)
            await ear.until(lambda signals: signals.snapshot.queued == 2)


async def test_an_endpoint_that_an_emptied_or_another_database_does_not_have_is_registered_anew(
    tmp_path: Path, gateways: list[LiveGateway]
) -> None:
    registration = EndpointRegistration(endpoint_id=ENDPOINT, epoch="uid", generation=1)
    with (
        shared_server().database() as another,
        LiveGateway(tmp_path, SUBMODEL_GATEWAY_STORE=another) as moved,
        Balancer(gateways, internal=True) as service,
    ):
        async with following(service.url, ENDPOINT) as ear:
            await ear.client.register(registration)
            await ear.until(lambda signals: True)
            service.members = [moved]
            for gateway in gateways:
                gateway.kill()
            await ear.until_unknown()
            await ear.client.register(registration)
            await ear.until(lambda signals: signals.snapshot.registration == "uid/1")
            await asyncio.to_thread(submit, moved)
