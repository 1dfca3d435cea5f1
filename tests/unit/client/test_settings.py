"""Where a client finds its gateway, and with which key."""

from collections.abc import Iterator

import pytest

import submodel
from submodel.client import settings
from submodel.errors import ConfigurationError


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for prefix in ("SUBMODEL_", "RUNPOD_"):
        monkeypatch.delenv(prefix + settings.BASE_URL, raising=False)
        monkeypatch.delenv(prefix + settings.API_KEY, raising=False)
    yield
    for name in ("api_key", "endpoint_url_base"):
        vars(submodel).pop(name, None)


def test_without_settings_it_is_the_local_gateway_and_no_key() -> None:
    found = settings.target(None)
    assert (found.base_url, found.api_key) == ("http://127.0.0.1:8000/v2", None)
    assert "Authorization" not in found.headers()


@pytest.mark.parametrize("prefix", ["SUBMODEL_", "RUNPOD_"])
def test_both_spellings_of_the_environment_are_read(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setenv(f"{prefix}ENDPOINT_BASE_URL", "https://gateway.example/v2/")
    monkeypatch.setenv(f"{prefix}API_KEY", "key")
    found = settings.target(None)
    assert (found.base_url, found.api_key) == ("https://gateway.example/v2", "key")
    assert found.headers()["Authorization"] == "Bearer key"
    assert (submodel.endpoint_url_base, submodel.api_key) == ("https://gateway.example/v2/", "key")


def test_the_own_spelling_wins() -> None:
    environ = {"SUBMODEL_API_KEY": "own", "RUNPOD_API_KEY": "other"}
    assert settings.from_environment(environ).api_key == "own"
    assert settings.from_environment({"SUBMODEL_API_KEY": "", "RUNPOD_API_KEY": "other"}).api_key == "other"


def test_an_assignment_wins_over_the_environment_and_an_argument_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMODEL_API_KEY", "of the environment")
    submodel.api_key = "assigned"
    submodel.endpoint_url_base = "http://assigned:1/v2"
    assert settings.target(None) == settings.Target("http://assigned:1/v2", "assigned")
    assert settings.target("argument").api_key == "argument"


@pytest.mark.parametrize("url", ["gateway:8000/v2", "ftp://gateway/v2", "http:///v2", ""])
def test_a_base_url_that_is_none_is_told_at_once(url: str) -> None:
    submodel.endpoint_url_base = url
    with pytest.raises(ConfigurationError, match="SUBMODEL_ENDPOINT_BASE_URL"):
        submodel.Endpoint("ns.e")


@pytest.mark.parametrize("key", ["key\n", "schlüssel", "a\r\nX-Other: 1"])
def test_a_key_that_no_header_can_hold_is_told_at_once_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigurationError, match="is there a line break in it") as caught:
        submodel.Endpoint("ns.e", api_key=key)
    assert key not in str(caught.value)


def test_a_key_is_not_shown_in_a_dump() -> None:
    assert "secret" not in repr(settings.Target("http://gateway", "secret"))


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"Authorization": "Bearer k"}, "k"),
        ({"authorization": "k"}, "k"),
        ({"Content-Type": "application/json"}, None),
        ({}, None),
    ],
)
def test_a_job_by_hand_takes_the_key_of_its_headers(headers: dict[str, str], key: str | None) -> None:
    assert settings.key_in(headers) == key
    assert submodel.AsyncioJob("ns.e", "id", None, headers).client.target.api_key == key


def test_a_key_is_the_processs_where_a_job_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUBMODEL_API_KEY", "of the environment")
    assert submodel.AsyncioJob("ns.e", "id").client.target.api_key == "of the environment"
