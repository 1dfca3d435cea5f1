"""Which addresses a download may reach: public ones. A job's input must not make a worker read its own network."""

import ipaddress
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from submodel.errors import DownloadRefused
from submodel.serverless.environment import switched_on, variable

__all__ = ["DownloadLimits", "SSRFError", "is_safe_address", "max_download_bytes"]

SSRFError = DownloadRefused
"""The hosted platforms' name."""

MAX_BYTES_DEFAULT = 5 * 2**30
TOTAL_SECONDS = 3600.0
_NAT64 = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """What a download may reach and use up."""

    max_bytes: int = MAX_BYTES_DEFAULT
    """Of a file, and of what an archive unpacks to."""

    total_seconds: float = TOTAL_SECONDS
    private: frozenset[str] | None = frozenset()
    """Addresses that may be reached although they are not public; None allows all."""

    def allows(self, address: str) -> bool:
        """Whether an IP address may be connected to."""
        return self.private is None or address in self.private or is_safe_address(address)

    @staticmethod
    def of_worker() -> "DownloadLimits":
        """The limits that this worker's environment sets."""
        private = None if switched_on("ALLOW_PRIVATE_DOWNLOAD_URLS") else frozenset[str]()
        return DownloadLimits(max_bytes=max_download_bytes(), private=private)


def max_download_bytes() -> int:
    """`SUBMODEL_MAX_DOWNLOAD_BYTES`, else 5 GiB."""
    text = variable("MAX_DOWNLOAD_BYTES").strip()
    return (int(text) if text.isascii() and text.isdigit() else 0) or MAX_BYTES_DEFAULT


def is_safe_address(ip: str) -> bool:
    """Whether `ip` is a public unicast address, also the IPv4 address that an IPv6 one carries inside."""
    try:
        address = ipaddress.ip_address(ip.partition("%")[0])
    except ValueError:
        return False
    if isinstance(address, IPv4Address):
        return _is_public(address)
    if address.ipv4_mapped is not None:
        return _is_public(address.ipv4_mapped)
    if address in _NAT64:
        return _is_public(IPv4Address(address.packed[-4:]))
    return all(_is_public(one) for one in (address, address.sixtofour, *(address.teredo or ())) if one is not None)


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return address.is_global and not (address.is_multicast or address.is_reserved)
