"""Checks of the handler's author that must pass before the worker asks for jobs: `register_fitness_check`."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from submodel.serverless.log import logger

Check = TypeVar("Check", bound=Callable[[], Any])

_checks: list[Callable[[], Any]] = []


def register(check: Check) -> Check:
    """Have `check`, a function or a coroutine function, called at the start; gives it back, for use as a decorator.

    Raises `TypeError` for what cannot be called.
    """
    if not callable(check):
        raise TypeError(
            f"register_fitness_check(): {type(check).__name__} is not a callable; pass a function without arguments"
        )
    _checks.append(check)
    return check


async def first_failure() -> str:
    """Run the checks in their order until one raises; a sentence about that one, or an empty text."""
    for check in _checks:
        name = getattr(check, "__name__", type(check).__name__)
        try:
            answer = check()
            if inspect.isawaitable(answer):
                await answer
        except Exception as error:
            logger.error("The fitness check %s failed: this worker leaves.", name, exc_info=True)
            return f"{name}: {type(error).__name__}: {error}"
    return ""
