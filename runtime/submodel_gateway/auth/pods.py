"""Service-account tokens of pods: what one claims, and whose worker the pod is. Pure.

A claim is worth nothing until the API server has vouched for the token (`tokenreview`); before that it only says
whether asking could lead anywhere.
"""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

TOKEN_LENGTH_MAX = 8_192
"""One that the API server makes has about 1,100 characters."""

RANDOM_LENGTH = 5
"""Characters that the API server adds to a generated name."""


@dataclass(frozen=True, slots=True)
class Pod:
    """The pod that a token is bound to."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says of itself."""

    namespace: str
    pod: str
    audiences: tuple[str, ...]
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pod works."""

    endpoint: str
    revision: str


class _Bound(msgspec.Struct):
    name: str


class _Kubernetes(msgspec.Struct):
    namespace: str
    pod: _Bound


class _Payload(msgspec.Struct):
    aud: list[str]
    exp: int
    kubernetes: _Kubernetes = msgspec.field(name="kubernetes.io")


_PAYLOAD = msgspec.json.Decoder(_Payload)


def claims(token: str) -> Claims | None:
    """What a token of a pod says; None for every other text, tokens that are bound to no pod among them.

    The form is that of bound service-account tokens: a JWT whose claim `kubernetes.io` names namespace and pod.
    """
    if not looks_like_one(token):
        return None
    middle = token.split(".")[1]
    try:
        payload = _PAYLOAD.decode(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (msgspec.MsgspecError, binascii.Error, ValueError):
        return None
    bound = payload.kubernetes
    return Claims(bound.namespace, bound.pod.name, tuple(payload.aud), payload.exp * 1_000)


def looks_like_one(token: str) -> bool:
    """Whether the text has the form of a JWT; derived tokens hold no dot."""
    return token.count(".") == 2 and len(token) <= TOKEN_LENGTH_MAX and token.isascii()


def deployment_of(pod: str) -> str:
    """The Deployment whose pod has this name; an empty text when it is no name of such a pod.

    Names are `<deployment>-<hash>-<random>`. The API server cuts what stands before the random part at 58 characters:
    the hash may be shorter, or end the part, but a Deployment's name of up to 56 characters is whole.
    """
    return pod[:-RANDOM_LENGTH].rstrip("-").rpartition("-")[0]


class Pools:
    """The Deployments whose pods are workers, by namespace and name."""

    def __init__(self) -> None:
        self._places: dict[tuple[str, str], Place] = {}
        self._of: dict[str, list[tuple[str, str]]] = {}

    def put(self, endpoint: str, pools: Iterable[tuple[str, str, str]]) -> None:
        """These are the endpoint's, as namespace, Deployment and revision, and no others any more."""
        self.remove(endpoint)
        for namespace, deployment, revision in pools:
            self._places[namespace, deployment] = Place(endpoint, revision)
            self._of.setdefault(endpoint, []).append((namespace, deployment))

    def remove(self, endpoint: str) -> None:
        """The endpoint has none any more."""
        for known in self._of.pop(endpoint, ()):
            if self._places[known].endpoint == endpoint:
                del self._places[known]

    def find(self, namespace: str, pod: str) -> Place | None:
        """Where the pod of this name works, if it is a worker at all."""
        return self._places.get((namespace, deployment_of(pod)))
