"""Keys as they are stored, made and checked."""

import hashlib
import hmac
import re
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

import msgspec

from submodel_gateway.errors import InvalidRequest

PREFIX = "smk"
SECRET_LENGTH_MIN = 32
ANYWHERE = "*"

_ID = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATTERN = re.compile(r"\*|[A-Za-z0-9.-]+(\.\*)?")
_NOBODY = "0" * 64


class Scope(StrEnum):
    """What a key may do."""

    READ = "read"
    """See jobs and counts: status, stream, requests, health."""

    RUN = "run"
    """Change them: run, cancel, retry, purge."""


class Former(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The secret that a key had before: it counts beside the new one until the clients have been moved over."""

    digest: str
    expires_at: datetime

    def __post_init__(self) -> None:
        _check_digest(self.digest)
        _check_instant(self.expires_at)


class ApiKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The document of a key."""

    id: str
    digest: str
    """See `digest_of`."""

    scopes: frozenset[Scope] = frozenset(Scope)
    endpoints: tuple[str, ...] = (ANYWHERE,)
    """Endpoint ids, `<namespace>.*` for all of a namespace, `*` for all there are."""

    expires_at: datetime | None = None
    """With time zone; None for never."""

    former: Former | None = None
    """While it is rotated."""

    def __post_init__(self) -> None:
        if not _ID.fullmatch(self.id):
            raise ValueError(f"id {self.id!r} must be lower-case letters, digits and inner hyphens, at most 63")
        _check_digest(self.digest)
        _check_instant(self.expires_at)
        for pattern in self.endpoints:
            if not _PATTERN.fullmatch(pattern):
                raise ValueError(f"endpoint {pattern!r} must be an id, `<namespace>.*` or `*`")

    def reaches(self, endpoint: str) -> bool:
        """Whether the endpoint is among those of the key."""
        return any(
            pattern in (ANYWHERE, endpoint) or (pattern.endswith(".*") and endpoint.startswith(pattern[:-1]))
            for pattern in self.endpoints
        )

    def valid_at(self, now_ms: int) -> bool:
        """Whether the key has not expired."""
        return _before(now_ms, self.expires_at)

    def takes(self, digest: str, now_ms: int) -> bool:
        """Whether the secret of that digest is the key's. As long for every digest."""
        former = self.former
        new = hmac.compare_digest(self.digest, digest)
        old = hmac.compare_digest(former.digest if former else _NOBODY, digest)
        return new or (old and former is not None and _before(now_ms, former.expires_at))


def _before(now_ms: int, instant: datetime | None) -> bool:
    return instant is None or now_ms < instant.timestamp() * 1000


def _check_digest(digest: str) -> None:
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ValueError("digest must be 64 lower-case hexadecimal digits")


def _check_instant(instant: datetime | None) -> None:
    if instant is not None and instant.tzinfo is None:
        raise ValueError("expires_at needs a time zone, for example 2027-01-31T00:00:00Z")


def digest_of(pepper: str, secret: str) -> str:
    """What is stored instead of the secret. Secrets are long and random: a slow hash would protect nothing more."""
    return hashlib.sha256(f"{pepper}:{secret}".encode()).hexdigest()


def key_text(id: str, secret: str) -> str:
    """The key as its owner sends it. Raises `InvalidRequest` for an id that cannot be one."""
    if not _ID.fullmatch(id):
        raise InvalidRequest(f"{id!r} cannot name a key; use lower-case letters, digits and inner hyphens, at most 63")
    return f"{PREFIX}_{id}_{secret}"


_STRANGER = ApiKey(id="nobody", digest=_NOBODY)


class Keyring:
    """The known keys; immutable, so that it can be exchanged at any moment."""

    def __init__(self, pepper: str, keys: Iterable[ApiKey] = ()) -> None:
        self._pepper = pepper
        self._keys = {key.id: key for key in keys}

    def find(self, text: str, now_ms: int) -> ApiKey | None:
        """The valid key whose text this is. Takes as long for an unknown key as for a wrong secret."""
        prefix, _, rest = text.partition("_")
        id, _, secret = rest.partition("_")
        key = self._keys.get(id)
        right = (key or _STRANGER).takes(digest_of(self._pepper, secret), now_ms)
        return key if key and prefix == PREFIX and right and key.valid_at(now_ms) else None
