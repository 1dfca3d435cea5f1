"""Credentials that belong to endpoints, of clients and of workers, found by their hash whichever endpoint is asked for.

A credential that is known, but not where it is shown, must get the answer of an endpoint that does not exist; one that
nobody knows must get the same answer everywhere. So all of them are in one index.
"""

import hashlib
from collections.abc import Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class Credentials(Generic[T]):
    """What each credential stands for at the endpoints that know it.

    Credentials are looked up by their SHA-256. Whoever measures how long that takes learns something of a hash that
    nobody can choose, and nothing of a credential.
    """

    def __init__(self) -> None:
        self._by_digest: dict[str, dict[str, T]] = {}
        self._digests: dict[str, tuple[str, ...]] = {}

    def put(self, endpoint: str, held: Mapping[str, T]) -> None:
        """The endpoint knows these credentials, by their hex SHA-256, and no others any more."""
        self.remove(endpoint)
        self._digests[endpoint] = tuple(held)
        for digest, meaning in held.items():
            self._by_digest.setdefault(digest, {})[endpoint] = meaning

    def remove(self, endpoint: str) -> None:
        """The endpoint knows none any more."""
        for digest in self._digests.pop(endpoint, ()):
            known = self._by_digest[digest]
            del known[endpoint]
            if not known:
                del self._by_digest[digest]

    def find(self, text: str) -> Mapping[str, T]:
        """What the credential stands for, by endpoint; nothing for an unknown one."""
        return self._by_digest.get(hashlib.sha256(text.encode()).hexdigest(), {})
