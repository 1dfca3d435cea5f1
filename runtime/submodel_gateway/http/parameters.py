"""Query parameters: the names, bounds and defaults that the routes and the OpenAPI document share."""

from dataclasses import dataclass

from submodel.contract import limits
from submodel.contract.states import JobState
from submodel_gateway.http.messages import WHOLE_MAX, Request
from submodel_gateway.service.clients import PAGE_MAX


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number, not below `minimum`. More than `maximum` counts as `maximum`."""

    name: str
    text: str
    default: int | None = None
    maximum: int | None = None
    minimum: int = 0

    def read(self, request: Request) -> int | None:
        """Its value, None where there is neither one nor a default. Raises `InvalidRequest`."""
        value = request.whole(self.name, self.minimum)
        if value is None:
            return self.default
        return value if self.maximum is None else min(value, self.maximum)

    def schema(self) -> dict[str, object]:
        """As JSON schema."""
        default = {} if self.default is None else {"default": self.default}
        return {"type": "integer", "minimum": self.minimum, "maximum": WHOLE_MAX, **default}


@dataclass(frozen=True, slots=True)
class Words:
    """Words of a list, separated by commas."""

    name: str
    text: str
    words: tuple[str, ...]

    def schema(self) -> dict[str, object]:
        """As JSON schema."""
        one = "|".join(self.words)
        return {"type": "string", "pattern": f"^({one})(,({one}))*$"}


Parameter = Whole | Words

PAGE_DEFAULT = 20

WAIT = Whole("wait", "Milliseconds to wait for the end.", limits.RUNSYNC_WAIT_MS_DEFAULT, limits.RUNSYNC_WAIT_MS_MAX)
STREAM_WAIT = Whole(
    "wait",
    "Milliseconds to wait for an item while there is none and the job goes on.",
    1_000,
    limits.RUNSYNC_WAIT_MS_MAX,
)
OFFSET = Whole("offset", "Return the items after this many of the current attempt; without it, each item once.")
LIMIT = Whole("limit", "Jobs per page.", PAGE_DEFAULT, PAGE_MAX, minimum=1)
BEFORE = Whole("before", "`next` of the page before.")
TTL = Whole("ttl", "Keep a final job for so many milliseconds from now at most; needs the scope `run`.")
STATES = Words("status", "Only jobs of these states.", tuple(JobState))
