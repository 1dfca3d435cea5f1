"""The API keys of an endpoint: read from Secrets of its namespace, and told to the gateway as hashes alone.

Secrets are read one by one, by the names that endpoints give, and not watched: watching would show the operator every
Secret there is. No text of a key outlives its reading, and none is in a message.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import msgspec

from submodel.contract.internal import EndpointKey
from submodel_operator.errors import ClusterRefused
from submodel_operator.ports import Clock, Cluster
from submodel_operator.recent import Recent

FRESH_SECONDS = 15.0
"""How long what was read counts: an endpoint under load is reconciled many times in a second."""

AGAIN_SECONDS = 20.0
"""When an endpoint with Secrets is looked at again, so that a revoked key is dead within half a minute."""

KEYS_MAX = 1_000
"""Keys of one endpoint: the gateway remembers those of each, and any number of endpoints may name the same Secrets."""

_TEXT = re.compile(r"[!-~]{32,512}")
_SCOPES = ("read", "run")


@dataclass(frozen=True, slots=True)
class OwnKeys:
    """Keys of one endpoint, and what is wrong with the others in one sentence; empty when nothing is."""

    keys: tuple[EndpointKey, ...] = ()
    problem: str = ""


class _Document(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    key: str
    scopes: tuple[str, ...] = _SCOPES
    expires_at: datetime | None = None


class KeyReader:
    """Reads the keys, each Secret at most once in `FRESH_SECONDS`."""

    def __init__(self, cluster: Cluster, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._read: Recent[tuple[str, str], OwnKeys] = Recent(FRESH_SECONDS)

    async def read(self, namespace: str, names: Sequence[str]) -> OwnKeys:
        """The keys in these Secrets. Raises `ClusterUnavailable`: the gateway keeps those that it knows then."""
        found = [await self._secret(namespace, name) for name in names]
        problems = [each.problem for each in found if each.problem]
        keys = tuple(key for each in found for key in each.keys)
        if len(keys) > KEYS_MAX:
            problems.insert(0, f"there are {len(keys)} keys, of which the first {KEYS_MAX} count; remove some")
        return OwnKeys(keys[:KEYS_MAX], "; ".join(problems))

    async def _secret(self, namespace: str, name: str) -> OwnKeys:
        now = self._clock.monotonic()
        if (known := self._read.recent((namespace, name), now)) is not None:
            return known
        try:
            keys = keys_in(name, await self._cluster.read_secret(namespace, name))
        except ClusterRefused as refused:
            keys = OwnKeys(problem=f"Secret {name} cannot be read: {refused}")
        self._read.keep((namespace, name), keys, now)
        return keys


def keys_in(name: str, secret: Mapping[str, bytes] | None) -> OwnKeys:
    """The keys that a Secret of that name holds; None for one that does not exist. Pure."""
    if secret is None:
        return OwnKeys(problem=f"Secret {name} does not exist")
    keys: list[EndpointKey] = []
    problems: list[str] = []
    for entry, value in sorted(secret.items()):
        key = _key(f"{name}/{entry}", value)
        if isinstance(key, str):
            problems.append(f"entry {entry} of Secret {name} {key}")
        else:
            keys.append(key)
    return OwnKeys(tuple(keys), "; ".join(problems))


def _key(id: str, value: bytes) -> EndpointKey | str:
    """The key, or why there is none."""
    document = _document(value)
    if isinstance(document, str):
        return document
    if not _TEXT.fullmatch(document.key):
        return "is no key: use a random text of 32 to 512 characters, without spaces"
    if unknown := sorted(set(document.scopes) - set(_SCOPES)):
        return f"has a scope {unknown[0]!r}; there are {' and '.join(_SCOPES)}"
    if document.expires_at is not None and document.expires_at.tzinfo is None:
        return "has an expiresAt without time zone; write it as 2027-01-31T00:00:00Z"
    return EndpointKey(
        id=id,
        sha256=hashlib.sha256(document.key.encode()).hexdigest(),
        scopes=document.scopes,
        expires_at_ms=None if document.expires_at is None else round(document.expires_at.timestamp() * 1000),
    )


def _document(value: bytes) -> _Document | str:
    text = value.strip()
    if not text.startswith(b"{"):
        return _Document(text.decode("ascii", "replace"))
    try:
        return msgspec.json.decode(text, type=_Document)
    except msgspec.ValidationError as error:
        return f"does not fit: {error}"
    except (msgspec.DecodeError, UnicodeDecodeError):
        return "begins like JSON and is none"
