"""What a try to deliver a webhook came to. Pure.

The text is kept and shown to the client that gave the URL, so it never tells what the gateway sees of its own network:
a name that does not exist and one that leads to a private address read the same.
"""

import msgspec

TIMEOUT_SECONDS = 10.0

_OVERLOADED = 429


class Answer(msgspec.Struct, frozen=True):
    """`works` says whether the host is alive, None when it was not asked."""

    delivered: bool
    text: str
    works: bool | None = None


NO_ANSWER = Answer(False, f"no answer within {TIMEOUT_SECONDS:.0f} seconds", works=False)
NO_ADDRESS = Answer(False, "its host has no address that may be reached", works=False)
NO_CONNECTION = Answer(False, "no connection to its host", works=False)
NO_TRUST = Answer(False, "its host has no valid TLS certificate", works=False)
NO_TLS = Answer(False, "its host does not speak TLS", works=False)
BROKEN = Answer(False, "the connection broke before an answer", works=False)
NO_HTTP = Answer(False, "its host does not answer in HTTP", works=False)
NO_RESULT = Answer(False, "the job's result could not be read")
DEFECT = Answer(False, "the gateway failed on it; its log says why")


def of_status(status: int) -> Answer:
    """2xx counts as delivered. Redirects are not followed: they could lead anywhere."""
    redirect = " (redirects are not followed)" if 300 <= status < 400 else ""
    works = status < 500 and status != _OVERLOADED
    return Answer(200 <= status < 300, f"HTTP {status}{redirect}", works=works)


def of_refusal(reason: str) -> Answer:
    """The URL may not be asked for any more, because the settings have changed."""
    return Answer(False, f"refused: {reason}")
