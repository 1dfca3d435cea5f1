"""Who may do what: the caller's key against the endpoint and the operation.

A key that does not reach an endpoint hears the same as for one that does not exist.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from submodel_gateway.auth.folder import KeyFolder
from submodel_gateway.auth.keys import Scope
from submodel_gateway.errors import Forbidden, Unauthorized
from submodel_gateway.service.endpoints import no_endpoint


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was let in."""

    principal: str
    """For what is kept apart by caller: idempotency keys."""

    account: str = ""
    """Whose limits count: the key's id. Callers without a key share theirs, for what they send may be anything."""


class Access(Protocol):
    """Lets callers in."""

    def caller(self, credential: str, endpoint: str, scope: Scope) -> Caller:
        """Who the caller is.

        Raises `Unauthorized` without a valid credential, `NotFound` for an endpoint out of its reach and `Forbidden`
        for an operation out of its scopes.
        """


class Open:
    """Everybody may do everything; callers are told apart by what they send as credential."""

    def caller(self, credential: str, endpoint: str, scope: Scope) -> Caller:
        return Caller(hashlib.sha256(credential.encode()).hexdigest())


class ByKey:
    """Callers need an API key. `now_ms` is wall time: keys expire at dates that people set."""

    def __init__(self, folder: KeyFolder, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._now_ms = now_ms

    def caller(self, credential: str, endpoint: str, scope: Scope) -> Caller:
        if not credential:
            raise Unauthorized("an API key is missing; send it as `Authorization: Bearer <key>`")
        now = self._now_ms()
        key = self._folder.keyring(now).find(credential, now)
        if key is None:
            raise Unauthorized("the API key is unknown, expired or revoked")
        if not key.reaches(endpoint):
            raise no_endpoint(endpoint)
        if scope not in key.scopes:
            raise Forbidden(f"the API key {key.id} has no scope {scope}")
        return Caller(key.id, key.id)
