"""The protocol threads of the hosted platforms' dialect: they make the requests that `legacy_session` wants made.

All of them are alike: each takes the next request, makes it on its own connection, and hands on the answer. Whether a
request is made again is the session's affair.
"""

import platform
import random
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from submodel.errors import GatewayUnavailable
from submodel.serverless.conversation import Conversation
from submodel.serverless.http_reply import Reply
from submodel.serverless.legacy_calls import Call, Kind
from submodel.serverless.legacy_session import POSTS_MAX, LegacySession
from submodel.serverless.legacy_urls import LegacyUrls
from submodel.serverless.link import Link
from submodel.serverless.log import logger

THREADS = POSTS_MAX + 3
LEAVE_SECONDS = 3.0
"""How long a worker that leaves waits for the answer to its open question for jobs."""


class LegacyExchange(Conversation):
    """The conversation in the hosted platforms' dialect."""

    def __init__(self, urls: LegacyUrls, concurrency: int, version: str, on_settled: Callable[[], None]) -> None:
        self._session = LegacySession(urls, concurrency, version)
        super().__init__(self._session, on_settled)
        self._headers = f"{_user_agent(version)}Authorization: {urls.api_key}\r\n"
        self._away = False
        self._taking: Link | None = None

    def start(self) -> None:
        for number in range(THREADS):
            self._start(f"submodel-exchange-{number}", self._converse)

    def leave(self) -> None:
        with self._something_to_say:
            self._session.leave()
            if (taking := self._taking) is not None:
                # The platform hears that nobody waits for a job any longer; one that is on its way is read and run.
                taking.end()
                timer = threading.Timer(LEAVE_SECONDS, taking.cut)
                timer.daemon = True
                timer.start()
            self._something_to_say.notify_all()
            self._check_settled()

    def _converse(self) -> None:
        links: dict[str, Link] = {}
        while True:
            call, link = self._next(links)
            reply = self._make(call, link)
            with self._something_to_say:
                if call.kind is Kind.TAKE:
                    self._taking = None
                self._hear(call, reply)
                self._tell(self._session.answered(call, reply, time.monotonic(), random.random()))
                self._call_thread()

    def _next(self, links: dict[str, Link]) -> tuple[Call, Link]:
        with self._something_to_say:
            while True:
                now = time.monotonic()
                step = self._session.next_call(now)
                if isinstance(step, Call):
                    link = links.setdefault(_origin(step.url), Link(step.url, lambda: self._headers))
                    link.arm()
                    if step.kind is Kind.TAKE:
                        self._taking = link
                    # This thread cannot keep the time of what is due next: another one has to.
                    self._call_thread()
                    return step, link
                self._listen(step - now)

    def _make(self, call: Call, link: Link) -> Reply | None:
        parts = urlsplit(call.url)
        target = f"{parts.path or '/'}?{parts.query}"
        try:
            if call.body is None:
                return link.send("GET", target, b"", call.answer_seconds, "Content-Type: application/json\r\n")
            return link.send("POST", target, call.body, call.answer_seconds, _post_headers(call.job_id))
        except GatewayUnavailable as error:
            if not self._away and not link.was_cut:
                self._away = True
                logger.warning("%s; trying again", error)
            return None

    def _hear(self, call: Call, reply: Reply | None) -> None:
        if reply is None:
            return
        if reply.status >= 400 and call.kind is Kind.POST:
            logger.warning("The platform answered %d to a post.", reply.status, extra={"job": call.job_id})
        elif self._away and reply.status < 500:
            self._away = False
            logger.info("the platform answers again")


def _origin(url: str) -> str:
    return "://".join(urlsplit(url)[:2])


def _user_agent(version: str) -> str:
    system, release, machine = platform.system(), platform.release(), platform.machine()
    language = platform.python_version()
    return f"User-Agent: Submodel-Python-SDK/{version} ({system} {release}; {machine}) Language/Python {language}\r\n"


def _post_headers(job_id: str) -> str:
    """Those of the SDKs that these platforms know: their word for the body is not JSON."""
    name = job_id if job_id.isascii() and job_id.isprintable() else ""
    return f"Content-Type: application/x-www-form-urlencoded\r\ncharset: utf-8\r\nX-Request-ID: {name}\r\n"
