"""aiohttp sessions that send calls to one gateway. The asynchronous client's edge."""

import asyncio
import random
import time

import aiohttp

from submodel.client import answers, retry
from submodel.client.answers import Answer, Document, NoAnswer, Outcome
from submodel.client.calls import Call
from submodel.client.limits import try_seconds
from submodel.client.settings import Target

CONNECT_SECONDS = 5.0
READING_SECONDS = 240.0
"""What reading a large answer may take, once it has begun to come."""


class Sessions:
    """Sends calls through the caller's session, or through one of its own that it makes when it is needed."""

    def __init__(self, target: Target, session: aiohttp.ClientSession | None) -> None:
        self.target = target
        self._given = session
        self._own: aiohttp.ClientSession | None = None

    async def ask(self, call: Call, seconds: float) -> Document:
        """The document that answers `call`, which is sent again within `seconds` while that may help.

        Raises what `answers.document` raises.
        """
        deadline = time.monotonic() + seconds
        tries = 0
        while True:
            tries += 1
            outcome = await self.exchange(call, try_seconds(call, deadline - time.monotonic()))
            pause = retry.pause_seconds(call, outcome, tries, random.random())
            if pause is None or time.monotonic() + pause >= deadline:
                return answers.document(outcome, self.target.base_url + call.path)
            await self.pause(pause)

    async def exchange(self, call: Call, seconds: float) -> Outcome:
        """One try."""
        url = self.target.base_url + call.path
        limits = aiohttp.ClientTimeout(
            total=seconds + READING_SECONDS, sock_connect=min(CONNECT_SECONDS, seconds), sock_read=seconds
        )
        headers = self.target.headers() | call.headers()
        try:
            async with self._session().request(
                call.method, url, data=call.body, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                wait = answers.retry_after_seconds(response.headers.get("Retry-After"), response.headers.get("Date"))
                return Answer(response.status, await response.read(), wait)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            return NoAnswer(_reason(error), carried_out=False)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return NoAnswer(_reason(error))

    async def pause(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def close(self) -> None:
        """Close the session, unless it is the caller's."""
        if self._own is not None:
            own, self._own = self._own, None
            await own.close()

    def _session(self) -> aiohttp.ClientSession:
        if self._given is not None:
            return self._given
        if self._own is None or self._own.closed:
            # Held requests need a connection each, and a job that waits must not keep another from being submitted.
            self._own = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        return self._own


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return str(error) or type(error).__name__
