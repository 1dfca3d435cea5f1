"""The error tree of the gateway.

GatewayError
├── ConfigurationError     a setting cannot be used; the text names the variable and the remedy
├── TargetRefused          a webhook may not go there; the text says why, without the URL
├── ReviewAway             the API server did not say whether a worker's token is good
├── StoreError             the job store could not do it
│   ├── StoreUnusable      it cannot be opened: path, owner or schema; the text says which
│   │   └── StoreUnreachable   nothing answers there; it may later
│   ├── StoreAway          it cannot be reached for now; what was asked may have its effect, and may be asked again
│   ├── StoreFull          it has no space; what was asked had no effect
│   └── OperationFailed    one operation failed and had no effect; the others of its group went through
└── RequestError           the caller's request cannot be served; `http` turns each kind into one status
    ├── InvalidRequest
    ├── Unauthorized
    ├── Forbidden          the credential is known and does not suffice
    ├── NotFound
    │   └── StreamEnded    the job is there, its stream has been read to the end
    ├── Conflict           the request contradicts an earlier one, or the job is in another state
    ├── Outdated           a push of the operator that is older than what is stored
    ├── TooLarge
    ├── Unsupported        a form of the body that is not taken
    ├── Overloaded         no more work is taken for now
    └── Unavailable        the process is going down, or its store is away; the caller comes back
        └── Unsure         a submit's, whose job is stored, or may be; `job` is its id
"""


class GatewayError(Exception):
    """Base of every error that the gateway raises on purpose."""


class ConfigurationError(GatewayError):
    """A setting is missing or cannot be read."""


class TargetRefused(GatewayError):
    """A URL or its host is not among those that webhooks may reach."""


class ReviewAway(GatewayError):
    """The API server could not be asked about a token, or did not answer."""


class StoreError(GatewayError):
    """The job store could not do what was asked."""


class StoreUnusable(StoreError):
    """The store cannot be opened."""


class StoreUnreachable(StoreUnusable):
    """Nothing answers where the store should be."""


class StoreAway(StoreError):
    """The store cannot be reached for now."""


class StoreFull(StoreError):
    """The store has no space."""


class OperationFailed(StoreError):
    """An operation had no effect."""


class RequestError(GatewayError):
    """A request that is answered with an error; the text is one sentence for the caller."""


class InvalidRequest(RequestError):
    """The request does not fit: the text names the field and the remedy."""


class Unauthorized(RequestError):
    """The credential is missing or unknown."""


class Forbidden(RequestError):
    """The credential is known and does not suffice."""


class NotFound(RequestError):
    """No such endpoint, job or path; never says which of them another tenant owns."""


class StreamEnded(NotFound):
    """A stream that ended with a cancelled job is read on."""


class Conflict(RequestError):
    """It contradicts an earlier request, or does not fit the job's state."""


class KeyReused(Conflict):
    """An idempotency key came with another request before."""


class Outdated(RequestError):
    """A push with a lower generation than the stored one."""


class TooLarge(RequestError):
    """A body over its limit."""


class Unsupported(RequestError):
    """A form of the body that is not taken."""


class Overloaded(RequestError):
    """No more work is taken for now; the same request may succeed after `retry_after_seconds`."""

    def __init__(self, sentence: str, retry_after_seconds: int = 1) -> None:
        super().__init__(sentence)
        self.retry_after_seconds = retry_after_seconds


class Unavailable(RequestError):
    """Not now; the same request may succeed later."""


class Unsure(Unavailable):
    """What became of a submit cannot be told now: `job` was accepted, or may have been."""

    def __init__(self, sentence: str, job: str) -> None:
        super().__init__(sentence)
        self.job = job
