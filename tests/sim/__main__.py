"""`make sim` and `make sim SEED=17`: many seeds at once, or one with everything that happened in it.

Exit code 0 when nothing was violated and executions per job are within their bound, else 1.
"""

import argparse
import sys

from tests.sim import checker, runs, world

SEEDS = 1_000
PROCESSES = 2


def main() -> int:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("seed", type=int, nargs="?", help="replay this seed and print its history")
    parser.add_argument("--first", type=int, default=0, help="the first seed of many")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    arguments = parser.parse_args()
    if arguments.seed is not None:
        return _replay(arguments.seed)
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    total = runs.total(runs.run_all(seeds, arguments.processes, sys.stdout.write))
    sys.stdout.write(f"{total}\n")
    return 0 if total.good else 1


def _replay(seed: int) -> int:
    run = world.run(seed)
    for line in run.history.lines():
        sys.stdout.write(f"{line}\n")
    verdict = checker.check(run.history.events)
    sys.stdout.write(f"\n{verdict.executions} executions of {verdict.jobs} jobs, ")
    sys.stdout.write(f"{len(verdict.violations)} violations\n")
    for violation in verdict.violations:
        sys.stdout.write(f"{violation}\n")
    return 1 if verdict.violations else 0


if __name__ == "__main__":
    sys.exit(main())
