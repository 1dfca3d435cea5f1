"""API keys: what is stored, who is let in, and how changes of the folder count."""

import argparse
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from submodel_gateway.auth.command import add_arguments, new_key
from submodel_gateway.auth.folder import CHECK_MS, KeyFolder
from submodel_gateway.auth.keys import ApiKey, Keyring, Scope, digest_of, key_text
from submodel_gateway.errors import ConfigurationError, Forbidden, InvalidRequest, NotFound, Unauthorized
from submodel_gateway.service.access import ByKey, Open
from submodel_gateway.service.endpoints import Endpoints

PEPPER = "pepper"
SECRET = "s" * 43
NOW_MS = 1_800_000_000_000
KEY = key_text("ci", SECRET)


def document(**fields: object) -> bytes:
    return json.dumps({"id": "ci", "digest": digest_of(PEPPER, SECRET), **fields}).encode()


def folder(tmp_path: Path, **fields: object) -> KeyFolder:
    (tmp_path / "ci.json").write_bytes(document(**fields))
    return KeyFolder(tmp_path, PEPPER)


def by_key(tmp_path: Path, **fields: object) -> ByKey:
    return ByKey(folder(tmp_path, **fields), lambda: NOW_MS)


def test_a_key_lets_its_owner_in(tmp_path: Path) -> None:
    assert by_key(tmp_path).caller(KEY, "ns.app", Scope.RUN).principal == "ci"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "smk",
        "smk_ci",
        "smk_ci_",
        KEY[:-1],
        KEY + "x",
        KEY.upper(),
        f"xyz_ci_{SECRET}",
        f"smk_cd_{SECRET}",
        "smk_ci_é",
    ],
)
def test_whatever_is_not_the_key_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unauthorized):
        by_key(tmp_path).caller(text, "ns.app", Scope.READ)


@pytest.mark.parametrize(
    ("endpoints", "endpoint", "reached"),
    [
        (["*"], "ns.app", True),
        (["ns.*"], "ns.app", True),
        (["ns.*"], "ns-2.app", False),
        (["ns.*"], "ns", False),
        (["ns.app"], "ns.app", True),
        (["ns.app"], "ns.app-2", False),
        (["a.b", "ns.app"], "ns.app", True),
        ([], "ns.app", False),
    ],
)
def test_an_endpoint_out_of_reach_is_as_one_that_does_not_exist(
    tmp_path: Path, endpoints: list[str], endpoint: str, reached: bool
) -> None:
    access = by_key(tmp_path, endpoints=endpoints)
    if reached:
        assert access.caller(KEY, endpoint, Scope.READ).principal == "ci"
        return
    with pytest.raises(NotFound) as refused:
        access.caller(KEY, endpoint, Scope.READ)
    with pytest.raises(NotFound) as unknown:
        Endpoints().get(endpoint)
    assert str(refused.value) == str(unknown.value)


def test_a_key_does_what_its_scopes_say(tmp_path: Path) -> None:
    access = by_key(tmp_path, scopes=["read"])
    assert access.caller(KEY, "ns.app", Scope.READ).principal == "ci"
    with pytest.raises(Forbidden, match="no scope run"):
        access.caller(KEY, "ns.app", Scope.RUN)


def test_a_key_expires(tmp_path: Path) -> None:
    now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    assert by_key(tmp_path, expires_at=(now + timedelta(seconds=1)).isoformat()).caller(KEY, "a.b", Scope.RUN).principal
    with pytest.raises(Unauthorized, match="expired"):
        by_key(tmp_path, expires_at=now.isoformat()).caller(KEY, "a.b", Scope.RUN)


def test_another_pepper_voids_a_key() -> None:
    keys = [msgspec.json.decode(document(), type=ApiKey)]
    assert Keyring(PEPPER, keys).find(KEY, NOW_MS) is not None
    assert Keyring("other", keys).find(KEY, NOW_MS) is None


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"id": "CI"}, "id 'CI' must be"),
        ({"digest": "abc"}, "digest must be 64"),
        ({"scopes": ["everything"]}, "everything"),
        ({"endpoints": ["*.app"]}, "endpoint '\\*.app' must be"),
        ({"expires_at": "2027-01-31T00:00:00"}, "needs a time zone"),
        ({"name": "x"}, "unknown field"),
    ],
)
def test_a_document_that_cannot_be_used_is_named_at_the_start(
    tmp_path: Path, fields: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ConfigurationError, match=rf"ci\.json.*{sentence}"):
        folder(tmp_path, **fields)


def test_keys_come_and_go_with_their_files(tmp_path: Path) -> None:
    keys = folder(tmp_path)
    (tmp_path / "ci.json").rename(tmp_path / "..data")
    assert keys.keyring(CHECK_MS).find(KEY, NOW_MS) is None
    (tmp_path / "again.json").write_bytes(document())
    assert keys.keyring(CHECK_MS + 1).find(KEY, NOW_MS) is None, "it looks no more often than it must"
    assert keys.keyring(2 * CHECK_MS).find(KEY, NOW_MS) is not None


def test_a_broken_document_keeps_no_other_key_in_force(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    keys = folder(tmp_path)
    (tmp_path / "ci.json").unlink()
    (tmp_path / "broken.json").write_bytes(b"{")
    assert keys.keyring(CHECK_MS).find(KEY, NOW_MS) is None
    assert "broken.json cannot be used" in caplog.text


def test_a_folder_that_vanishes_leaves_the_keys_as_they_were(tmp_path: Path) -> None:
    place = tmp_path / "keys"
    place.mkdir()
    keys = folder(place)
    place.rename(tmp_path / "elsewhere")
    assert keys.keyring(CHECK_MS).find(KEY, NOW_MS) is not None


def test_what_the_command_prints_lets_its_owner_in(tmp_path: Path) -> None:
    printed = made("ci", "--endpoints", "ns.*", "--scopes", "read", "--days", "1")
    _, key, _, _, text = printed.splitlines()
    (tmp_path / "ci.json").write_text(text)
    access = ByKey(KeyFolder(tmp_path, PEPPER), lambda: NOW_MS)
    assert access.caller(key, "ns.app", Scope.READ).principal == "ci"
    assert SECRET not in text


@pytest.mark.parametrize("arguments", [["CI"], ["ci", "--endpoints", "*.app"], ["ci", "--days", "1e12"]])
def test_the_command_refuses_what_no_gateway_would_take(arguments: list[str]) -> None:
    with pytest.raises((ConfigurationError, InvalidRequest)):
        made(*arguments)


def made(*arguments: str) -> str:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    environ = {"SUBMODEL_GATEWAY_KEY_PEPPER": PEPPER}
    return new_key(parser.parse_args(arguments), environ, SECRET, datetime.fromtimestamp(NOW_MS / 1000, UTC))


def test_without_keys_callers_are_told_apart_by_what_they_send() -> None:
    access = Open()
    assert access.caller("a", "ns.app", Scope.RUN).principal != access.caller("b", "ns.app", Scope.RUN).principal
    assert "secret" not in access.caller("secret", "ns.app", Scope.RUN).principal
