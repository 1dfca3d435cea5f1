"""The frame of the benchmarks that run parts on each store: options, the parts in turn, a table for each store."""

import argparse
import os
import sys
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import uvloop

from tests.bench.engines import ENGINES, Engine
from tests.bench.table import Row, render

Part = Callable[[Engine, int, float], Coroutine[Any, Any, list[Row]]]
"""What measures: on a store, so many rounds, with this share of the full amount."""


@dataclass(frozen=True)
class Command:
    """A benchmark as a program."""

    name: str
    """The module that `python -m` runs."""
    measures: str
    """What it measures, for its help."""
    title: str
    """The heading of a table; `{engine}` and `{rounds}` are filled in."""
    parts: Mapping[str, Part]

    def run(self, arguments: list[str]) -> None:
        options = self._parser().parse_args(arguments)
        for name in options.engine or ENGINES:
            with closing(ENGINES[name]()) as engine:
                self._measure(name, engine, options)

    def _measure(self, name: str, engine: Engine, options: argparse.Namespace) -> None:
        rows: list[Row] = []
        try:
            for part in options.only or self.parts:
                started, load = time.perf_counter(), os.getloadavg()[0]
                # The loop that the gateway runs on.
                rows += uvloop.run(self.parts[part](engine, options.rounds, 0.1 if options.quick else 1.0))
                seconds = time.perf_counter() - started
                say(f"{name}: {part} took {seconds:.0f} s; the load of the machine was {load:.1f} before it")
        finally:  # minutes of measuring are not lost with the part that fails
            say(render(self.title.format(engine=engine.title, rounds=options.rounds), rows))

    def _parser(self) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(prog=f"python -m {self.name}", description=f"Measure {self.measures}.")
        parser.add_argument("--engine", action="append", choices=ENGINES, help="on this store only; may be repeated")
        parser.add_argument("--only", action="append", choices=self.parts, help="this part only; may be repeated")
        parser.add_argument("--quick", action="store_true", help="a tenth of the full amount")
        parser.add_argument("--rounds", type=int, default=3, help="how often each part is measured; the median counts")
        return parser


def say(text: str) -> None:
    """A line for whoever waits, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
