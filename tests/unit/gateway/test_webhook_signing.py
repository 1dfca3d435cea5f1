"""Signatures of webhooks, checked by the specification's own library."""

import base64
import time

import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from submodel_gateway.errors import ConfigurationError
from submodel_gateway.webhooks.signing import headers, keys

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
BODY = '{"id":"a","status":"COMPLETED","output":"é"}'.encode()


def now_ms() -> int:
    """The library compares with the wall clock."""
    return time.time_ns() // 1_000_000


def signed(*secrets: str) -> dict[str, str]:
    return headers(keys(secrets), "job-1-g1", now_ms(), BODY)


def test_a_receiver_with_the_secret_knows_the_message() -> None:
    message = signed(SECRET)
    assert message["webhook-id"] == "job-1-g1"
    assert Webhook(SECRET).verify(BODY, message)["status"] == "COMPLETED"


@pytest.mark.parametrize("header", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_changed_message_is_known_as_forged(header: str) -> None:
    message = signed(SECRET)
    changed = {"webhook-id": "job-2-g1", "webhook-timestamp": str(int(message["webhook-timestamp"]) + 1)}
    message[header] = changed.get(header, signed(OTHER)["webhook-signature"])
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, message)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY + b" ", signed(SECRET))


def test_while_secrets_change_both_are_valid() -> None:
    message = signed(OTHER, SECRET)
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(BODY, message)
    assert len(message["webhook-signature"].split(" ")) == 2


def test_the_example_of_the_specification_comes_out() -> None:
    (key,) = keys(["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"])
    message = headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330_000, b'{"test": 2432232314}')
    assert message["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_without_a_secret_nothing_is_signed() -> None:
    assert signed() == {}


@pytest.mark.parametrize(
    "secret", ["hunter2", SECRET.removeprefix("whsec_"), "whsec_", "whsec_abc", "whsec_" + "A" * 100]
)
def test_a_secret_that_is_none_is_refused_without_showing_it(secret: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        keys([secret])
    assert "SUBMODEL_GATEWAY_WEBHOOK_SECRET" in str(refused.value)
    assert secret == "whsec_" or secret not in str(refused.value)
