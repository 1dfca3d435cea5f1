"""`spec.auth`: who may send jobs."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from submodel_operator.api.base import Model, ObjectName


class AuthMode(StrEnum):
    """Whether callers need an API key."""

    API_KEY = "ApiKey"
    NONE = "None"


class KeySecret(Model):
    """A Secret whose entries are API keys."""

    name: ObjectName
    """Name of the Secret, in the endpoint's namespace."""


class Auth(Model):
    """Who may send jobs to the endpoint and read their results."""

    mode: Annotated[AuthMode, Field(strict=False)] = AuthMode.API_KEY
    """ApiKey asks callers for an API key: one of the installation's, or one of keySecrets. None lets everybody in who
    reaches the gateway."""

    key_secrets: Annotated[list[KeySecret], Field(max_length=8)] = []
    """Secrets whose entries are API keys of this endpoint: a random text of at least 32 characters, or JSON with key,
    scopes (read, run) and expiresAt. A change counts within half a minute."""
