"""`make bench-gateway`: the gateway with real workers beside a bare server under the same load. Never a test.

python -m tests.bench.gateway [--engine sqlite] [--only runsync] [--quick] [--rounds 3]
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from typing import Any

import uvloop

from tests.bench.engines import ENGINES, Engine
from tests.bench.gateway_beside import idle, large, streams
from tests.bench.gateway_rates import runsync, submit
from tests.bench.table import Row, render

Part = Callable[[Engine, int, float], Coroutine[Any, Any, list[Row]]]

PARTS: dict[str, Part] = {"runsync": runsync, "submit": submit, "idle": idle, "streams": streams, "large": large}


def main(arguments: list[str]) -> None:
    options = _parser().parse_args(arguments)
    for name in options.engine or ENGINES:
        with closing(ENGINES[name]()) as engine:
            rows: list[Row] = []
            try:
                for part in options.only or PARTS:
                    started, load = time.perf_counter(), os.getloadavg()[0]
                    rows += uvloop.run(PARTS[part](engine, options.rounds, 0.1 if options.quick else 1.0))
                    seconds = time.perf_counter() - started
                    _say(f"{name}: {part} took {seconds:.0f} s; the load of the machine was {load:.1f} before it")
            finally:  # minutes of measuring are not lost with the part that fails
                _say(render(f"Gateway on {engine.title}, medians of {options.rounds}; beside it a bare server", rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.gateway", description="Measure the gateway.")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="on this store only; may be repeated")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--rounds", type=int, default=3, help="how often each part is measured; the median counts")
    return parser


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
