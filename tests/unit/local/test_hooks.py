"""Which functions of the user's own bring jobs, and what is said about those that cannot."""

from typing import Any

import pytest

from submodel.errors import ConfigurationError
from submodel.serverless.local import hooks
from submodel.serverless.local.hooks import Hooks

pytestmark = pytest.mark.requirement("handler.hooks")


def test_functions_and_seconds_are_those_of_the_configuration() -> None:
    given = {"jobs_fetcher": len, "jobs_fetcher_timeout": 5, "jobs_handler": max, "stop_signals_fetcher": min}
    assert hooks.read(given) == Hooks(len, 5.0, max, min, 90.0)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"jobs_fetcher": 3}, 'config["jobs_fetcher"] is int; pass a coroutine function'),
        ({"jobs_handler": "f"}, 'config["jobs_handler"] is str'),
        ({"stop_signals_fetcher": []}, 'config["stop_signals_fetcher"] is list'),
        ({"jobs_fetcher_timeout": -1}, 'config["jobs_fetcher_timeout"] is -1; pass seconds, more than 0'),
        ({"stop_signals_fetcher_timeout": "9"}, "config[\"stop_signals_fetcher_timeout\"] is '9'"),
    ],
)
def test_what_cannot_be_used_is_said(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        hooks.read({"jobs_fetcher": len, **changed})
    assert sentence in str(refusal.value)
