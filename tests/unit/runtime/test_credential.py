"""The worker's token comes from a file that is renewed while the worker runs."""

from dataclasses import replace
from pathlib import Path

import pytest

from submodel.errors import GatewayUnavailable
from submodel.serverless.exchange import TOKEN_SECONDS, Credential
from submodel.serverless.settings import Settings

SETTINGS = Settings("http://gateway", "e", "w")


class Watch:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text("first\n")
    return path


def shows(credential: Credential) -> str:
    line = credential.headers().split("\r\n")[0]
    return line.removeprefix("Authorization: Bearer ")


def test_a_renewed_file_counts_after_a_few_seconds_on_the_same_connection(file: Path) -> None:
    watch = Watch()
    credential = Credential(replace(SETTINGS, token_file=str(file)), watch)
    assert shows(credential) == "first"
    file.write_text("second")
    watch.seconds += TOKEN_SECONDS - 1
    assert shows(credential) == "first"
    watch.seconds += 1
    assert shows(credential) == "second"


def test_a_refusal_makes_it_look_at_once(file: Path) -> None:
    credential = Credential(replace(SETTINGS, token_file=str(file)), Watch())
    assert shows(credential) == "first"
    file.write_text("second")
    credential.refused()
    assert shows(credential) == "second"


def test_while_the_file_is_away_the_token_before_goes_on(file: Path) -> None:
    watch = Watch()
    credential = Credential(replace(SETTINGS, token_file=str(file)), watch)
    assert shows(credential) == "first"
    file.unlink()
    watch.seconds += TOKEN_SECONDS
    assert shows(credential) == "first"


def test_a_file_that_was_never_there_is_waited_for_and_the_variable_stands_in(file: Path) -> None:
    file.unlink()
    waiting = Credential(replace(SETTINGS, token_file=str(file)), Watch())
    with pytest.raises(GatewayUnavailable, match="cannot be read"):
        waiting.headers()
    assert shows(Credential(replace(SETTINGS, token="derived", token_file=str(file)), Watch())) == "derived"
    file.write_text("there")
    assert shows(waiting) == "there"
