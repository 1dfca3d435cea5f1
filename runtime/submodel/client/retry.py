"""When to send a request again. Pure: chance and time are arguments."""

from submodel.client.answers import COME_BACK, Answer, NoAnswer, Outcome
from submodel.client.calls import Call

TRIES_MAX = 8
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 8.0
EMPTY_PAUSE_SECONDS = 0.5
"""Pause after an answer without news that was not held."""

_NOT_CARRIED_OUT = frozenset({429, 503})


def pause_seconds(call: Call, outcome: Outcome, tries: int, chance: float) -> float | None:
    """How long to wait before sending `call` again; None when its outcome stands.

    Args:
        tries: how often it was sent, 1 or more.
        chance: from 0 to 1, spreads clients that failed together.
    """
    if tries >= TRIES_MAX or not _worth_repeating(call, outcome):
        return None
    backoff = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2.0 ** (tries - 1)) * (1 + chance) / 2
    if isinstance(outcome, Answer) and outcome.retry_after_seconds is not None:
        return outcome.retry_after_seconds + FIRST_PAUSE_SECONDS * chance
    return backoff


def _worth_repeating(call: Call, outcome: Outcome) -> bool:
    if isinstance(outcome, NoAnswer):
        return call.repeatable or not outcome.carried_out
    return outcome.status in (COME_BACK if call.repeatable else _NOT_CARRIED_OUT)


def pace_seconds(call: Call, held_for_seconds: float) -> float:
    """How long to wait after an answer without news, so that a server that does not hold is not hammered."""
    return EMPTY_PAUSE_SECONDS if held_for_seconds < call.hold_seconds / 2 else 0.0
