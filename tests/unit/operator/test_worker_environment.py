"""What a worker with an SDK of the hosted platforms finds in its pod: the SDKs take these texts apart themselves."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from submodel.contract import legacy_env
from submodel_operator.desired import desired_pool
from tests.support.endpoints import manifest, resolved

URLS = (legacy_env.GET_JOB, legacy_env.POST_OUTPUT, legacy_env.POST_STREAM, legacy_env.PING)


def environment(*variables: dict[str, str]) -> dict[str, Any]:
    """Of a pod of an image that is not ours: values by name, references as they are."""
    pool = desired_pool(resolved(manifest({"image": "theirs", "env": list(variables)})))
    deployment: dict[str, Any] = next(dict(child) for child in pool.children if child["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


@pytest.mark.requirement("worker.environment.urls")
@pytest.mark.parametrize("prefix", legacy_env.PREFIXES)
def test_urls_have_a_query_and_the_words_that_sdks_replace(prefix: str) -> None:
    values = environment()
    for name in URLS:
        assert urlsplit(values[prefix + name]).query
    assert "/job-take/$ID?" in values[prefix + legacy_env.GET_JOB]
    for name in (legacy_env.POST_OUTPUT, legacy_env.POST_STREAM):
        assert f"/${prefix}POD_ID/$ID?" in values[prefix + name]
    assert f"/ping/${prefix}POD_ID?" in values[prefix + legacy_env.PING]


@pytest.mark.requirement("worker.environment.both")
def test_both_families_of_sdks_find_everything() -> None:
    values = environment()
    names = {name.removeprefix(prefix) for prefix in legacy_env.PREFIXES for name in legacy_env.RESERVED}
    names = {name for name in names if not name.startswith(legacy_env.PREFIXES)}
    for name in names:
        found = [values[prefix + name] for prefix in legacy_env.PREFIXES]
        assert all(found)
        if isinstance(found[0], dict):
            assert found[0] == found[1]
    assert int(values["RUNPOD_PING_INTERVAL"]) >= 1_000


@pytest.mark.requirement("worker.environment.checks")
def test_the_sdks_own_checks_are_off_unless_the_endpoint_wants_them() -> None:
    name = "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS"
    assert environment()[name] == "true"
    assert environment({"name": name, "value": "false"})[name] == "false"
