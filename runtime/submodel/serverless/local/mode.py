"""Which way a process goes that calls `start`. Pure, and loaded by every worker: it needs nothing."""

import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from submodel.contract import env, legacy_env
from submodel.contract.spelling import either

if TYPE_CHECKING:
    from submodel.serverless.local.arguments import Arguments

REALTIME_PORT = "REALTIME_PORT"
REALTIME_CONCURRENCY = "REALTIME_CONCURRENCY"

_FLAGS = ("--rp_", "--sm_", "--test_", "--help")


class Mode(enum.Enum):
    """What `start` does."""

    SERVE_API = enum.auto()
    REALTIME = enum.auto()
    TEST = enum.auto()
    HOOKS = enum.auto()
    """A worker whose jobs come from a function."""

    WORKER = enum.auto()


def choose(arguments: "Arguments", environ: Mapping[str, str], hooked: bool = False) -> Mode:
    """The first of these that is asked for: development server, realtime, a test, a worker, hooks; else a test.

    Args:
        hooked: whether the configuration of `start` says where jobs come from.
    """
    if arguments.serve_api:
        return Mode.SERVE_API
    if is_realtime(environ):
        return Mode.REALTIME
    if arguments.test_input is not None:
        return Mode.TEST
    if names_a_platform(environ):
        return Mode.WORKER
    return Mode.HOOKS if hooked else Mode.TEST


def has_flags(argv: Sequence[str]) -> bool:
    """Whether any of the arguments may be one of ours. A worker is usually started without, and loads no parser."""
    return any(item.startswith(_FLAGS) or item == "-h" for item in argv)


def is_realtime(environ: Mapping[str, str]) -> bool:
    """Whether jobs come as requests to a port of this process."""
    return either(environ, REALTIME_PORT) not in ("", "0")


def names_a_platform(environ: Mapping[str, str]) -> bool:
    """Whether the environment says where jobs come from, in this project's words or in those of the hosted ones."""
    return bool(environ.get(env.GATEWAY_URL) or either(environ, legacy_env.GET_JOB))
