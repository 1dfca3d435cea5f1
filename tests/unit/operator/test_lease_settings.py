"""What the settings say about a Lease."""

import pytest

from submodel_operator.errors import UsageError
from submodel_operator.settings import LeaseSettings, load

NEEDED = {
    "SUBMODEL_OPERATOR_GATEWAY_URL": "http://gateway:8001",
    "SUBMODEL_OPERATOR_GATEWAY_TOKEN": "token",
    "SUBMODEL_OPERATOR_WORKER_GATEWAY_URL": "http://gateway:8000",
    "SUBMODEL_OPERATOR_WORKER_TOKEN_KEY": "key",
    "SUBMODEL_OPERATOR_RUNTIME_IMAGE": "worker:1",
}


def lease(**env: str) -> LeaseSettings | None:
    return load(NEEDED | {f"SUBMODEL_OPERATOR_{name}": value for name, value in env.items()}).lease


def test_a_single_operator_needs_none() -> None:
    assert lease() is None


def test_a_lease_has_a_place_and_a_duration() -> None:
    named = {"LEASE": "submodel-operator", "LEASE_NAMESPACE": "submodel"}
    assert lease(**named) == LeaseSettings("submodel-operator", "submodel", 15)
    assert lease(**named, LEASE_SECONDS="30") == LeaseSettings("submodel-operator", "submodel", 30)


@pytest.mark.parametrize(
    ("env", "sentence"),
    [
        ({"LEASE": "x", "LEASE_NAMESPACE": "y", "LEASE_SECONDS": "4"}, "LEASE_SECONDS must be at least 5, not 4"),
        ({"LEASE": "x", "LEASE_SECONDS": "soon"}, "LEASE_SECONDS must be a whole number above 0"),
        ({"LEASE": "x"}, "LEASE_NAMESPACE is not set, and this is no pod that would have one"),
    ],
)
def test_a_lease_that_cannot_work_is_refused_with_a_sentence(env: dict[str, str], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        lease(**env)
