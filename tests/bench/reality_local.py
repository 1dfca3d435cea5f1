"""The jobs of `reality` on `submodel up`: gateway, operator and workers of the product, as processes of this machine.

What starts cost here is a process; the rest is what runs on a cluster, too: the wake-up by the gateway, the decision,
the drain, the worker's poll. The decision log tells each step.
"""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from submodel_operator.cli.local_status import read_local_manifest
from submodel_operator.clock import SystemClock
from submodel_operator.scaling.log import Record, decode_record
from submodel_operator.scaling.state import decode
from submodel_operator.simulation.workloads import Workload
from tests.bench.reality_jobs import SCALING, Round, Steps, as_they_come
from tests.cluster.test_scaling import SLEEP
from tests.integration.test_local_mode import call, finished, up, write


def rounds(workload: Workload, count: int) -> list[Round]:
    """So many runs, one after the other."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        log = folder / "decisions"
        with up(write(folder, SLEEP, **SCALING), folder, arguments=["--decisions", str(log)]) as server:
            url = server.wait_for(r"url\s+(http\S+)")[1]
            return [_round(workload, url, folder / "data", log) for _ in range(count)]


def _round(workload: Workload, url: str, data: Path, log: Path) -> Round:
    known = len(_decisions(log))
    began = SystemClock().now()
    with ThreadPoolExecutor(64) as pool:
        answers = [pool.submit(_done, url, job.seconds) for job in as_they_come(workload)]
        delays = sorted(answer.result() for answer in answers)
    while (told := _decisions(log)[known:])[-1].decision.replicas:
        time.sleep(0.2)  # noqa: TID251  # the last worker leaves by itself
    steps = [(each.now - began, each.decision.replicas) for each in told]
    memory = decode(read_local_manifest(data)["status"]["autoscaling"]["memory"])
    return Round(_worker_seconds(steps), delays, steps, memory.cold_starts)


def _done(url: str, seconds: float) -> float:
    """Seconds that a job waited for its start."""
    answer = finished(url, call(f"{url}/run", {"input": {"seconds": seconds}})["id"])
    assert answer["status"] == "COMPLETED", answer
    return float(answer["delayTime"]) / 1_000


def _decisions(log: Path) -> Sequence[Record]:
    return [decode_record(line) for line in log.read_bytes().splitlines()] if log.exists() else []


def _worker_seconds(steps: Steps) -> float:
    return sum(workers * (until - since) for (since, workers), (until, _) in pairwise(steps))
