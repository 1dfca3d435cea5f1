"""What the two service accounts may do, as the cluster itself says it."""

from pathlib import Path

import pytest

from tests.cluster.helm import RELEASE
from tests.cluster.kubernetes import kubectl
from tests.support.golden import assert_golden

MAY = {
    "view": {"get": "yes", "create": "no", "delete": "no"},
    "edit": {"get": "yes", "create": "yes", "delete": "yes"},
    "admin": {"get": "yes", "create": "yes", "delete": "yes"},
}
"""What people with a role of Kubernetes' own may do with endpoints."""

GOLDEN = Path(__file__).parent / "golden"


def rights(account: str, namespace: str) -> set[str]:
    """Lines of `kubectl auth can-i --list`, with single spaces."""
    listed = kubectl(
        "auth", "can-i", "--list", "--no-headers", "-n", namespace, f"--as=system:serviceaccount:{account}"
    )
    return {" ".join(line.split()) for line in listed.out.splitlines()}


@pytest.mark.parametrize("component", ["operator", "gateway"])
def test_a_service_account_may_do_no_more_than_is_written_down(release: str, component: str) -> None:
    account = f"{release}:{RELEASE}-{component}"
    anyone = rights("default:nobody", "default")
    parts = []
    for place, namespace in (("in its own namespace", release), ("in any other", "default")):
        lines = sorted(rights(account, namespace) - anyone)
        parts += [f"# {place}", *lines, ""]
    assert_golden(GOLDEN / f"rights-{component}.txt", "\n".join(parts))


@pytest.mark.parametrize("role", MAY)
def test_people_with_the_roles_of_kubernetes_may_do_the_same_with_endpoints(namespace: str, role: str) -> None:
    kubectl("create", "rolebinding", "ada", f"--clusterrole={role}", "--user=ada", "-n", namespace)
    asked = {
        verb: kubectl("auth", "can-i", verb, "submodelendpoints", "-n", namespace, "--as=ada", check=False).out.strip()
        for verb in MAY[role]
    }
    assert asked == MAY[role]
