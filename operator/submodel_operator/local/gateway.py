"""The gateway process of local mode: started first, ended last, started again on the same ports when it dies."""

import asyncio
import os
import re
import secrets
import sys
from pathlib import Path
from urllib.parse import quote

from submodel_operator.errors import UsageError
from submodel_operator.local.processes import Announce, ChildProcess

START_SECONDS = 30.0
STOP_SECONDS = 10.0
OPTIONS = {"submodel-gateway: ": "", "SUBMODEL_GATEWAY_LISTEN": "--port", "SUBMODEL_GATEWAY_STORE": "--data"}
"""The gateway speaks of its settings; a person at the terminal knows these options instead."""

_PREFIX = re.compile(r"^\S+ \S+ (WARNING|ERROR) \S+ ")
_LISTENING = re.compile(r"listening public=(?P<public>\S+) internal=(?P<internal>\S+)")


class LocalGateway:
    """Runs `submodel_gateway` on loopback with SQLite in `folder`, for the endpoint that is about to be registered."""

    def __init__(self, folder: Path, listen: str, endpoint_id: str, announce: Announce) -> None:
        self._folder = folder
        self._endpoint_id = endpoint_id
        self._announce = announce
        self._listen = listen
        self._internal_listen = "127.0.0.1:0"
        self._child: ChildProcess | None = None
        self._stopping = asyncio.Event()
        self._listening: asyncio.Future[tuple[str, str]] | None = None
        self.token = secrets.token_urlsafe(32)
        self.url = ""
        self.internal_url = ""

    async def start(self) -> None:
        """Start it and wait until both ports listen.

        Raises:
            UsageError: it ended instead; the text is its own last word.
        """
        listening = self._listening = asyncio.get_running_loop().create_future()
        self._child = await ChildProcess.start(
            [sys.executable, "-m", "submodel_gateway"],
            {
                "SUBMODEL_GATEWAY_LISTEN": self._listen,
                "SUBMODEL_GATEWAY_INTERNAL_LISTEN": self._internal_listen,
                "SUBMODEL_GATEWAY_STORE": f"sqlite://{quote(os.fsencode(self._folder / 'submodel.db'))}",
                "SUBMODEL_GATEWAY_INTERNAL_TOKEN": self.token,
                "SUBMODEL_GATEWAY_EXPECTED": self._endpoint_id,
                "SUBMODEL_GATEWAY_KEYS": "none",  # on this machine's loopback address alone
                "SUBMODEL_GATEWAY_WEBHOOK_ALLOW": "localhost 127.0.0.0/8 ::1 http",
            },
            self._hear,
        )
        ended = asyncio.create_task(self._child.wait())
        ended.add_done_callback(lambda _: listening.cancel())
        try:
            async with asyncio.timeout(START_SECONDS):
                self.url, self.internal_url = await listening
        except TimeoutError:
            raise UsageError(f"the gateway did not listen within {START_SECONDS:g} s") from None
        except asyncio.CancelledError:
            if not ended.done():
                raise
            raise UsageError(self._last_words()) from None
        self._listen, self._internal_listen = _address(self.url), _address(self.internal_url)

    async def run(self) -> None:
        """Keep it running: a gateway that dies comes back on the same ports with everything it had accepted."""
        while self._child:
            code = await self._child.wait()
            if self._stopping.is_set():
                return
            self._announce(f"the gateway ended with code {code}; starting it again")
            await self.start()
            self._announce("the gateway listens again")

    async def stop(self) -> None:
        """End it; it finishes its writes."""
        self._stopping.set()
        if self._child is None:
            return
        self._child.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._child.wait()
        except TimeoutError:
            self._child.kill()
            await self._child.wait()

    def _hear(self, line: str) -> None:
        found = _LISTENING.search(line)
        if found and self._listening and not self._listening.done():
            self._listening.set_result((found["public"], found["internal"]))
        elif "WARNING" in line or "ERROR" in line:
            self._announce(f"gateway | {in_short(line)}")

    def _last_words(self) -> str:
        lines = [line for line in self._child.last_lines if line.strip()] if self._child else []
        words = lines[-1] if lines else "the gateway ended without a word"
        for setting, option in OPTIONS.items():
            words = words.replace(setting, option)
        return words


def in_short(line: str) -> str:
    """A line of the gateway's log without its logger and its time, which stands in front of every line here."""
    return _PREFIX.sub(r"\1: ", line)


def _address(url: str) -> str:
    return url.partition("://")[2].rstrip("/")
