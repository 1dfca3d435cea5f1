"""The requests that a hosted platform understands: where each goes, what it carries, how long its answer may take.

Pure; `legacy_session` says which one is due, and reads the answers.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from submodel.serverless import legacy_bodies, legacy_urls
from submodel.serverless.legacy_leases import LegacyLease
from submodel.serverless.legacy_urls import LegacyUrls

HELD_SECONDS = 90.0
"""How long the platform may hold a TAKE or a STOP."""

POST_SECONDS = 120.0
"""A platform that cannot store a result now may hold the post instead of refusing it."""

REASON_CHARACTERS = 256


class Kind(enum.Enum):
    """What a request is for; `legacy_session` says what each of them does."""

    TAKE = enum.auto()
    STOP = enum.auto()
    PING = enum.auto()
    POST = enum.auto()


class Item(enum.Enum):
    """What a post carries."""

    PROGRESS = enum.auto()
    CHUNK = enum.auto()
    RESULT = enum.auto()


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """A request under way."""

    kind: Kind
    url: str
    sent_at: float
    answer_seconds: float
    body: bytes | None = None
    """None for a GET."""

    token: str = ""
    job_id: str = ""
    item: Item | None = None


class LegacyCalls:
    """Makes the requests of one worker. `now` is a monotonic clock in seconds."""

    def __init__(self, urls: LegacyUrls, version: str) -> None:
        self._urls = urls
        self._version = version

    def take(self, now: float, free: int, *, busy: bool) -> Call:
        """Ask for a job; for up to `free` of them where the platform gives several at once."""
        query, url = {"job_in_progress": "1" if busy else "0"}, self._urls.take
        if free > 1 and self._urls.take_batch:
            query, url = {"batch_size": str(free), **query}, self._urls.take_batch
        return Call(Kind.TAKE, legacy_urls.with_query(url, **query), now, HELD_SECONDS)

    def stop(self, now: float) -> Call:
        """Ask which jobs shall end."""
        return Call(Kind.STOP, self._urls.stop, now, HELD_SECONDS)

    def ping(self, now: float, ids: Iterable[str]) -> Call:
        """Say that these jobs are here."""
        names = ",".join(dict.fromkeys(ids))
        return self._ping(now, **({"job_id": names} if names else {}))

    def farewell(self, now: float, reason: str) -> Call:
        """Say why this worker cannot serve; `CHECK: REASON`, or any other text."""
        check, _, why = reason.partition(": ")
        if not why or not check.isidentifier():
            check, why = "start", reason
        return self._ping(now, status="unhealthy", check=check, reason=why[-REASON_CHARACTERS:])

    def _ping(self, now: float, **query: str) -> Call:
        query[f"{self._urls.family}_version"] = self._version
        return Call(Kind.PING, legacy_urls.with_query(self._urls.ping, **query), now, 2 * self._urls.ping_seconds)

    def post(self, now: float, token: str, lease: LegacyLease) -> Call:
        """Deliver what is next of a loaded lease, and mark that it is under way."""
        lease.carried = True
        stream, url = "false", legacy_urls.of_job(self._urls.done, lease.id)
        if lease.progress is not None:
            item, body = Item.PROGRESS, legacy_bodies.progress(lease.progress)
            lease.progress = None
        elif lease.chunks:
            item, body = Item.CHUNK, legacy_bodies.chunk(lease.chunks[0])
            url = legacy_urls.of_job(self._urls.stream, lease.id)
        else:
            assert lease.outcome is not None, "a loaded lease has something to post"
            item, body = Item.RESULT, legacy_bodies.result(lease.outcome)
            stream = "true" if lease.outcome.streamed else "false"
        url = legacy_urls.with_query(url, isStream=stream)
        return Call(Kind.POST, url, now, POST_SECONDS, body, token, lease.id, item)
