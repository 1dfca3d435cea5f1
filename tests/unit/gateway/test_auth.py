"""API keys: what is stored, who is let in, and how changes of the folder count."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from submodel.contract.internal import EndpointKey, WorkerToken
from submodel_gateway.auth.folder import CHECK_MS, KeyFolder
from submodel_gateway.auth.keys import ApiKey, Keyring, Scope, digest_of, key_text
from submodel_gateway.errors import ConfigurationError, Forbidden, InvalidRequest, NotFound, Unauthorized
from submodel_gateway.service.access import ByKey, Caller, Open
from submodel_gateway.service.endpoints import Endpoints
from tests.support.gateway_world import ENDPOINT, TOKEN, registration, world

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
    return ByKey(folder(tmp_path, **fields), Endpoints(), lambda: NOW_MS)


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


def test_a_former_secret_counts_until_its_end(tmp_path: Path) -> None:
    now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    former = {"digest": digest_of(PEPPER, "o" * 43), "expires_at": (now + timedelta(seconds=1)).isoformat()}
    keys = folder(tmp_path, former=former).keyring(0)
    for secret in (SECRET, "o" * 43):
        assert keys.find(key_text("ci", secret), NOW_MS) is not None
    assert keys.find(key_text("ci", "o" * 43), NOW_MS + 1_000) is None
    assert keys.find(KEY, NOW_MS + 1_000) is not None


def test_a_former_secret_does_not_outlive_the_key(tmp_path: Path) -> None:
    now = datetime.fromtimestamp(NOW_MS / 1000, UTC)
    former = {"digest": digest_of(PEPPER, "o" * 43), "expires_at": (now + timedelta(days=1)).isoformat()}
    keys = folder(tmp_path, former=former, expires_at=now.isoformat()).keyring(0)
    assert keys.find(key_text("ci", "o" * 43), NOW_MS) is None


def test_the_keys_of_a_namespace_open_its_endpoints_with_ids_of_their_own(tmp_path: Path) -> None:
    endpoints = Endpoints()
    endpoints.put(registration("speech", owner="ns.app"))
    access = ByKey(folder(tmp_path, endpoints=["ns.*"]), endpoints, lambda: NOW_MS)
    assert access.caller(KEY, "speech", Scope.RUN).principal == "ci"
    endpoints.put(registration("speech", owner="ns-2.app"))
    with pytest.raises(NotFound):
        access.caller(KEY, "speech", Scope.RUN)


OWN = "smk_own_" + "o" * 43


def with_own_keys(tmp_path: Path, *keys: EndpointKey, open: bool = False) -> ByKey:
    """The installation has one key; ns.app and ns.other have `keys`, ns.third has none."""
    endpoints = Endpoints()
    for name in ("ns.app", "ns.other"):
        endpoints.put(registration(name, api_keys=list(keys), open=open))
    endpoints.put(registration("ns.third"))
    return ByKey(folder(tmp_path), endpoints, lambda: NOW_MS)


def own(text: str = OWN, **fields: Any) -> EndpointKey:
    return EndpointKey(**{"id": "own", "sha256": hashlib.sha256(text.encode()).hexdigest(), **fields})


def test_a_key_of_an_endpoint_opens_it_and_the_installations_keys_do_too(tmp_path: Path) -> None:
    access = with_own_keys(tmp_path, own())
    assert access.caller(OWN, "ns.app", Scope.RUN) == Caller("ns.app/own", "ns.app/own")
    assert access.caller(OWN, "ns.other", Scope.RUN).principal == "ns.other/own"
    assert access.caller(KEY, "ns.app", Scope.RUN).principal == "ci"


@pytest.mark.parametrize("endpoint", ["ns.third", "ns.nowhere"])
def test_a_key_of_another_endpoint_finds_none_here(tmp_path: Path, endpoint: str) -> None:
    with pytest.raises(NotFound, match=f"endpoint '{endpoint}' does not exist"):
        with_own_keys(tmp_path, own()).caller(OWN, endpoint, Scope.READ)


@pytest.mark.parametrize("endpoint", ["ns.app", "ns.third", "ns.nowhere"])
def test_an_unknown_key_hears_the_same_everywhere(tmp_path: Path, endpoint: str) -> None:
    for keys in ([own()], [own(expires_at_ms=NOW_MS)], []):
        text = OWN if keys[:1] != [own()] else OWN + "x"
        with pytest.raises(Unauthorized, match="unknown, expired or revoked"):
            with_own_keys(tmp_path, *keys).caller(text, endpoint, Scope.READ)


def test_a_key_of_an_endpoint_has_scopes_and_an_end(tmp_path: Path) -> None:
    access = with_own_keys(tmp_path, own(scopes=("read",), expires_at_ms=NOW_MS + 1))
    assert access.caller(OWN, "ns.app", Scope.READ).account == "ns.app/own"
    with pytest.raises(Forbidden, match="no scope run"):
        access.caller(OWN, "ns.app", Scope.RUN)


def test_a_push_revokes_what_it_leaves_out(tmp_path: Path) -> None:
    endpoints = Endpoints()
    access = ByKey(folder(tmp_path), endpoints, lambda: NOW_MS)
    second = "smk_own_" + "p" * 43
    for keys, works in (
        ([own()], {OWN}),
        ([own(), own(second)], {OWN, second}),
        ([own(second)], {second}),
        ([], set()),
    ):
        endpoints.put(registration(api_keys=keys))
        for text in (OWN, second):
            if text in works:
                assert access.caller(text, "ns.app", Scope.RUN).account
                continue
            with pytest.raises(Unauthorized):
                access.caller(text, "ns.app", Scope.RUN)
    endpoints.put(registration(api_keys=[own()]))
    endpoints.remove("ns.app")
    with pytest.raises(Unauthorized):
        access.caller(OWN, "ns.app", Scope.RUN)


def test_an_endpoint_is_open_only_when_it_says_so(tmp_path: Path) -> None:
    access = with_own_keys(tmp_path, own(), open=True)
    for credential in ("", OWN, KEY, "anything"):
        account = access.caller(credential, "ns.app", Scope.RUN).account
        assert account == "ns.app/", "callers without a key share their limits, and with nobody else"
    assert access.caller("a", "ns.app", Scope.RUN) != access.caller("b", "ns.app", Scope.RUN)
    with pytest.raises(Unauthorized):
        access.caller("", "ns.third", Scope.RUN)


@pytest.mark.parametrize(
    ("key", "sentence"),
    [
        (own(id=""), "an id has 1 to 253"),
        (own(sha256="AB"), "64 lower-case hexadecimal"),
        (own(scopes=("admin",)), "has a scope 'admin'; there are read and run"),
    ],
)
async def test_a_pushed_key_that_cannot_be_one_is_refused(key: EndpointKey, sentence: str) -> None:
    async with world() as w:
        with pytest.raises(InvalidRequest, match=sentence):
            await w.register(api_keys=[key])


async def test_a_worker_of_another_endpoint_finds_none_and_an_unknown_one_hears_the_same_everywhere() -> None:
    async with world() as w:
        token = WorkerToken(revision="r1", sha256=hashlib.sha256(b"other").hexdigest().upper())
        await w.register("ns.other", worker_tokens=[token])
        assert w.gateway.endpoints.of_worker("ns.other", "other")[1] == "r1"
        for endpoint in ("ns.other", "ns.nowhere"):
            with pytest.raises(NotFound):
                w.gateway.endpoints.of_worker(endpoint, TOKEN)
        for endpoint in (ENDPOINT, "ns.other", "ns.nowhere"):
            with pytest.raises(Unauthorized):
                w.gateway.endpoints.of_worker(endpoint, "unknown")


def test_without_keys_callers_are_told_apart_by_what_they_send() -> None:
    access = Open()
    assert access.caller("a", "ns.app", Scope.RUN).principal != access.caller("b", "ns.app", Scope.RUN).principal
    assert "secret" not in access.caller("secret", "ns.app", Scope.RUN).principal
