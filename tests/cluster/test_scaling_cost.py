"""What a change of the number of workers costs the API server, by its own audit log.

The status is left out: it tells the change together with all else that is new, once a second at most.
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from submodel_operator.api.constants import SAFE_TO_EVICT_ANNOTATION
from tests.cluster.endpoints import WAIT, apply_ready, inline, touch_all
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import wait_for_path

AUDIT_LOG = Path("/run/bed/log/audit")
"""The test bed's. Other clusters may have one, but nobody knows where."""

READS = frozenset({"get", "list", "watch"})
COUNT, MARKS, EVENT, STATUS = "deployments/scale", "pods", "events", "submodelendpoints/status"

SCALING = {"scalerType": "REQUEST_COUNT", "scalerValue": 1, "idleTimeout": 2, "workersMax": 3}
TEMPLATE = {"metadata": {"annotations": {SAFE_TO_EVICT_ANNOTATION: "false"}}}
"""What the user says of eviction stands, so nothing else is written to pods."""


class Ledger:
    """An endpoint, and what its changes are charged."""

    def __init__(self, namespace: str, api: JobApi) -> None:
        self._namespace, self._api, self._busy = namespace, api, 0
        self._endpoint = apply_ready(namespace, inline(WAIT, SCALING, podTemplate=TEMPLATE))
        self._position = 0
        self._charged()

    def start(self, until: str, count: int) -> Counter[str]:
        """So many jobs more, at once; the writes until all of them run."""
        self._busy += count
        requests = [{"input": {"until": until}}] * count
        self._api.ok(f"/v2/{self._endpoint}/run-batch", {"requests": requests})
        wait_for_path("sme/it", ".status.workers.busy", str(self._busy), self._namespace)
        return self._charged()

    def end(self, until: str, count: int) -> Counter[str]:
        """So many jobs end; the writes until their workers are gone."""
        self._busy -= count
        touch_all(until, self._namespace)
        wait_for_path("sme/it", ".status.workers.total", str(self._busy), self._namespace)
        return self._charged()

    def _charged(self) -> Counter[str]:
        """Since the last time. A write is in the log a moment after it was answered, and the event is the last one."""
        charged: Counter[str] = Counter()
        while not charged[STATUS] or charged[EVENT] < charged[COUNT]:
            charged = self._written()
        self._position = AUDIT_LOG.stat().st_size
        return charged

    def _written(self) -> Counter[str]:
        charged: Counter[str] = Counter()
        with AUDIT_LOG.open("rb") as log:
            log.seek(self._position)
            for entry in map(json.loads, log.read().rpartition(b"\n")[0].splitlines()):
                about = entry.get("objectRef") or {}
                if about.get("namespace") == self._namespace and entry["verb"] not in READS:
                    charged["/".join(filter(None, (about["resource"], about.get("subresource"))))] += 1
        return charged


@pytest.mark.skipif(not AUDIT_LOG.exists(), reason="the API server's audit log is the test bed's")
def test_a_change_of_the_number_costs_three_writes_and_a_mark_on_each_that_goes_while_others_stay(
    namespace: str, api: JobApi
) -> None:
    ledger = Ledger(namespace, api)
    for charged, marks in (
        (ledger.start("first", 1), 0),
        (ledger.start("second", 2), 0),
        (ledger.end("second", 2), 2),
        (ledger.end("first", 1), 0),
        (ledger.start("third", 3), 0),
    ):
        told = charged.pop(STATUS)
        assert told >= 1
        events = charged.pop(EVENT)
        assert charged == Counter({COUNT: charged[COUNT], **({MARKS: marks} if marks else {})})
        # They do not become idle at the same instant: one may be decided upon, and both then be gone in one write.
        assert 1 <= charged[COUNT] <= events <= max(1, marks)
