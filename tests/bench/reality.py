"""`make bench-simulator`: the same jobs on the test cluster and in the simulator. Never a test.

python -m tests.bench.reality [--seconds 120] [--rounds 3]
"""

import argparse
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import datetime
from random import Random
from statistics import fmean
from typing import Any

from submodel_operator.api.constants import API_VERSION, KIND
from submodel_operator.api.manifest import parse_endpoint
from submodel_operator.resolve import resolve_scaling
from submodel_operator.simulation.cluster import Conditions
from submodel_operator.simulation.measures import mean, measure, percentile
from submodel_operator.simulation.production import Production
from submodel_operator.simulation.workloads import Job, Workload
from tests.bench.table import Row, render
from tests.cluster.endpoints import apply_spec, inline, wait_ready
from tests.cluster.helm import RELEASE, api_key, install, uninstall
from tests.cluster.job_api import JobApi
from tests.cluster.kubernetes import get, kubectl, wait_for_path
from tests.cluster.test_scaling import SLEEP
from tests.cluster.watching import changes_of

SYSTEM, PLACE = "submodel-system", "submodel-reality"
WORKERS_MAX = 6
SCALING = {"workersMax": WORKERS_MAX, "scalerType": "REQUEST_COUNT", "scalerValue": 2, "idleTimeout": 5}
LATE_AFTER_SECONDS = 10.0
SEEDS = 20
WITHIN = 0.15


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reality", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="length of the traffic")
    parser.add_argument("--rounds", type=int, default=3, help="how often it runs on the cluster")
    options = parser.parse_args(arguments)
    workload = traffic(options.seconds)
    with _installed() as api, ThreadPoolExecutor(64) as pool:
        rounds = [_on_the_cluster(workload, pool, api) for _ in range(options.rounds)]
    worker_seconds, p95_seconds, start_seconds = (fmean(each) for each in zip(*rounds, strict=True))
    simulated = _simulated(workload, start_seconds)
    rows = [
        Row("a worker's start, from the pod to its first free slot", start_seconds, "s"),
        Row("worker-seconds on the cluster, beside the simulator's", worker_seconds, "s", None, simulated[0]),
        Row("p95 of a job's delay on the cluster, beside the simulator's", p95_seconds, "s", None, simulated[1]),
    ]
    sys.stdout.write(
        render(f"{len(workload.jobs)} jobs in {options.seconds} s, means of {options.rounds}", rows) + "\n"
    )
    off = max(abs(real / sim - 1) for real, sim in zip((worker_seconds, p95_seconds), simulated, strict=True))
    sys.stdout.write(f"they differ by {100 * off:.0f} % at most; wanted are {100 * WITHIN:.0f} %\n")


@contextmanager
def _installed() -> Iterator[JobApi]:
    """The chart with the images of this tree; removed afterwards."""
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


def traffic(seconds: int) -> Workload:
    """Bursts and pauses, so that workers come and go; the same jobs every time."""
    chance = Random("reality")
    jobs = []
    for begin in range(0, seconds, 40):
        jobs += [Job(begin + chance.uniform(0, 15), chance.uniform(1, 3)) for _ in range(18)]
    return Workload("bursts", tuple(sorted(jobs)), float(seconds))


def _simulated(workload: Workload, start_seconds: float) -> tuple[float, float]:
    kind = {"apiVersion": API_VERSION, "kind": KIND}
    manifest = {**kind, "metadata": {"name": "it", "namespace": PLACE}, "spec": inline(SLEEP, SCALING)}
    scaling = resolve_scaling(parse_endpoint(manifest).spec)
    results = []
    for seed in range(SEEDS):
        conditions = Conditions(start_seconds, LATE_AFTER_SECONDS, WORKERS_MAX, seed=seed)
        results.append(measure(workload, Production("production", scaling), conditions))
    result = mean(results)
    return 3600 * result.worker_hours, result.delay_p95_seconds


def _on_the_cluster(workload: Workload, pool: ThreadPoolExecutor, api: JobApi) -> tuple[float, float, float]:
    """Worker-seconds, the 95th percentile of delays, and how long a start took."""
    endpoint = apply_spec(PLACE, inline(SLEEP, SCALING))
    wait_ready(PLACE)
    with changes_of("pods", PLACE) as pods:
        began = time.monotonic()
        answers = []
        for job in workload.jobs:
            time.sleep(max(0.0, began + job.arrives_at - time.monotonic()))  # noqa: TID251  # jobs come when they come
            answers.append(pool.submit(_done, api, endpoint, job.seconds))
        delays = sorted(answer.result() for answer in answers)
        wait_for_path("sme/it", ".status.phase", "Idle", PLACE)
        kubectl("wait", "pods", "--all", "--for=delete", "-n", PLACE, "--timeout=60s")
        lives = [_seconds(pod["metadata"]) for pod in pods() if pod["event"] == "DELETED"]
    figures = get("sme/it", "-n", PLACE)["status"]["autoscaling"]["lastDecision"]["inputs"]
    kubectl("delete", "sme/it", "-n", PLACE)
    return sum(lives), percentile(delays, 0.95), float(figures["coldStartSeconds"])


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


if __name__ == "__main__":
    main(sys.argv[1:])
