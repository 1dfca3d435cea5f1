"""Who may do what: the caller's key against the endpoint and the operation.

A key that does not reach an endpoint hears the same as for one that does not exist.
"""

import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Protocol

from submodel_gateway.auth.folder import KeyFolder
from submodel_gateway.auth.keys import Scope
from submodel_gateway.errors import Forbidden, Unauthorized
from submodel_gateway.service.endpoints import Endpoints, no_endpoint


@dataclass(frozen=True, slots=True)
class Caller:
    """Who was let in."""

    principal: str
    """For what is kept apart by caller: idempotency keys."""

    account: str = ""
    """Whose limits count: the key's id. Callers without a key share theirs, for what they send may be anything: those
    of an open endpoint with each other, and with nobody else."""


class Access(Protocol):
    """Lets callers in."""

    def caller(self, credential: str, endpoint: str, scope: Scope) -> Caller:
        """Who the caller is.

        Raises `Unauthorized` without a valid credential, `NotFound` for an endpoint out of its reach, `Forbidden` for
        an operation out of its scopes, and `StoreAway` while it is not known which endpoints there are.
        """


class Open:
    """Everybody may do everything; callers are told apart by what they send as credential."""

    def caller(self, credential: str, endpoint: str, scope: Scope) -> Caller:
        return _anybody(credential)


class ByKey:
    """Callers need an API key: one of the installation's, or one of the endpoint's own; unless the endpoint is open.

    Args:
        endpoints: those that are registered.
        now_ms: wall time, for keys expire at dates that people set.
    """

    def __init__(self, folder: KeyFolder, endpoints: Endpoints, now_ms: Callable[[], int]) -> None:
        self._folder = folder
        self._endpoints = endpoints
        self._now_ms = now_ms

    def caller(self, credential: str, endpoint: str, scope: Scope) -> Caller:
        state = self._endpoints.find(endpoint)
        if state is not None and state.registration.open:
            return _anybody(credential, visitors(endpoint))
        if not credential:
            raise Unauthorized("an API key is missing; send it as `Authorization: Bearer <key>`")
        now = self._now_ms()
        if (key := self._folder.keyring(now).find(credential, now)) is not None:
            owner = state.registration.owner if state else ""
            # An id that does not tell its namespace is reached by the keys of that namespace all the same.
            reaches = key.reaches(endpoint) or (owner != "" and key.reaches(owner))
            return _checked(endpoint, scope, key.id, key.scopes, reaches=reaches)
        opened = {
            where: own
            for where, own in self._endpoints.keys.find(credential).items()
            if own.expires_at_ms is None or now < own.expires_at_ms
        }
        if endpoint not in opened:
            self._endpoints.check_complete()
        if not opened:
            raise Unauthorized("the API key is unknown, expired or revoked")
        if (own := opened.get(endpoint)) is None:
            raise no_endpoint(endpoint)
        # No id of the installation's keys has a slash: an endpoint's key is never taken for one of them.
        return _checked(endpoint, scope, f"{endpoint}/{own.id}", own.scopes)


def _checked(endpoint: str, scope: Scope, name: str, scopes: Collection[str], *, reaches: bool = True) -> Caller:
    if not reaches:
        raise no_endpoint(endpoint)
    if scope not in scopes:
        raise Forbidden(f"the API key {name} has no scope {scope}; use a key that has it")
    return Caller(name, name)


def visitors(endpoint: str) -> str:
    """The account of all callers without a key at an open endpoint. No key has a name that ends so."""
    return f"{endpoint}/"


def _anybody(credential: str, account: str = "") -> Caller:
    return Caller(hashlib.sha256(credential.encode()).hexdigest() if credential else _NOBODY, account)


_NOBODY = hashlib.sha256(b"").hexdigest()
