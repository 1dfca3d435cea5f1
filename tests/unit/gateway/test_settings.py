"""Settings come from a mapping; what cannot be used is named with its remedy."""

from pathlib import Path

import pytest

from submodel_gateway.errors import ConfigurationError
from submodel_gateway.settings import Address, Review, Settings

TOKEN = {"SUBMODEL_GATEWAY_INTERNAL_TOKEN": "secret", "SUBMODEL_GATEWAY_KEYS": "none"}


def test_a_token_is_enough() -> None:
    settings = Settings.read(TOKEN)
    assert settings.listen == Address("127.0.0.1", 8000)
    assert settings.internal_listen == Address("127.0.0.1", 8001)
    assert (settings.stores, settings.quota_bytes) == (("sqlite:submodel-gateway.db",), None)
    assert settings.internal_token == "secret"


def test_a_file_wins_over_the_variable(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    settings = Settings.read({**TOKEN, "SUBMODEL_GATEWAY_INTERNAL_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.internal_token == "from-file"


def test_the_token_and_the_stores_passwords_are_not_in_the_text_of_the_settings() -> None:
    settings = Settings.read({**TOKEN, "SUBMODEL_GATEWAY_STORE": "postgresql://user:hidden@host/jobs"})
    assert "secret" not in repr(settings)
    assert "hidden" not in repr(settings)


def test_several_stores_are_separated_by_spaces(tmp_path: Path) -> None:
    urls = ("sqlite:///data/a.db", "postgresql://one,two/jobs")
    assert Settings.read({**TOKEN, "SUBMODEL_GATEWAY_STORE": " ".join(urls)}).stores == urls
    (tmp_path / "stores").write_text("\n".join(urls) + "\n")
    assert Settings.read({**TOKEN, "SUBMODEL_GATEWAY_STORE_FILE": str(tmp_path / "stores")}).stores == urls


def test_one_of_several_stores_must_take_new_endpoints() -> None:
    urls = ("closed:sqlite:///data/a.db", "postgresql://one,two/jobs")
    assert Settings.read({**TOKEN, "SUBMODEL_GATEWAY_STORE": " ".join(urls)}).stores == urls
    with pytest.raises(ConfigurationError, match="one must take new endpoints"):
        Settings.read({**TOKEN, "SUBMODEL_GATEWAY_STORE": urls[0]})


def test_keys_need_a_pepper() -> None:
    keys = {**TOKEN, "SUBMODEL_GATEWAY_KEYS": "/etc/keys"}
    with pytest.raises(ConfigurationError, match="SUBMODEL_GATEWAY_KEY_PEPPER is missing"):
        Settings.read(keys)
    settings = Settings.read({**keys, "SUBMODEL_GATEWAY_KEY_PEPPER": "pepper-text"})
    assert (settings.keys, settings.key_pepper) == (Path("/etc/keys"), "pepper-text")
    assert "pepper-text" not in repr(settings)


def test_secrets_and_targets_of_webhooks_are_words(tmp_path: Path) -> None:
    assert Settings.read(TOKEN).webhook_secrets == Settings.read(TOKEN).webhook_allow == ()
    webhooks = {
        "SUBMODEL_GATEWAY_WEBHOOK_SECRET": "whsec_a  whsec_b",
        "SUBMODEL_GATEWAY_WEBHOOK_ALLOW": "http 10.0.0.0/8",
    }
    settings = Settings.read({**TOKEN, **webhooks})
    assert settings.webhook_secrets == ("whsec_a", "whsec_b")
    assert settings.webhook_allow == ("http", "10.0.0.0/8")
    assert "whsec" not in repr(settings)
    (tmp_path / "secret").write_text("whsec_c\n")
    file = {"SUBMODEL_GATEWAY_WEBHOOK_SECRET_FILE": str(tmp_path / "secret")}
    assert Settings.read({**TOKEN, **webhooks, **file}).webhook_secrets == ("whsec_c",)


def test_limits_are_those_of_the_hosted_platforms_where_there_are_keys_to_limit() -> None:
    keys = {**TOKEN, "SUBMODEL_GATEWAY_KEYS": "/etc/keys", "SUBMODEL_GATEWAY_KEY_PEPPER": "pepper"}
    settings = Settings.read(keys)
    assert (settings.rate_limits, settings.queue_limit, settings.connections_per_address) == ((), 500, None)
    assert Settings.read(TOKEN).rate_limits == ("off",)
    assert (settings.body_bytes, settings.answer_bytes) == (None, None)
    changed = {
        "SUBMODEL_GATEWAY_BODY_BYTES": "1000000",
        "SUBMODEL_GATEWAY_ANSWER_BYTES": "2000000",
        "SUBMODEL_GATEWAY_RATE_LIMITS": " run=5  cancel=off ",
        "SUBMODEL_GATEWAY_QUEUE_LIMIT": "off",
        "SUBMODEL_GATEWAY_CONNECTIONS_PER_ADDRESS": "200",
    }
    settings = Settings.read({**TOKEN, **changed})
    assert (settings.rate_limits, settings.queue_limit) == (("run=5", "cancel=off"), None)
    assert settings.connections_per_address == 200
    assert (settings.body_bytes, settings.answer_bytes) == (1_000_000, 2_000_000)


def test_tokens_of_pods_are_reviewed_only_for_an_audience() -> None:
    assert Settings.read(TOKEN).review is None
    audience = {**TOKEN, "SUBMODEL_GATEWAY_WORKER_TOKEN_AUDIENCE": "gateway.team.svc"}
    mounted = Path("/var/run/secrets/kubernetes.io/serviceaccount")
    assert Settings.read(audience).review == Review("https://kubernetes.default.svc", mounted, "gateway.team.svc")
    elsewhere = {"SUBMODEL_GATEWAY_KUBERNETES_URL": "https://a", "SUBMODEL_GATEWAY_KUBERNETES_CREDENTIALS": "/b"}
    assert Settings.read({**audience, **elsewhere}).review == Review("https://a", Path("/b"), "gateway.team.svc")


def test_a_quota_is_a_number_of_bytes() -> None:
    assert Settings.read({**TOKEN, "SUBMODEL_GATEWAY_STORE_QUOTA_BYTES": "1048576"}).quota_bytes == 1_048_576


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUBMODEL_GATEWAY_QUEUE_LIMIT", "0"),
        ("SUBMODEL_GATEWAY_BODY_BYTES", "much"),
        ("SUBMODEL_GATEWAY_ANSWER_BYTES", "much"),
        ("SUBMODEL_GATEWAY_KUBERNETES_URL", "kubernetes:443"),
        ("SUBMODEL_GATEWAY_CONNECTIONS_PER_ADDRESS", "many"),
        ("SUBMODEL_GATEWAY_LISTEN", "8000"),
        ("SUBMODEL_GATEWAY_LISTEN", "host:http"),
        ("SUBMODEL_GATEWAY_INTERNAL_LISTEN", "host:70000"),
        ("SUBMODEL_GATEWAY_STORE_FILE", "/does/not/exist"),
        ("SUBMODEL_GATEWAY_STORE_COMPRESS", "zstd"),
        ("SUBMODEL_GATEWAY_STORE_QUOTA_BYTES", "10GiB"),
        ("SUBMODEL_GATEWAY_STORE_QUOTA_BYTES", "0"),
        ("SUBMODEL_GATEWAY_INTERNAL_TOKEN", "  "),
        ("SUBMODEL_GATEWAY_INTERNAL_TOKEN_FILE", "/does/not/exist"),
        ("SUBMODEL_GATEWAY_LOG_LEVEL", "LOUD"),
        ("SUBMODEL_GATEWAY_LINGER_SECONDS", "soon"),
        ("SUBMODEL_GATEWAY_LINGER_SECONDS", "9999"),
        ("SUBMODEL_GATEWAY_KEYS", ""),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.read({**TOKEN, name: value})


def test_an_ipv6_address_is_written_in_brackets() -> None:
    listen = Settings.read({**TOKEN, "SUBMODEL_GATEWAY_LISTEN": "[::1]:80"}).listen
    assert (listen, str(listen)) == (Address("::1", 80), "[::1]:80")


def test_logs_are_text_unless_json_is_asked_for() -> None:
    assert Settings.read(TOKEN).log_format == "text"
    assert Settings.read({**TOKEN, "SUBMODEL_GATEWAY_LOG_FORMAT": "json"}).log_format == "json"
    with pytest.raises(ConfigurationError, match="SUBMODEL_GATEWAY_LOG_FORMAT"):
        Settings.read({**TOKEN, "SUBMODEL_GATEWAY_LOG_FORMAT": "xml"})
