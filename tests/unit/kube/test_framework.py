"""Kopf's settings that decide whether an outage ends the process and whether it writes anything."""

from itertools import islice

from submodel_operator.handlers.framework import Backoffs, NoDiffBase, NoProgress, framework_settings


def test_back_offs_never_end_and_stay_bounded() -> None:
    delays = list(islice(Backoffs(), 1000))
    assert len(delays) == 1000
    assert 0.8 <= delays[0] <= 1.2
    assert all(24 <= delay <= 36 for delay in delays[5:])


def test_back_offs_start_again_for_each_request() -> None:
    backoffs = Backoffs()
    assert max(next(iter(backoffs)) for _ in range(3)) <= 1.2


def test_nothing_is_stored_and_nobody_is_waited_for() -> None:
    settings = framework_settings()
    assert settings.peering.standalone
    assert settings.scanning.disabled
    assert settings.queueing.worker_limit is None
    assert str(settings.watching.server_timeout) == "300", "a float would be refused by the API server"
    assert isinstance(settings.persistence.diffbase_storage, NoDiffBase)
    assert isinstance(settings.persistence.progress_storage, NoProgress)
