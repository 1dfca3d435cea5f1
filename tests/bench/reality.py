"""`make bench-simulator`: the same jobs in the product and in the simulator. Never a test.

python -m tests.bench.reality [--seconds 120] [--rounds 3] [--local] [--events]
"""

import argparse
import sys

from submodel_operator.simulation.measures import percentile
from tests.bench import reality_cluster, reality_local
from tests.bench.reality_jobs import means, simulated, traffic
from tests.bench.table import Row, render

SEEDS = 20
WITHIN = 0.15


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.reality", description=__doc__)
    parser.add_argument("--seconds", type=int, default=120, help="length of the traffic")
    parser.add_argument("--rounds", type=int, default=3, help="how often it runs on the cluster")
    parser.add_argument("--local", action="store_true", help="on submodel up instead of the cluster")
    parser.add_argument("--events", action="store_true", help="also tell when which number of workers was wanted")
    options = parser.parse_args(arguments)
    workload = traffic(options.seconds)
    place = "submodel up" if options.local else "the cluster"
    rounds = (reality_local if options.local else reality_cluster).rounds(workload, options.rounds)
    starts = tuple(sorted(seconds for each in rounds for seconds in each.starts))
    runs = [simulated(workload, starts, seed) for seed in range(SEEDS)]
    real, told = means(rounds), means(runs)
    rows = [
        Row("a worker's start, from the pod to its first free slot: the median", percentile(starts, 0.5), "s"),
        Row("nine in ten are no longer than", percentile(starts, 0.9), "s"),
        Row(f"worker-seconds on {place}, beside the simulator's", real[0], "s", None, told[0]),
        Row(f"p95 of a job's delay on {place}, beside the simulator's", real[1], "s", None, told[1]),
        Row("its median", real[2], "s", None, told[2]),
    ]
    sys.stdout.write(
        render(f"{len(workload.jobs)} jobs in {options.seconds} s, means of {options.rounds}", rows) + "\n"
    )
    for number, each in enumerate(rounds, 1):
        sys.stdout.write(f"round {number}: {each.worker_seconds:.0f} worker-seconds, p95 {each.p95_seconds:.2f} s\n")
    if options.events:
        for name, each in ((place, rounds[0]), ("the simulator", runs[0])):
            steps = ", ".join(f"{at:.1f} s: {workers}" for at, workers in each.wanted)
            waits = ", ".join(f"{delay:.2f}" for delay in each.delays)
            sys.stdout.write(f"{name}\n  wanted  {steps}\n  waits   {waits}\n")
        sys.stdout.write(f"starts    {', '.join(f'{each:g}' for each in starts)}\n")
    off = max(abs(one / other - 1) for one, other in zip(real[:2], told[:2], strict=True))
    sys.stdout.write(f"they differ by {100 * off:.0f} % at most; wanted are {100 * WITHIN:.0f} %\n")


if __name__ == "__main__":
    main(sys.argv[1:])
