"""Settings come from a mapping; what cannot be used is named with its remedy."""

from pathlib import Path

import pytest

from submodel_gateway.errors import ConfigurationError
from submodel_gateway.settings import Address, Settings

TOKEN = {"SUBMODEL_GATEWAY_INTERNAL_TOKEN": "secret"}


def test_a_token_is_enough() -> None:
    settings = Settings.read(TOKEN)
    assert settings.listen == Address("127.0.0.1", 8000)
    assert settings.internal_listen == Address("127.0.0.1", 8001)
    assert settings.store == Path("submodel-gateway.db")
    assert settings.internal_token == "secret"


def test_the_token_is_not_in_the_text_of_the_settings() -> None:
    assert "secret" not in repr(Settings.read(TOKEN))


def test_a_file_wins_over_the_variable(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    settings = Settings.read({**TOKEN, "SUBMODEL_GATEWAY_INTERNAL_TOKEN_FILE": str(tmp_path / "token")})
    assert settings.internal_token == "from-file"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("sqlite:///data/jobs.db", Path("/data/jobs.db")),
        ("sqlite:////data/jobs.db", Path("/data/jobs.db")),
        ("sqlite:jobs.db", Path("jobs.db")),
        ("memory:", None),
    ],
)
def test_stores_are_named_by_urls(text: str, path: Path | None) -> None:
    assert Settings.read({**TOKEN, "SUBMODEL_GATEWAY_STORE": text}).store == path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUBMODEL_GATEWAY_LISTEN", "8000"),
        ("SUBMODEL_GATEWAY_LISTEN", "host:http"),
        ("SUBMODEL_GATEWAY_INTERNAL_LISTEN", "host:70000"),
        ("SUBMODEL_GATEWAY_STORE", "postgres://x"),
        ("SUBMODEL_GATEWAY_STORE", "sqlite:"),
        ("SUBMODEL_GATEWAY_INTERNAL_TOKEN", "  "),
        ("SUBMODEL_GATEWAY_INTERNAL_TOKEN_FILE", "/does/not/exist"),
        ("SUBMODEL_GATEWAY_LOG_LEVEL", "LOUD"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=name):
        Settings.read({**TOKEN, name: value})


def test_an_ipv6_address_is_written_in_brackets() -> None:
    listen = Settings.read({**TOKEN, "SUBMODEL_GATEWAY_LISTEN": "[::1]:80"}).listen
    assert (listen, str(listen)) == (Address("::1", 80), "[::1]:80")
