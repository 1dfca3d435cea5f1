"""What objects go through, as a watch of kubectl tells it."""

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.endpoints import OURS
from tests.cluster.job_api import end
from tests.cluster.kubernetes import WAIT_SECONDS


class Changes:
    """Every state that some objects went through since the watch began, each with its kind of `event`, and `seenAt`
    by the monotonic clock."""

    def __init__(self) -> None:
        self._seen: list[dict[str, Any]] = []
        self._changed = threading.Condition()

    def __call__(self) -> list[dict[str, Any]]:
        with self._changed:
            return list(self._seen)

    def add(self, state: dict[str, Any]) -> None:
        """Heard by whoever waits."""
        with self._changed:
            self._seen.append(state)
            self._changed.notify_all()

    def until(self, true: Callable[[list[dict[str, Any]]], bool]) -> None:
        """Wait until it is true of what was seen."""
        with self._changed:
            assert self._changed.wait_for(lambda: true(self._seen), WAIT_SECONDS), "not seen in time"


@contextmanager
def changes_of(what: str, namespace: str) -> Iterator[Changes]:
    """Watch the objects of a kind that the operator made."""
    watch = subprocess.Popen(
        ["kubectl", "get", what, OURS, "-n", namespace, "-w", "--output-watch-events", "-o", "json"],
        stdout=subprocess.PIPE,
        text=True,
    )
    changes = Changes()

    def read() -> None:
        assert watch.stdout is not None
        for line in watch.stdout:
            event = json.loads(line)
            changes.add({**event["object"], "event": event["type"], "seenAt": time.monotonic()})

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield changes
    finally:
        watch.terminate()
        reader.join()
        end(watch)
