"""The operations of the job API and the paths they are reached by: what the router and the OpenAPI document share.

Clients of the hosted platforms put the same operations under several bases; `locate` finds the operation of a path.
"""

from dataclasses import dataclass
from enum import StrEnum

from submodel_gateway.auth.keys import Scope

GET = ("GET",)
POST = ("POST",)
EITHER = ("GET", "POST")


class Base(StrEnum):
    """What stands before the endpoint's id."""

    V2 = "/v2"
    V1 = "/v1"
    V1_SL = "/v1/sl"
    API_V1_SL = "/api/v1/sl"
    """Answers carry an envelope here, see `answers.enveloped`."""


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """An operation of the job API.

    `path` is what follows the endpoint's id, `aliases` are other spellings of it; `group` is whose rate limits it
    shares, a name of `ratelimit.figures`.
    """

    path: str
    methods: tuple[str, ...]
    scope: Scope
    group: str
    aliases: tuple[str, ...] = ()


RUN = Operation("run", POST, Scope.RUN, "run")
RUNSYNC = Operation("runsync", POST, Scope.RUN, "runsync", ("run_sync",))
STATUS = Operation("status/{id}", EITHER, Scope.READ, "status", ("_requests/{id}",))
STATUS_SYNC = Operation("status-sync/{id}", EITHER, Scope.READ, "status")
STREAM = Operation("stream/{id}", EITHER, Scope.READ, "status")
CANCEL = Operation("cancel/{id}", EITHER, Scope.RUN, "cancel")
RETRY = Operation("retry/{id}", POST, Scope.RUN, "run")
WEBHOOK = Operation("webhook/{id}", GET, Scope.READ, "status")
WEBHOOK_REPLAY = Operation("webhook/{id}/replay", POST, Scope.RUN, "status")
REQUESTS = Operation("requests", GET, Scope.READ, "requests", ("_requests",))
PURGE_QUEUE = Operation("purge-queue", POST, Scope.RUN, "purge-queue", ("purge",))
HEALTH = Operation("health", GET, Scope.READ, "status", ("metrics",))

OPENAI = Operation("openai/{path}", EITHER, Scope.RUN, "openai")
"""Everything below it, in as many segments as there are."""

OPERATIONS = (
    RUN,
    RUNSYNC,
    STATUS,
    STATUS_SYNC,
    STREAM,
    CANCEL,
    RETRY,
    WEBHOOK,
    WEBHOOK_REPLAY,
    REQUESTS,
    PURGE_QUEUE,
    HEALTH,
    OPENAI,
)

BY_PATH = {path: operation for operation in OPERATIONS for path in (operation.path, *operation.aliases)}


def split(path: list[str]) -> tuple[Base, list[str]] | None:
    """The base of a path and the segments after it; None when it is under none."""
    # Measured: half the time of patterns with a rest in them, and every request comes by here.
    if path[0] == "v2":
        return Base.V2, path[1:]
    if path[:2] == ["v1", "sl"]:
        return Base.V1_SL, path[2:]
    if path[0] == "v1":
        return Base.V1, path[1:]
    return (Base.API_V1_SL, path[3:]) if path[:3] == ["api", "v1", "sl"] else None


def locate(rest: list[str]) -> Operation | None:
    """The operation that the segments after a base name: `[endpoint, ...]`, with the job's id as the third."""
    size = len(rest)
    if size == 2:
        return BY_PATH.get(rest[1])
    if size > 2 and rest[1] == "openai":
        return OPENAI
    if size == 3:
        return BY_PATH.get(f"{rest[1]}/{{id}}")
    return BY_PATH.get(f"{rest[1]}/{{id}}/{rest[3]}") if size == 4 else None
