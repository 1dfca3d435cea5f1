"""`submodel explain`: why an endpoint has as many workers as it has, in sentences with the numbers.

It reads what the operator wrote into the endpoint's status, from Kubernetes or from the data folder of `submodel up`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from submodel_operator.cli.cluster_endpoint import read_cluster_endpoint
from submodel_operator.cli.local_status import read_local_status
from submodel_operator.errors import UsageError
from submodel_operator.scaling.decision import counted
from submodel_operator.scaling.explained import in_words, proposal_in_words

Status = Mapping[str, Any]


@click.command("explain", short_help="Say why an endpoint has as many workers as it has.")
@click.argument("endpoint", required=False)
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the endpoint.")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder of `submodel up`, instead of Kubernetes.")
@click.option("--json", "as_json", is_flag=True, help="Print the account of the scaler as data.")
def command(endpoint: str | None, namespace: str, data: Path | None, as_json: bool) -> None:
    """Say why an endpoint has as many workers as it has: the last decision, what it rested on, what limited it, and
    what would change it."""
    if data is not None:
        name, status = read_local_status(data, endpoint)
    elif endpoint:
        name, status = f"{namespace}/{endpoint}", read_cluster_endpoint(namespace, endpoint).get("status") or {}
    else:
        raise UsageError("name the endpoint, or the data folder of submodel up: --data .submodel")
    if as_json:
        click.echo(json.dumps(status.get("autoscaling") or {}, indent=2, ensure_ascii=False))
        return
    for line in _account(name, status):
        click.echo(line)


def _account(name: str, status: Status) -> Iterator[str]:
    workers, jobs = status.get("workers") or {}, status.get("jobs") or {}
    wanted = counted(workers.get("desired", 0), "worker")
    low = jobs.get("queuedLowPriority", 0)
    starts_none = f" ({low} of low priority, which start no worker)" if low else ""
    yield (
        f"{name}: {wanted} wanted, {workers.get('ready', 0)} ready, {workers.get('busy', 0)} busy; "
        f"{counted(jobs.get('queued', 0), 'job')} queued{starts_none}, {jobs.get('inProgress', 0)} running."
    )
    autoscaling = status.get("autoscaling") or {}
    if decision := autoscaling.get("lastDecision"):
        yield from in_words(decision)
    else:
        yield "No decision has changed the number of workers yet."
    if shadow := autoscaling.get("shadow"):
        yield f"In the shadow, {proposal_in_words(shadow)}"
    for condition in status.get("conditions") or ():
        if condition["status"] != "True" and condition["type"] != "Available":
            yield f"{condition['type']} is {condition['status']} ({condition['reason']}): {condition['message']}."
