"""`python -m submodel_gateway key`: what it prints lets its owner in, and what it saves is what gateways read."""

import argparse
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from submodel_gateway.auth import command
from submodel_gateway.auth.command import Surroundings
from submodel_gateway.auth.folder import KeyFolder
from submodel_gateway.auth.keys import ApiKey, Scope
from submodel_gateway.errors import ConfigurationError, InvalidRequest

PEPPER = "pepper"
NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)
NOW_MS = int(NOW.timestamp() * 1000)


def key(place: Path | None, *arguments: str, secret: str = "s" * 43, days: float = 0) -> str:
    """What the command prints `days` later."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    environ = {"SUBMODEL_GATEWAY_KEY_PEPPER": PEPPER, **({"SUBMODEL_GATEWAY_KEYS": str(place)} if place else {})}
    return command.run(parser.parse_args(arguments), Surroundings(environ, secret, NOW + timedelta(days=days)))


def opened_by(place: Path, text: str, days: float = 0) -> ApiKey | None:
    later = NOW_MS + int(days * 86_400_000)
    return KeyFolder(place, PEPPER).keyring(later).find(text, later)


def text_in(printed: str) -> str:
    return printed.splitlines()[1]


def test_what_is_printed_lets_its_owner_in(tmp_path: Path) -> None:
    printed = key(None, "create", "ci", "--endpoints", "ns.*", "--scopes", "read", "--days", "1")
    _, text, _, _, document = printed.splitlines()
    (tmp_path / "ci.json").write_text(document)
    found = opened_by(tmp_path, text)
    assert found is not None
    assert (found.endpoints, found.scopes) == (("ns.*",), frozenset({Scope.READ}))
    assert opened_by(tmp_path, text, days=1) is None
    assert "s" * 43 not in document


def test_what_is_saved_lets_its_owner_in(tmp_path: Path) -> None:
    printed = key(tmp_path, "create", "ci", "--save")
    assert opened_by(tmp_path, text_in(printed)) is not None
    assert str(tmp_path / "ci.json") in printed
    assert [file.name for file in tmp_path.iterdir()] == ["ci.json"]
    with pytest.raises(ConfigurationError, match="there is a key ci already"):
        key(tmp_path, "create", "ci", "--save")


def test_a_rotated_key_has_two_texts_for_a_while(tmp_path: Path) -> None:
    former = text_in(key(tmp_path, "create", "ci", "--endpoints", "ns.app", "--save"))
    new = text_in(key(tmp_path, "rotate", "ci", "--overlap-days", "2", "--save", secret="t" * 43))
    assert new != former
    for text in (former, new):
        found = opened_by(tmp_path, text, days=1)
        assert found is not None
        assert (found.id, found.endpoints) == ("ci", ("ns.app",))
    assert opened_by(tmp_path, former, days=2) is None
    assert opened_by(tmp_path, new, days=2) is not None


def test_a_rotation_may_end_the_former_text_at_once(tmp_path: Path) -> None:
    former = text_in(key(tmp_path, "create", "ci", "--save"))
    key(tmp_path, "rotate", "ci", "--overlap-days", "0", "--save", secret="t" * 43)
    assert opened_by(tmp_path, former) is None


def test_a_rotation_that_is_not_saved_changes_nothing(tmp_path: Path) -> None:
    former = text_in(key(tmp_path, "create", "ci", "--save"))
    printed = key(tmp_path, "rotate", "ci", secret="t" * 43)
    assert opened_by(tmp_path, text_in(printed)) is None
    (tmp_path / "ci.json").write_text(printed.splitlines()[4])
    assert opened_by(tmp_path, text_in(printed)) is not None
    assert opened_by(tmp_path, former, days=6) is not None


def test_a_revoked_key_is_none_any_more(tmp_path: Path) -> None:
    text = text_in(key(tmp_path, "create", "ci", "--save"))
    assert "key ci is revoked" in key(tmp_path, "revoke", "ci")
    assert opened_by(tmp_path, text) is None
    with pytest.raises(ConfigurationError, match="there is no key 'ci'"):
        key(tmp_path, "revoke", "ci")


def test_the_list_shows_what_each_key_may_and_until_when(tmp_path: Path) -> None:
    key(tmp_path, "create", "ci", "--days", "30", "--scopes", "read", "--save")
    key(tmp_path, "create", "app", "--endpoints", "ns.a", "ns.b", "--save")
    key(tmp_path, "create", "old", "--days", "1", "--save")
    key(tmp_path, "rotate", "app", "--save", secret="t" * 43)
    lines = [line.split() for line in key(tmp_path, "list", days=2).splitlines()]
    assert lines[0][:4] == ["ID", "SCOPES", "ENDPOINTS", "EXPIRES"]
    assert lines[1] == ["app", "read,run", "ns.a,ns.b", "never", "2027-02-07", "(in", "5", "days)"]
    assert lines[2] == ["ci", "read", "*", "2027-03-02", "(in", "28", "days)", "-"]
    assert lines[3] == ["old", "read,run", "*", "2027-02-01", "(expired)", "-"]
    assert "s" * 43 not in key(tmp_path, "list")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", "CI"],
        ["create", "ci", "--endpoints", "*.app"],
        ["create", "ci", "--days", "1e12"],
        ["rotate", "ci", "--overlap-days", "-1"],
        ["rotate", "ci", "--overlap-days", "1e12"],
        ["rotate", "nobody"],
        ["revoke", "nobody"],
    ],
)
def test_what_no_gateway_would_take_is_refused(tmp_path: Path, arguments: list[str]) -> None:
    key(tmp_path, "create", "ci", "--save")
    with pytest.raises((ConfigurationError, InvalidRequest)):
        key(tmp_path, *arguments)


@pytest.mark.parametrize("arguments", [["list"], ["revoke", "ci"], ["rotate", "ci"], ["create", "ci", "--save"]])
def test_without_a_folder_a_sentence_says_what_to_set(tmp_path: Path, arguments: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="SUBMODEL_GATEWAY_KEYS names no folder"):
        key(None, *arguments)
    with pytest.raises(ConfigurationError, match=r"cannot be read: .*; SUBMODEL_GATEWAY_KEYS must name one"):
        key(tmp_path / "none", *arguments)


def test_a_command_without_a_verb_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        key(None)
    assert capsys.readouterr().err.endswith("required: {create,rotate,revoke,list}\n")
