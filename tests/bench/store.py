"""`make bench-store`: what the job store costs beside the engine that it is built on. Never a test.

python -m tests.bench.store [--engine sqlite] [--only throughput] [--quick] [--rounds 3]
"""

import argparse
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

import uvloop

from tests.bench.beside import large, sweep
from tests.bench.engines import ENGINES, Engine
from tests.bench.scale import scale
from tests.bench.table import Row, render
from tests.bench.through import memory
from tests.bench.throughput import throughput

Part = Callable[[Engine, int, float], Coroutine[Any, Any, list[Row]]]

PARTS: dict[str, Part] = {
    "throughput": throughput,
    "scale": scale,
    "sweep": sweep,
    "large": large,
    "memory": memory,
}


def main(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
    for name in options.engine or ENGINES:
        with closing(ENGINES[name]()) as engine:
            _measure(name, engine, options)


def _measure(name: str, engine: Engine, options: argparse.Namespace) -> None:
    rows: list[Row] = []
    for part in options.only or PARTS:
        started = time.perf_counter()
        # The loop that the gateway runs on.
        rows += uvloop.run(PARTS[part](engine, options.rounds, 0.1 if options.quick else 1.0))
        _say(f"{name}: {part} took {time.perf_counter() - started:.0f} s")
    _say(render(f"{engine.title}, payloads of 1 KB, medians of {options.rounds}", rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.store", description="Measure the job store.")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="this engine only; may be repeated")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a tenth of the jobs")
    parser.add_argument("--rounds", type=int, default=3, help="how often each part is measured; the median counts")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
