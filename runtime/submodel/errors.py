"""The error tree of the `submodel` package.

SubModelError
├── ConfigurationError   the worker's environment or `start()` argument is wrong; the text says what to set
├── GatewayUnavailable   the gateway did not answer; the caller retries
└── GatewayRefused       the gateway answered with a refusal (status, message); the worker tries again with back-off
"""


class SubModelError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigurationError(SubModelError):
    """The worker's environment or the argument of `start()` cannot be used."""


class GatewayUnavailable(SubModelError):
    """No answer, or one that asks to come back later."""


class GatewayRefused(SubModelError):
    """A refusal that only a change elsewhere ends: a registration, a token. The worker asks again, with back-off.

    Args:
        status: the HTTP status.
        message: the gateway's own sentence.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"the gateway refused the request ({status}): {message}")
        self.status = status
