"""An API server in the test's own event loop: as much of Kubernetes as the operator relies on, and faults on demand."""

from tests.support.fake_apiserver.kubelet import Kubelet
from tests.support.fake_apiserver.server import FakeApiServer
from tests.support.fake_apiserver.store import Store

__all__ = ["FakeApiServer", "Kubelet", "Store"]
