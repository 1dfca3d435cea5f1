"""Signatures of webhooks, as the Standard Webhooks specification wants them. Pure."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Sequence

from submodel_gateway.errors import ConfigurationError
from submodel_gateway.settings import WEBHOOK_SECRET

PREFIX = "whsec_"
KEY_BYTES = range(24, 65)


def keys(secrets: Iterable[str]) -> tuple[bytes, ...]:
    """The keys of secrets in their text form. Raises `ConfigurationError`, which shows none of them."""
    return tuple(_key(secret) for secret in secrets)


def headers(keys: Sequence[bytes], message_id: str, now_ms: int, body: bytes) -> dict[str, str]:
    """The headers that let a receiver know a webhook as ours, one signature per key; none without a key.

    Args:
        message_id: the same in all tries, so that a receiver can tell a repetition.
        now_ms: wall time of this try.
    """
    if not keys:
        return {}
    timestamp = str(now_ms // 1000)
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    signatures = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not secret.startswith(PREFIX) or len(key) not in KEY_BYTES:
        raise ConfigurationError(
            f"{WEBHOOK_SECRET} holds a text that is no secret; give {PREFIX} and the base64 of "
            f"{KEY_BYTES.start} to {KEY_BYTES.stop - 1} random bytes: echo {PREFIX}$(openssl rand -base64 32)"
        )
    return key
