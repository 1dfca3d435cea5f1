"""The jobs of `reality` on the test cluster."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

from submodel_operator.scaling.state import decode
from submodel_operator.simulation.workloads import Workload
from tests.bench.reality_jobs import SCALING, Round, Steps, as_they_come
from tests.cluster.endpoints import apply_spec, inline, wait_ready
from tests.cluster.helm import RELEASE, api_key, install, uninstall
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait_for_path
from tests.cluster.test_scaling import SLEEP
from tests.cluster.watching import changes_of

SYSTEM, PLACE = "submodel-system", "submodel-reality"


def rounds(workload: Workload, count: int) -> list[Round]:
    """So many runs, in an installation of this tree that is removed afterwards."""
    with _installed() as api, ThreadPoolExecutor(64) as pool:
        return [_round(workload, pool, api) for _ in range(count)]


@contextmanager
def _installed() -> Iterator[JobApi]:
    kubectl("create", "namespace", SYSTEM)
    kubectl("create", "namespace", PLACE)
    try:
        install(SYSTEM)
        with closing(JobApi(SYSTEM, f"{RELEASE}-gateway", api_key(SYSTEM))) as api:
            yield api
    finally:
        kubectl("delete", "namespace", PLACE, check=False)
        uninstall(SYSTEM)
        kubectl("delete", "crd", "submodelendpoints.serverless.submodel.ai", "--ignore-not-found", check=False)
        kubectl("delete", "namespace", SYSTEM, check=False)


def _round(workload: Workload, pool: ThreadPoolExecutor, api: JobApi) -> Round:
    endpoint = apply_spec(PLACE, inline(SLEEP, SCALING))
    wait_ready(PLACE)
    with changes_of("pods", PLACE) as pods, changes_of("deployments", PLACE) as counts:
        began = time.monotonic()
        answers = [pool.submit(_done, api, endpoint, job.seconds) for job in as_they_come(workload)]
        delays = sorted(answer.result() for answer in answers)
        wait_for_path("sme/it", ".status.phase", "Idle", PLACE)
        kubectl("wait", "pods", "--all", "--for=delete", "-n", PLACE, "--timeout=60s")
        lives = [_seconds(pod["metadata"]) for pod in pods() if pod["event"] == "DELETED"]
        counted = [(each["seenAt"] - began, each["spec"].get("replicas", 0)) for each in counts()]
    memory = decode(get("sme/it", "-n", PLACE)["status"]["autoscaling"]["memory"])
    kubectl("delete", "sme/it", "-n", PLACE)
    return Round(sum(lives), delays, _changes(counted), memory.cold_starts)


def _changes(counted: Steps) -> Steps:
    """Each number once, when it came."""
    return [each for before, each in zip([(0.0, -1), *counted], counted, strict=False) if each[1] != before[1]]


def _done(api: JobApi, endpoint: str, seconds: float) -> float:
    """Seconds that a job waited for its start."""
    answer = api.finished(endpoint, api.run(endpoint, {"seconds": seconds}))
    assert answer["status"] == "COMPLETED", answer
    return float(answer["delayTime"]) / 1_000


def _seconds(metadata: dict[str, Any]) -> float:
    """From the creation of a pod until it was told to go."""
    ended = datetime.fromisoformat(metadata["deletionTimestamp"]).timestamp()
    begun = datetime.fromisoformat(metadata["creationTimestamp"]).timestamp()
    grace: float = metadata.get("deletionGracePeriodSeconds", 0)
    return ended - grace - begun
