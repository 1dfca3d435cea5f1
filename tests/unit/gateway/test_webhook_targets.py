"""The wall around webhooks: which URLs and addresses are let through."""

from ipaddress import ip_address

import pytest

from submodel_gateway.errors import ConfigurationError, TargetRefused
from submodel_gateway.webhooks.targets import URL_LENGTH_MAX, Rules, public, rules

WALL = Rules()

HOSTILE = {
    "loopback": "https://127.0.0.1/",
    "another loopback": "https://127.8.8.8/",
    "nowhere": "https://0.0.0.0/",
    "broadcast": "https://255.255.255.255/",
    "private 10": "https://10.1.2.3/",
    "private 172": "https://172.31.255.254/",
    "private 192": "https://192.168.0.1/",
    "carrier network": "https://100.64.0.1/",
    "metadata": "https://169.254.169.254/latest/meta-data/",
    "metadata in the carrier network": "https://100.100.100.200/",
    "metadata among the assignments": "https://192.0.0.192/",
    "metadata at a public address": "https://168.63.129.16/",
    "multicast": "https://224.0.0.1/",
    "reserved": "https://240.0.0.1/",
    "benchmark": "https://198.18.0.1/",
    "documentation": "https://203.0.113.9/",
    "6to4 relay": "https://192.88.99.1/",
    "decimal": "https://2130706433/",
    "hexadecimal": "https://0x7f000001/",
    "hexadecimal parts": "https://0x7f.0x0.0x0.0x1/",
    "octal": "https://017700000001/",
    "octal parts": "https://0177.0.0.01/",
    "short": "https://127.1/",
    "two parts": "https://10.1/",
    "too many parts": "https://1.2.3.4.5/",
    "too large a part": "https://1.2.3.256/",
    "mixed number": "https://example.0x1/",
    "number at the end": "https://example.1/",
    "address with a dot": "https://127.0.0.1./",
    "digits of another script": "https://１２７.0.0.1/",
    "circled letters": "https://ⓛocalhost/",
    "other dots": "https://127。0。0。1/",
    "IPv6 loopback": "https://[::1]/",
    "IPv6 nowhere": "https://[::]/",
    "IPv6 loopback in full": "https://[0000:0000:0000:0000:0000:0000:0000:0001]/",
    "mapped loopback": "https://[::ffff:127.0.0.1]/",
    "mapped private": "https://[::ffff:a00:1]/",
    "mapped metadata": "https://[::ffff:169.254.169.254]/",
    "compatible": "https://[::127.0.0.1]/",
    "translated": "https://[::ffff:0:127.0.0.1]/",
    "NAT64 private": "https://[64:ff9b::10.0.0.1]/",
    "NAT64 metadata": "https://[64:ff9b::a9fe:a9fe]/",
    "NAT64 local": "https://[64:ff9b:1::a00:1]/",
    "6to4 private": "https://[2002:0a00:1::]/",
    "6to4 public": "https://[2002:0808:0808::]/",
    "Teredo": "https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "unique local": "https://[fd00:ec2::254]/",
    "link-local": "https://[fe80::1]/",
    "link-local with a zone": "https://[fe80::1%25eth0]/",
    "public with a zone": "https://[2606:4700::1%eth0]/",
    "site-local": "https://[fec0::1]/",
    "IPv6 multicast": "https://[ff02::1]/",
    "IPv6 documentation": "https://[2001:db8::1]/",
    "newer documentation": "https://[3fff::1]/",
    "discard": "https://[100::1]/",
    "IPv4 in brackets": "https://[127.0.0.1]/",
    "name in brackets": "https://[example.com]/",
    "future form in brackets": "https://[v1.fe80::a]/",
    "text after brackets": "https://[2606:4700::1]example.com/",
    "localhost": "https://localhost/",
    "below localhost": "https://a.localhost/",
    "localhost with a dot": "https://LOCALHOST./",
    "service": "https://gateway.submodel.svc/",
    "service in full": "https://kubernetes.default.svc.cluster.local/",
    "metadata name": "https://metadata.google.internal/",
    "printer": "https://printer.local/",
    "name of this network": "https://postgres/",
    "user": "https://user@example.com/",
    "password": "https://user:hunter2@example.com/",
    "user that looks like the host": "https://example.com@127.0.0.1/",
    "backslash before the host": "https://example.com\\@127.0.0.1/",
    "encoded at": "https://example.com%40127.0.0.1/",
    "encoded host": "https://%31%32%37.0.0.1/",
    "nul": "https://example.com%00.evil.com/",
    "space": "https://example.com /",
    "line break": "https://example.com/\r\nHost: internal",
    "tab": "https://exa\tmple.com/",
    "no host": "https:///path",
    "no scheme": "//example.com/",
    "one slash": "https:/example.com/",
    "name only": "example.com",
    "empty": "",
    "plain": "http://example.com/",
    "file": "file:///etc/passwd",
    "gopher": "gopher://example.com:70/_x",
    "ftp": "ftp://example.com/",
    "script": "javascript:alert(1)",
    "database": "https://example.com:5432/",
    "ssh": "https://example.com:22/",
    "kubelet": "https://example.com:10250/",
    "port 0": "https://example.com:0/",
    "port too high": "https://example.com:65979/",
    "port with a sign": "https://example.com:+443/",
    "no port": "https://example.com:/",
    "two ports": "https://example.com:443:80/",
    "label of hyphens": "https://-example-.com/",
    "empty label": "https://example..com/",
    "label too long": f"https://{'a' * 64}.com/",
    "name too long": f"https://{'a.' * 127}com/",
    "too long": "https://example.com/" + "a" * URL_LENGTH_MAX,
}


@pytest.mark.requirement("platform.webhook.wall")
@pytest.mark.parametrize("url", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_url_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused) as refused:
        WALL.target(url)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("password", "user name or password"),
        ("user that looks like the host", "user name or password"),
        ("decimal", "four decimal numbers"),
        ("metadata", "not public"),
        ("link-local with a zone", "with a zone"),
        ("service", "of this network"),
        ("database", "port 5432 is not allowed here; use one of 80, 443, 8443"),
        ("plain", "use https"),
        ("other dots", "not ASCII"),
        ("name only", "must begin with https://"),
        ("too long", "use at most 2048"),
    ],
)
def test_a_refusal_says_what_is_wrong(name: str, reason: str) -> None:
    with pytest.raises(TargetRefused, match=reason):
        WALL.target(HOSTILE[name])


@pytest.mark.parametrize(
    ("url", "sent", "host", "port"),
    [
        ("https://hooks.example.com/a?b=c", "https://hooks.example.com/a?b=c", "hooks.example.com", 443),
        ("HTTPS://Hooks.Example.COM", "https://hooks.example.com/", "hooks.example.com", 443),
        ("https://example.com:443/", "https://example.com/", "example.com", 443),
        ("https://example.com:8443/x#part", "https://example.com:8443/x", "example.com", 8443),
        ("https://example.com./", "https://example.com/", "example.com", 443),
        ("https://xn--bcher-kva.example.com/", "https://xn--bcher-kva.example.com/", "xn--bcher-kva.example.com", 443),
        ("https://8.8.8.8/%7Ea%2F?q=%20+", "https://8.8.8.8/%7Ea%2F?q=%20+", "8.8.8.8", 443),
        ("https://[2606:4700::1111]:8443/", "https://[2606:4700::1111]:8443/", "2606:4700::1111", 8443),
        ("https://[::ffff:8.8.8.8]/", "https://[::ffff:8.8.8.8]/", "::ffff:8.8.8.8", 443),
        ("https://[64:ff9b::808:808]/", "https://[64:ff9b::808:808]/", "64:ff9b::808:808", 443),
    ],
)
def test_a_public_url_is_sent_as_it_was_written(url: str, sent: str, host: str, port: int) -> None:
    target = WALL.target(url)
    assert (target.url, target.host, target.port) == (sent, host, port)


@pytest.mark.parametrize(
    ("word", "url", "without"),
    [
        ("http", "http://example.com/", "plain http"),
        (":9000", "https://example.com:9000/", "port 9000"),
        ("127.0.0.0/8", "http://127.0.0.1:9000/", "not public"),
        ("::1", "http://[::1]:9000/", "not public"),
        ("10.0.0.0/8", "https://[::ffff:10.0.0.1]/", "not public"),
        ("localhost", "http://localhost:9000/", "plain http"),
        ("receiver", "https://receiver/", "of this network"),
        (".svc", "https://receiver.default.svc/", "of this network"),
        (".default.svc", "http://receiver.default.svc:8080/", "plain http"),
    ],
)
def test_a_word_of_the_setting_opens_what_it_says(word: str, url: str, without: str) -> None:
    with pytest.raises(TargetRefused, match=without):
        WALL.target(url)
    assert rules([word]).target(url).url == url


@pytest.mark.parametrize(
    ("words", "url"),
    [
        (["http"], "http://127.0.0.1/"),
        ([":9000"], "https://localhost:9000/"),
        (["10.0.0.0/8"], "https://192.168.0.1/"),
        (["10.0.0.0/8"], "http://example.com/"),
        ([".svc"], "https://svc/"),
        (["receiver"], "https://receiver2/"),
        (["!8.8.0.0/16"], "https://8.8.8.8/"),
        (["!8.8.0.0/16"], "https://[::ffff:8.8.8.8]/"),
        (["10.0.0.0/8", "!10.1.0.0/16"], "https://10.1.2.3/"),
    ],
)
def test_a_word_of_the_setting_opens_nothing_else(words: list[str], url: str) -> None:
    with pytest.raises(TargetRefused):
        rules(words).target(url)


@pytest.mark.parametrize("word", ["10.0.0.0/33", "*.example.com", "https://a", ":0", ":port", "!name", "a b", "-"])
def test_a_word_that_says_nothing_is_refused(word: str) -> None:
    with pytest.raises(ConfigurationError, match="SUBMODEL_GATEWAY_WEBHOOK_ALLOW holds"):
        rules([word])


@pytest.mark.requirement("platform.webhook.wall")
def test_a_name_is_let_through_only_when_all_its_addresses_are() -> None:
    good, other, bad = ip_address("8.8.8.8"), ip_address("2606:4700::1111"), ip_address("10.0.0.1")
    assert WALL.admits("example.com", [good, other])
    assert not WALL.admits("example.com", [good, bad])
    assert not WALL.admits("example.com", [])
    assert rules(["10.0.0.0/8"]).admits("example.com", [good, bad])
    assert rules(["example.com"]).admits("example.com", [bad])
    assert not rules(["example.com"]).admits("example.com", [])


@pytest.mark.parametrize("text", ["64:ff9b::a00:1", "2002:a00:1::", "224.0.0.1", "192.0.0.8", "168.63.129.16"])
def test_what_the_library_holds_to_be_public_and_is_not_is_closed(text: str) -> None:
    address = ip_address(text)
    assert not WALL.reaches(address)


def test_every_block_of_the_address_space_is_public_or_not_as_a_whole() -> None:
    for first in range(256):
        expected = not (first in (0, 10, 127) or first >= 224)
        assert public(ip_address(f"{first}.200.200.200")) is expected, first
