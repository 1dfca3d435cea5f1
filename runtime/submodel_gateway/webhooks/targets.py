"""The wall: which URLs and which addresses a webhook may reach. Pure; resolving and connecting are `sender`'s.

A URL comes from a client, so it may name anything that the gateway can reach and the client cannot. Two checks keep it
out: the text when the job is submitted and again when it is sent, and every address that its host resolves to at the
moment of sending. There is one parser, and it takes the plain forms only: what two parsers could read in two ways is
refused.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from submodel_gateway.errors import ConfigurationError, TargetRefused
from submodel_gateway.settings import WEBHOOK_ALLOW

URL_LENGTH_MAX = 2_048
PORTS = frozenset({80, 443, 8443})
_DEFAULT_PORTS = {"https": 443, "http": 80}

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_NAME = re.compile(rf"(?=.{{1,253}}\Z){_LABEL}(?:\.{_LABEL})*")
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)")
_HERE = ("localhost", "local", "localdomain", "internal", "svc", "home.arpa")
"""Endings of names that no public name has; they are refused early, with a reason that a client understands."""

_CLOSED_4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier and cluster networks; 100.100.100.200 is a metadata service
        "127.0.0.0/8",
        "168.63.129.16/32",  # a metadata service with a public address
        "169.254.0.0/16",  # link-local; 169.254.169.254 is the metadata service of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; 192.0.0.192 is a metadata service
        "192.0.2.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_OPEN_6 = IPv6Network("2000::/3")
_CLOSED_6 = tuple(
    IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo and benchmarks among them
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address of any kind in disguise
        "3fff::/20",
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed: `url` is what to request, `host` a lower-case name or an address without brackets."""

    url: str
    host: str
    port: int
    address: Address | None
    """The host, if it is an address."""

    @property
    def place(self) -> str:
        """Where the connection goes: one port of a host says nothing of another."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Rules:
    """What the operator allows beyond https to ports 80, 443 and 8443 of public addresses."""

    names: frozenset[str] = frozenset()
    """Hosts that may be anything and anywhere; `.example.com` means all names below it."""

    networks: tuple[Network, ...] = ()
    """Addresses that count as public; as hosts they may be anything."""

    closed: tuple[Network, ...] = ()
    """Addresses that do not, although they are."""

    ports: frozenset[int] = PORTS
    http: bool = False

    def target(self, url: str) -> Target:
        """The parts of a URL that may be asked for. Raises `TargetRefused` with a reason for its author."""
        scheme, host, port, rest = _parts(url)
        address = _literal(host)
        if address is not None and not self.reaches(address):
            raise TargetRefused("its host is an address that is not public")
        if not self._trusts(host, address):
            self._check(scheme, host, port, named=address is None)
        shown = f"[{host}]" if isinstance(address, IPv6Address) else host
        at = "" if port == _DEFAULT_PORTS[scheme] else f":{port}"
        return Target(f"{scheme}://{shown}{at}{rest}", host, port, address)

    def reaches(self, address: Address) -> bool:
        """Whether a connection to this address is allowed for any host that leads to it."""
        inner = _embedded(address)
        if any(_within(inner, network) or _within(address, network) for network in self.closed):
            return False
        return any(_within(inner, network) or _within(address, network) for network in self.networks) or public(inner)

    def admits(self, host: str, addresses: Iterable[Address]) -> bool:
        """Whether all addresses that a name resolves to may be connected to, and there is one at least."""
        found = list(addresses)
        return bool(found) and (self._trusts(host, None) or all(map(self.reaches, found)))

    def _trusts(self, host: str, address: Address | None) -> bool:
        if address is not None:
            return any(_within(address, network) for network in self.networks)
        above = [host[at:] for at in range(len(host)) if host[at] == "."]
        return not self.names.isdisjoint((host, *above))

    def _check(self, scheme: str, host: str, port: int, *, named: bool) -> None:
        if scheme == "http" and not self.http:
            raise TargetRefused("plain http is not allowed here; use https")
        if port not in self.ports:
            allowed = ", ".join(map(str, sorted(self.ports)))
            raise TargetRefused(f"port {port} is not allowed here; use one of {allowed}")
        if named and ("." not in host or any(f".{host}".endswith(f".{ending}") for ending in _HERE)):
            raise TargetRefused("its host is a name of this network, not a public one")


def rules(entries: Iterable[str]) -> Rules:
    """Rules from the words of the setting. Raises `ConfigurationError`.

    A word is a name (`.example.com` for all below it), an address or a network in CIDR notation, `!` with one that is
    closed although it is public, `:port`, or `http`.
    """
    names: set[str] = set()
    open_: list[Network] = []
    closed: list[Network] = []
    ports, http = set(PORTS), False
    for entry in entries:
        word = entry.lower()
        if word == "http":
            http = True
        elif word[:1] == ":" and word[1:].isascii() and word[1:].isdigit() and 0 < int(word[1:]) <= 65_535:
            ports.add(int(word[1:]))
        elif (network := _network(word.removeprefix("!"))) is not None:
            (closed if word.startswith("!") else open_).append(network)
        elif _NAME.fullmatch(word.removeprefix(".")):
            names.add(word)
        else:
            raise ConfigurationError(
                f"{WEBHOOK_ALLOW} holds {entry!r}; give names, networks like 10.0.0.0/8, !networks, :ports or http"
            )
    return Rules(frozenset(names), tuple(open_), tuple(closed), frozenset(ports), http)


def public(address: Address) -> bool:
    """Whether an address belongs to the public Internet; `ipaddress.is_global` says so of too many."""
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _CLOSED_4)
    return address in _OPEN_6 and not any(address in network for network in _CLOSED_6)


def _parts(url: str) -> tuple[str, str, int, str]:
    """Scheme, host, port and the rest from the path on."""
    if len(url) > URL_LENGTH_MAX:
        raise TargetRefused(f"it has {len(url)} characters; use at most {URL_LENGTH_MAX}")
    if not all("!" <= character <= "~" and character != "\\" for character in url):
        raise TargetRefused("it holds a space, a backslash or a character that is not ASCII; encode it")
    try:
        split = urlsplit(url)
    except ValueError as error:
        raise TargetRefused("it is not a URL") from error
    scheme, authority = split.scheme, split.netloc
    if scheme not in _DEFAULT_PORTS or not authority:
        raise TargetRefused("it must begin with https:// and a host")
    if "@" in authority:
        raise TargetRefused("it holds a user name or password; put a secret into the query, or verify the signature")
    host, port = _host_and_port(authority.lower(), _DEFAULT_PORTS[scheme])
    return scheme, host, port, (split.path or "/") + (f"?{split.query}" if split.query else "")


def _host_and_port(authority: str, default: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?", authority)
    if found is None or not 0 < int(found[2] or default) <= 65_535:
        raise TargetRefused("its host or port cannot be read")
    host = found[1]
    if host.startswith("["):
        if ":" not in host:
            raise TargetRefused("its host is in brackets and no IPv6 address")
        return host[1:-1], int(found[2] or default)
    host = host.removesuffix(".")
    if not _NAME.fullmatch(host):
        raise TargetRefused("its host is neither a name nor an address; write other letters in their xn-- form")
    return host, int(found[2] or default)


def _literal(host: str) -> Address | None:
    """The address that a host is; None for a name. Other spellings of numbers than the usual one are refused."""
    if ":" not in host and not _NUMBER.fullmatch(host.rpartition(".")[2]):
        return None
    try:
        address = ip_address(host)
    except ValueError as error:
        raise TargetRefused("its host is no valid address; write IPv4 as four decimal numbers") from error
    if isinstance(address, IPv6Address) and address.scope_id is not None:
        raise TargetRefused("its host is an address with a zone")
    return address


def _embedded(address: Address) -> Address:
    """The IPv4 address that a connection to this IPv6 address ends at."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _network(text: str) -> Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
