"""`make bench-operator`: the operator with many endpoints on the bed's real API server. Never a test.

python -m tests.bench.operator [--endpoints 1000 --endpoints 5000] [--only demand] [--quick]

Writes are those of the API server's audit log. Runs inside the bed, which `make bench-operator` sees to.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.operator_bed import add_nodes, kwok, prepared, remove_nodes
from tests.bench.operator_parts import PARTS, SPREAD, Bench, settled
from tests.bench.operator_process import OperatorProcess
from tests.bench.table import Row, render
from tests.support.kube_api import NAMESPACES, KubeApi, Object
from tests.support.live_gateway import LiveGateway


async def run(count: int, only: list[str], quick: bool) -> list[Row]:
    """The parts with that many endpoints."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        async with prepared(folder) as (api, kubeconfig):
            with LiveGateway(folder) as gateway, kwok(folder):
                await add_nodes(api, 2)
                try:
                    bench = Bench(api, kubeconfig, gateway, folder, count, quick)
                    await _measure(bench, only, rows)
                finally:  # minutes of measuring are not lost with the part that fails
                    _say(render(f"Operator with {count:,} endpoints", rows))
                    await _clean(api)
    return rows


async def _measure(bench: Bench, only: list[str], rows: list[Row]) -> None:
    with bench.operator() as operator:
        for part in PARTS:
            if part != "restart" and part in (*only, "apply"):
                rows += await _timed(part, bench, operator)
                await settled(bench)
    if "restart" in only:
        rows += await _timed("restart", bench, operator)


async def _timed(part: str, bench: Bench, operator: OperatorProcess) -> list[Row]:
    began, load = time.perf_counter(), os.getloadavg()[0]
    found = await PARTS[part](bench, operator)
    _say(f"{part} took {time.perf_counter() - began:.0f} s; the load of the machine was {load:.1f} before it")
    return found


async def _clean(api: KubeApi) -> None:
    for number in range(SPREAD):
        await api.call("DELETE", f"{NAMESPACES.path(None)}/bench-{number}")
    await api.until(NAMESPACES, None, lambda found: not any(_is_ours(each) for each in found))
    await remove_nodes(api)


def _is_ours(namespace: Object) -> bool:
    name: str = namespace["metadata"]["name"]
    return name.startswith("bench-")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.operator", description="Measure the operator.")
    parser.add_argument("--endpoints", type=int, action="append", help="how many; may be repeated (1000)")
    parser.add_argument("--only", action="append", choices=PARTS, help="this part only; may be repeated")
    parser.add_argument("--quick", action="store_true", help="a third of the samples, ten seconds of rest")
    options = parser.parse_args(arguments)
    for count in options.endpoints or [1000]:
        asyncio.run(run(count, options.only or list(PARTS), options.quick))


if __name__ == "__main__":
    main(sys.argv[1:])
