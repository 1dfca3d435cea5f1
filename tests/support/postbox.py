"""The far end of webhooks for tests without a network: remembers what came and answers as told."""

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from submodel_gateway.http.answers import job_answer
from submodel_gateway.service.dispatcher import Outgoing
from submodel_gateway.webhooks import answer
from submodel_gateway.webhooks.answer import Answer
from submodel_gateway.webhooks.targets import Rules, Target
from tests.support.gateway_world import World, settle


@dataclass(frozen=True)
class Letter:
    """One try that arrived."""

    host: str
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Postbox:
    """`send` is that of `Outgoing`. Answers 200 unless `answers` has something else."""

    letters: list[Letter] = field(default_factory=list)
    answers: deque[Answer | Exception] = field(default_factory=deque)
    held: dict[str, "asyncio.Future[Answer]"] = field(default_factory=dict)
    """Hosts that answer when the test sets a result."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, target: Target, headers: Mapping[str, str], body: bytes) -> Answer:
        self.letters.append(Letter(target.host, target.url, headers, body))
        self.arrived.set()
        if (held := self.held.get(target.host)) is not None:
            return await asyncio.shield(held)
        said = self.answers.popleft() if self.answers else answer.of_status(200)
        if isinstance(said, Exception):
            raise said
        return said

    def hold(self, host: str) -> None:
        """Answer for this host only when told."""
        self.held[host] = asyncio.get_running_loop().create_future()

    def say(self, host: str, status: int = 200) -> None:
        """Answer everything that this host holds."""
        self.held.pop(host).set_result(answer.of_status(status))

    def outgoing(self, *keys: bytes, rules: Rules | None = None) -> Outgoing:
        return Outgoing(self.send, job_answer, rules or Rules(), keys)


async def dispatch(world: World) -> None:
    """What the gateway's own dispatchers do when something is due, until everything that can end has ended."""
    for dispatcher in world.gateway.webhooks.dispatchers:
        while not await dispatcher.turn():
            await settle()
        await settle()
