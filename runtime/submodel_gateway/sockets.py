"""Listening sockets: bound once, by the process that keeps them; a taken port is found out before anything starts."""

import socket
import sys
from ipaddress import ip_address

from submodel_gateway.errors import ConfigurationError
from submodel_gateway.settings import Address

BACKLOG = 2_048
"""Connections that wait while no process accepts; the system may allow fewer."""


_ENDED = (7, 8)
"""TCP_CLOSE and TCP_CLOSE_WAIT in Linux' `tcp_states.h`."""


def bind(address: Address, variable: str) -> socket.socket:
    """A listening socket. Raises `ConfigurationError` that names the variable when the address cannot be had."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        text = f"{variable}: cannot listen on {address} ({error.strerror or error}); free the port or choose another"
        raise ConfigurationError(text) from error
    return listener


def has_hung_up(connection: socket.socket) -> bool:
    """Whether the other side has ended the connection, also when what it sent before is not read yet.

    Only Linux tells; elsewhere, and where there is no TCP, the answer is False.
    """
    if sys.platform != "linux":
        return False
    try:
        return connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] in _ENDED
    except (OSError, ValueError):  # it is no TCP, or closed
        return False


def on_loopback(listener: socket.socket) -> bool:
    """Whether it is reached from this machine alone."""
    return ip_address(listener.getsockname()[0].partition("%")[0]).is_loopback


def url(listener: socket.socket) -> str:
    """The address that the socket got, as the base of URLs."""
    host, port = listener.getsockname()[:2]
    return f"http://{Address(host, port)}"
