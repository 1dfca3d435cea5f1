"""`submodel simulate`: what a scaler costs and how long jobs wait under it, on traffic of your choice."""

from collections.abc import Iterable
from pathlib import Path

import click

from submodel_operator.errors import UsageError
from submodel_operator.simulation import policies, report, traces, workloads
from submodel_operator.simulation.cluster import Conditions
from submodel_operator.simulation.measures import mean, measure
from submodel_operator.simulation.workloads import Workload


@click.command("simulate", short_help="Compare scalers on made-up or recorded traffic.")
@click.option("--workload", type=click.Choice(list(workloads.SHAPES)), help="Traffic that is made up.")
@click.option("--trace", type=click.Path(path_type=Path), help="File of jobs, or of a public trace.")
@click.option("--function", default="", help="With --trace: part of the name of the function whose jobs are taken.")
@click.option(
    "--duration",
    default=1.0,
    show_default=True,
    type=click.FloatRange(0),
    help="With --trace: seconds a job runs where the file does not say it.",
)
@click.option("--hours", type=click.FloatRange(0.01, 1000), help="Length of the observation.")
@click.option(
    "--policy", "chosen", default="ADAPTIVE", show_default=True, help="Scaler, such as REQUEST_COUNT:value=2,idle=60."
)
@click.option("--compare", multiple=True, help="Another scaler beside it; all for every known one. May be repeated.")
@click.option(
    "--cold-start",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0.1, 3600),
    help="Seconds a worker takes to start.",
)
@click.option(
    "--late-after", default=10.0, show_default=True, type=click.FloatRange(0.1, 86400), help="Seconds a job may wait."
)
@click.option("--workers-max", default=100, show_default=True, type=click.IntRange(1, 1000), help="Most workers.")
@click.option(
    "--concurrency", default=1, show_default=True, type=click.IntRange(1, 1000), help="Jobs a worker runs at once."
)
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same traffic and the same chance.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 100), help="Runs whose mean is shown.")
@click.option("--svg", type=click.Path(path_type=Path), help="File for a picture of cost against delay.")
def command(
    workload: str | None,
    trace: Path | None,
    function: str,
    duration: float,
    hours: float | None,
    chosen: str,
    compare: tuple[str, ...],
    cold_start: float,
    late_after: float,
    workers_max: int,
    concurrency: int,
    seed: int,
    seeds: int,
    svg: Path | None,
) -> None:
    """Run scalers against a simulated cluster: ours by the very code that decides in production, those of others by
    their documented rules.

    Nothing but the traffic and the duration of a start differs between two runs. Costs are worker-hours, from the
    start of each worker to its end.
    """
    seconds = None if hours is None else hours * 3600
    if (workload is None) == (trace is None):
        raise UsageError("say what to simulate: --workload NAME or --trace FILE, one of the two")
    runs: list[tuple[Workload, Conditions]] = []
    for number in range(seed, seed + seeds):
        traffic = (
            traces.read(trace, function, duration, seconds)
            if trace
            else workloads.make(workload or "", number, seconds)
        )
        runs.append((traffic, Conditions(cold_start, late_after, workers_max, concurrency, number)))
    entries = [_entry(policy, runs) for policy in _distinct([chosen, *_expanded(compare)])]
    first = runs[0][0]
    title = f"{first.name}: {len(first.jobs):,} jobs in {first.seconds / 3600:g} h, a start takes {cold_start:g} s"
    click.echo(title)
    for line in report.table(entries):
        click.echo(line)
    click.echo(f"late: waited longer than {late_after:g} s. {_unavoidable(entries[0])}")
    if svg:
        _write(svg, report.picture(title, entries))


def _entry(policy: str, runs: Iterable[tuple[Workload, Conditions]]) -> report.Entry:
    results = [
        measure(traffic, policies.build(policy, traffic, conditions), conditions) for traffic, conditions in runs
    ]
    return report.Entry(policy, mean(results))


def _unavoidable(entry: report.Entry) -> str:
    share = entry.result.unavoidable_percent
    return f"With {entry.policy}, {share:.1f} % came when no worker was there and a start takes longer than that."


def _expanded(names: Iterable[str]) -> Iterable[str]:
    for name in names:
        yield from policies.ALL if name == "all" else (name,)


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--svg: cannot write {path}: {error.strerror}") from error
