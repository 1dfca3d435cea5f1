"""What the parent and its serving processes agree on. Versions of both may differ: an upgrade replaces the child alone.

The child finds the numbers of three inherited descriptors in its environment: the public and the internal listening
socket, and its line. On the line it says one byte when it serves; the line's end tells it that its parent is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from submodel_gateway.errors import ConfigurationError

VARIABLE = "SUBMODEL_GATEWAY_HANDOVER"

READY_ALONE = b"A"
"""It serves, and its store has room for one process: the next one can only come after it."""

READY = b"R"
"""It serves, and others may serve beside it."""


@dataclass(frozen=True, slots=True)
class Handover:
    """Descriptors as the child inherits them."""

    public: int
    internal: int
    line: int

    def __str__(self) -> str:
        return f"{self.public} {self.internal} {self.line}"


def inherited(environ: Mapping[str, str]) -> Handover | None:
    """What a parent left, None in a process that has none. Raises `ConfigurationError`."""
    text = environ.get(VARIABLE)
    if not text:
        return None
    numbers = text.split()
    if len(numbers) != 3 or not all(number.isascii() and number.isdigit() for number in numbers):
        raise ConfigurationError(f"{VARIABLE} is set by the gateway for its own processes; unset it")
    return Handover(*map(int, numbers))
