"""Asks the API server whether a service-account token is good, and which pod it is of: one call, `TokenReview`.

The one thing that the gateway says to Kubernetes, and the only module that knows how. It needs the right to create
`tokenreviews` and no other. Its own token and the authority of the API server are files that the kubelet renews.
"""

import ssl
from pathlib import Path

import aiohttp
import msgspec

from submodel_gateway.auth.pods import Pod
from submodel_gateway.errors import ConfigurationError, ReviewAway

PATH = "/apis/authentication.k8s.io/v1/tokenreviews"
TIMEOUT_SECONDS = 3.0
ANSWER_BYTES_MAX = 262_144
TOKEN, AUTHORITY = "token", "ca.crt"

_ACCOUNT = "system:serviceaccount:"
_POD_NAME, _POD_UID = "authentication.kubernetes.io/pod-name", "authentication.kubernetes.io/pod-uid"


class _User(msgspec.Struct):
    username: str = ""
    extra: dict[str, list[str]] = msgspec.field(default_factory=dict)


class _Status(msgspec.Struct):
    authenticated: bool = False
    user: _User = msgspec.field(default_factory=_User)
    audiences: list[str] = msgspec.field(default_factory=list)


class _Review(msgspec.Struct):
    status: _Status = msgspec.field(default_factory=_Status)


_REVIEW = msgspec.json.Decoder(_Review)


class TokenReview:
    """Used in one event loop; `close` it there.

    Args:
        url: base URL of the API server.
        folder: holds `token`, the gateway's own credential, and for https `ca.crt`, as in a projected volume.
        audience: what tokens must be made for.

    Raises:
        ConfigurationError: a file is missing or unreadable.
    """

    def __init__(self, url: str, folder: Path, audience: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._url = url.rstrip("/")
        self._folder = folder
        self.audience = audience
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)
        self._session: aiohttp.ClientSession | None = None
        try:
            self._own_token()
            self._authority()
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"worker tokens cannot be reviewed with what {folder} holds: {error}") from error

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def review(self, token: str) -> Pod | None:
        """The pod of the token; None when the token is no good, not made for this audience, or of no pod.

        Raises:
            ReviewAway: the API server did not say.
        """
        question = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self.audience]},
        }
        try:
            answer = await self._asked_twice(msgspec.json.encode(question))
            return _pod(_REVIEW.decode(answer).status, self.audience)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, msgspec.MsgspecError) as error:
            await self.close()  # the next one reads the files again
            raise ReviewAway(f"the API server did not review a worker's token: {_words(error)}") from error

    async def _asked_twice(self, body: bytes) -> bytes:
        """An API server, or what stands before it, ends idle connections: a question may meet such an end."""
        try:
            return await self._ask(body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            return await self._ask(body)

    async def _ask(self, body: bytes) -> bytes:
        headers = {"authorization": f"Bearer {self._own_token()}", "content-type": "application/json"}
        async with self._open().post(self._url + PATH, data=body, headers=headers, allow_redirects=False) as response:
            answer = await response.content.read(ANSWER_BYTES_MAX)
            while not response.content.at_eof() and len(answer) < ANSWER_BYTES_MAX:
                answer += await response.content.read(ANSWER_BYTES_MAX)
            if response.status not in (200, 201):
                raise ReviewAway(f"the API server answered {response.status} to a review of a worker's token")
            return answer

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(ssl=self._authority() or True, limit=8)
            self._session = aiohttp.ClientSession(
                connector=connector, timeout=self._timeout, trust_env=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._session

    def _own_token(self) -> str:
        return (self._folder / TOKEN).read_text(encoding="ascii").strip()

    def _authority(self) -> ssl.SSLContext | None:
        if not self._url.startswith("https:"):
            return None
        return ssl.create_default_context(cafile=str(self._folder / AUTHORITY))


def _pod(status: _Status, audience: str) -> Pod | None:
    """An API server that knows nothing of audiences names none in its answer: its word is for itself alone."""
    if not status.authenticated or audience not in status.audiences:
        return None
    user = status.user
    namespace, _, account = user.username.removeprefix(_ACCOUNT).partition(":")
    name, uid = (user.extra.get(key, [""])[0] for key in (_POD_NAME, _POD_UID))
    if not user.username.startswith(_ACCOUNT) or not (namespace and account and name and uid):
        return None
    return Pod(namespace, name, uid)


def _words(error: Exception) -> str:
    """An error's own text never holds the token: it is sent in bodies and headers."""
    return str(error) or type(error).__name__
