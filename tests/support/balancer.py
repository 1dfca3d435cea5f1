"""What a Service of Kubernetes is to several gateways: each new connection goes to one that is ready."""

import socket
import threading
from urllib.parse import urlsplit

import urllib3

from tests.support.live_gateway import Http, LiveGateway
from tests.support.tcp_proxy import WAIT_SECONDS, TcpProxy


class Balancer(TcpProxy):
    """Forwards connections to one of `members`, in turn; a context manager. The members may be replaced at any time.

    Args:
        internal: to their internal port, where the operator calls, not to the public one.
    """

    def __init__(self, members: list[LiveGateway], *, internal: bool = False) -> None:
        super().__init__(0)
        self.members = members
        self._internal = internal
        self._turn = 0
        self._choosing = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def connect(self) -> socket.socket:
        """A connection to a member that is ready. Raises `ConnectionRefusedError` when none is."""
        with self._choosing:
            self._turn += 1
            members = list(self.members)
            for place in range(len(members)):
                member = members[(self._turn + place) % len(members)]
                if _ready(member):
                    where = urlsplit(member.internal if self._internal else member.public)
                    return socket.create_connection((where.hostname or "", where.port or 0), WAIT_SECONDS)
        raise ConnectionRefusedError("no gateway is ready")


def _ready(member: LiveGateway) -> bool:
    if member.process.poll() is not None:
        return False
    with Http(member.internal) as probe:
        try:
            return probe.call("GET", "/readyz")[0] == 200
        except urllib3.exceptions.HTTPError:
            return False
