"""Which addresses a download may reach."""

import pytest

from submodel.serverless.utils.rp_ssrf import DownloadLimits, is_safe_address, max_download_bytes

FIVE_GIB = 5 * 2**30

PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "239.1.1.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::a00:1",
    "2002:a00:1::1",
    "2002:7f00:1::",
    "no address",
    "",
    "0177.0.0.1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_reached(address: str) -> None:
    assert is_safe_address(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_any_other_may_not_also_not_inside_another_notation(address: str) -> None:
    assert not is_safe_address(address)


def test_private_addresses_are_allowed_one_by_one_or_all() -> None:
    assert DownloadLimits(private=frozenset({"10.0.0.1"})).allows("10.0.0.1")
    assert not DownloadLimits(private=frozenset({"10.0.0.1"})).allows("10.0.0.2")
    assert DownloadLimits(private=None).allows("169.254.169.254")


@pytest.mark.parametrize("prefix", ["SUBMODEL_", "RUNPOD_"])
@pytest.mark.parametrize(
    ("text", "allowed"), [("true", True), ("YES", True), ("1", True), ("false", False), ("", False)]
)
def test_a_worker_may_be_told_to_allow_all(
    prefix: str, text: str, allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"{prefix}ALLOW_PRIVATE_DOWNLOAD_URLS", text)
    assert DownloadLimits.of_worker().allows("10.0.0.1") is allowed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", FIVE_GIB),
        ("1000", 1000),
        ("0", FIVE_GIB),
        ("-5", FIVE_GIB),
        ("5 GB", FIVE_GIB),
    ],
)
def test_the_size_is_bounded_whatever_the_environment_says(
    text: str, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUBMODEL_MAX_DOWNLOAD_BYTES", text)
    assert max_download_bytes() == expected
