"""What `start` leaves in a process is put back after each test."""

import logging
from collections.abc import Iterator

import pytest

from submodel import serverless
from submodel.serverless.modules.rp_logger import RunPodLogger


@pytest.fixture(autouse=True)
def process_is_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    logger = logging.getLogger("submodel")
    kept = logger.handlers[:], logger.level, logger.propagate
    monkeypatch.setattr(RunPodLogger(), "level", "DEBUG")
    monkeypatch.setattr(serverless, "_progress", None)
    yield
    logger.handlers[:], logger.propagate = kept[0], kept[2]
    logger.setLevel(kept[1])
