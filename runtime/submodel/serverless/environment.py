"""Variables that the modules for handlers read whenever they are called, as on the hosted platforms. Their edge."""

import os

from submodel.contract.spelling import either


def variable(name: str) -> str:
    """`SUBMODEL_<name>`, else `RUNPOD_<name>`, else an empty text."""
    return either(os.environ, name)


def plain_variable(name: str) -> str:
    """A variable that has one spelling, or an empty text."""
    return os.environ.get(name, "")


def switched_on(name: str) -> bool:
    """Whether the variable says `1`, `true` or `yes`."""
    return variable(name).strip().lower() in ("1", "true", "yes")
