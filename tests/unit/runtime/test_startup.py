"""What a worker says of its start."""

import time

from submodel.serverless.startup import StartupClock


def test_the_start_of_the_process_is_told_by_the_clock_on_the_wall() -> None:
    clock = StartupClock()
    clock.loaded()
    told = clock.checked()
    assert told.import_ms is not None, "Linux tells when a process was started"
    assert told.process_at_ms is not None
    now_ms = time.time() * 1000  # noqa: TID251 # the promise is about this clock
    assert -1 <= now_ms - told.process_at_ms - told.import_ms < 60_000, "all of it in whole milliseconds"
