"""The error tree of the operator.

OperatorError
├── InvalidEndpoint       the manifest cannot be used; `problems` are sentences with field paths
├── ReferenceMissing      a Secret or ConfigMap that the manifest names is not there (yet)
├── EndpointIdTaken       the id that the manifest asks for is another endpoint's
├── NameConflict          an object of the wanted name belongs to somebody else
├── ClusterUnavailable    the cluster did not answer, or asked to come back; retried with back-off
├── ClusterRefused        the cluster refused the object (schema, quota, admission); its words are the message
├── Conflict              the object changed meanwhile; read again and retry
├── GatewayUnavailable    the gateway did not answer; the scale is held
├── GatewayRefused        the gateway refused a push; its words are the message
└── UsageError            the command line was used wrongly; one sentence that says what to do
"""

from collections.abc import Sequence


class OperatorError(Exception):
    """Base of every error this package raises on purpose."""


class InvalidEndpoint(OperatorError):
    """The manifest of an endpoint cannot be used.

    Args:
        problems: one sentence each, beginning with the field path.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class ReferenceMissing(OperatorError):
    """A Secret or ConfigMap that the manifest names, or a key of it, does not exist."""


class EndpointIdTaken(OperatorError):
    """The id that a manifest asks for belongs to an older endpoint."""


class NameConflict(OperatorError):
    """An object of the wanted name exists and has another owner."""


class ClusterUnavailable(OperatorError):
    """The cluster did not answer, or answered that it cannot now.

    Args:
        retry_after_seconds: how long it wants to be left alone.
    """

    def __init__(self, message: str, retry_after_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class ClusterRefused(OperatorError):
    """The cluster refused the object for good."""


class Conflict(OperatorError):
    """The object was changed by somebody else since it was read."""


class GatewayUnavailable(OperatorError):
    """The gateway did not answer, or answered that it cannot now."""


class GatewayRefused(OperatorError):
    """The gateway refused a request that repeating does not change."""


class UsageError(OperatorError):
    """The command line was used in a way that cannot work."""
