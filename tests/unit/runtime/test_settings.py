"""The worker's settings."""

import importlib.metadata

import pytest

import submodel
from submodel.errors import ConfigurationError
from submodel.serverless.settings import Settings, from_environment

ENVIRONMENT = {
    "SUBMODEL_GATEWAY_URL": "http://gateway:8000/",
    "SUBMODEL_ENDPOINT_ID": "ns.name",
    "SUBMODEL_WORKER_ID": "pod-1",
    "SUBMODEL_WORKER_TOKEN": "t",
}


def test_the_environment_of_a_worker_is_read() -> None:
    settings = from_environment({**ENVIRONMENT, "SUBMODEL_CONCURRENCY": "4", "SUBMODEL_DRAIN_SECONDS": "1.5"})
    assert settings == Settings("http://gateway:8000", "ns.name", "pod-1", "t", "", 4, 1.5)


def test_a_token_from_a_file_may_end_with_a_line_break() -> None:
    assert from_environment({**ENVIRONMENT, "SUBMODEL_WORKER_TOKEN": "secret\n"}).token == "secret"


def test_a_gateway_may_have_several_addresses() -> None:
    settings = from_environment({**ENVIRONMENT, "SUBMODEL_GATEWAY_URL": "http://a:1/, https://b"})
    assert settings.gateway_urls == ["http://a:1", "https://b"]


def test_an_empty_environment_names_what_to_set_and_how_to_run_locally() -> None:
    with pytest.raises(ConfigurationError) as caught:
        from_environment({})
    text = str(caught.value)
    for name in (*ENVIRONMENT, "SUBMODEL_WORKER_TOKEN_FILE", "submodel up -f endpoint.yaml"):
        assert name in text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SUBMODEL_GATEWAY_URL", "gateway:8000"),
        ("SUBMODEL_GATEWAY_URL", "http://gateway:8000,"),
        ("SUBMODEL_CONCURRENCY", "0"),
        ("SUBMODEL_CONCURRENCY", "many"),
        ("SUBMODEL_DRAIN_SECONDS", "-1"),
        ("SUBMODEL_DRAIN_SECONDS", "nan"),
        ("SUBMODEL_LOG_LEVEL", "loud"),
    ],
)
def test_a_wrong_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{name}='{value}'"):
        from_environment({**ENVIRONMENT, name: value})


def test_the_version_is_that_of_the_distribution() -> None:
    assert submodel.__version__ == importlib.metadata.version("submodel-runtime")
