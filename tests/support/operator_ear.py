"""The operator's ear at gateways, without the operator."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from submodel_operator.clock import SystemClock
from submodel_operator.gateway_client import GatewayClient
from submodel_operator.ports import Key, Signals
from tests.support.live_gateway import INTERNAL_TOKEN

WAIT_SECONDS = 60.0


class Ear:
    """The operator's client while it follows gateways, and what a test waits to hear of one endpoint."""

    def __init__(self, client: GatewayClient, endpoint: str) -> None:
        self.client = client
        self._endpoint = endpoint
        self._news = asyncio.Event()

    def changed(self, key: Key) -> None:
        """There is news; called by `GatewayClient.watch`."""
        self._news.set()

    async def until(self, true: Callable[[Signals], bool]) -> None:
        """Returns once it has heard of the endpoint what is wished."""
        async with asyncio.timeout(WAIT_SECONDS):
            while (signals := self.client.signals(self._endpoint)) is None or not true(signals):
                self._news.clear()
                await self._news.wait()

    async def until_unknown(self) -> None:
        """Returns once the gateways do not know the endpoint."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.client.signals(self._endpoint) is not None:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def following(url: str, endpoint: str) -> AsyncIterator[Ear]:
    """An ear at the internal port `url`."""
    async with GatewayClient(url, INTERNAL_TOKEN, SystemClock()) as client:
        ear = Ear(client, endpoint)
        watch = asyncio.create_task(client.watch(ear.changed))
        try:
            yield ear
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch
