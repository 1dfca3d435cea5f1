"""`submodel what-if`: another scaling on the traffic that an endpoint really had.

The gateway keeps when jobs came and how long they ran; the simulator runs the code that decides in production on it,
once with the present setting and once with the other.
"""

import asyncio
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from submodel.contract.internal import TrafficRecord
from submodel_operator.api.document import read_document
from submodel_operator.api.manifest import parse_endpoint
from submodel_operator.cli.cluster_endpoint import read_cluster_endpoint
from submodel_operator.cli.local_status import read_local_gateway, read_local_manifest
from submodel_operator.clock import SystemClock
from submodel_operator.errors import GatewayRefused, GatewayUnavailable, InvalidEndpoint, UsageError
from submodel_operator.gateway_client import GatewayClient
from submodel_operator.ports import Key, Manifest
from submodel_operator.resolve import ResolvedScaling, resolve_scaling
from submodel_operator.scaling.decision import counted
from submodel_operator.scaling.estimates import learned_starts
from submodel_operator.scaling.state import decode
from submodel_operator.simulation import report, what_if

TOKEN_VARIABLE: Final = "SUBMODEL_GATEWAY_INTERNAL_TOKEN"
LATE_SECONDS: Final = 10.0
"""Where the present setting counts jobs and no seconds."""


@click.command("what-if", short_help="Try another scaling on the traffic that an endpoint had.")
@click.argument("endpoint", required=False)
@click.option("--scaling", "path", required=True, type=click.Path(path_type=Path), help="File with the other scaling.")
@click.option("-n", "--namespace", default="default", show_default=True, help="Namespace of the endpoint.")
@click.option("--data", type=click.Path(path_type=Path), help="Data folder of `submodel up`, instead of Kubernetes.")
@click.option("--gateway", "urls", multiple=True, help="URL of a gateway's internal port; each of several gateways.")
@click.option("--hours", default=24.0, show_default=True, type=click.FloatRange(0.01, 168), help="How far back.")
@click.option("--cold-start", type=click.FloatRange(0.1, 3600), help="Seconds a start takes; measured if left out.")
@click.option(
    "--late-after", type=click.FloatRange(0.1, 86400), help="Seconds a job may wait; else the present target."
)
def command(
    endpoint: str | None,
    path: Path,
    namespace: str,
    data: Path | None,
    urls: tuple[str, ...],
    hours: float,
    cold_start: float | None,
    late_after: float | None,
) -> None:
    """Try another scaling on the traffic that an endpoint had: what the jobs would have waited, and the cost.

    The file holds a manifest of the endpoint, or what stands below spec.scaling alone. Nothing is changed.
    """
    manifest = _manifest(endpoint, namespace, data)
    key = Key(manifest["metadata"]["namespace"], manifest["metadata"]["name"])
    endpoint_id = manifest["spec"].get("endpointId") or key.endpoint_id
    present, other = _settings(manifest), _of_file(manifest, path)
    for whose, each in (("the endpoint's", present), (f"{path}'s", other)):
        if not each.workers_max:
            raise UsageError(f"{whose} workersMax is 0 (or spec.suspend is true): no job would ever run")
    records = asyncio.run(_records(endpoint_id, *_gateways(data, urls)))
    seen = what_if.traffic(records, hours)
    if seen is None:
        raise UsageError(
            f"no job of {key.namespace}/{key.name} has run and ended within {hours:g} h of the record; "
            "look further back with --hours, or try again once some have"
        )
    starts = _starts(manifest) if cold_start is None else what_if.Starts(cold_start)
    late_seconds = _late_after(present) if late_after is None else late_after
    now, then = (what_if.tried(seen, each, starts, late_seconds) for each in (present, other))
    click.echo(_title(key, seen, starts.usual_seconds, late_seconds))
    rows = [
        what_if.HEADER,
        what_if.measured_row("as it was", seen.waited_seconds, late_seconds),
        what_if.row(f"now ({present.scaler_type}), simulated", now),
        what_if.row(f"{path.name} ({other.scaler_type}), simulated", then),
    ]
    for line in report.aligned(rows):
        click.echo(line)
    click.echo(what_if.sentence(path.name, now, then))
    if (gateways := max(each.gateways for each in records)) > len(records):
        click.echo(
            f"This is the part of {len(records)} of {gateways} gateways; name each of them with --gateway.", err=True
        )


def _manifest(endpoint: str | None, namespace: str, data: Path | None) -> Manifest:
    if data is not None:
        return read_local_manifest(data, endpoint)
    if endpoint:
        return read_cluster_endpoint(namespace, endpoint)
    raise UsageError("name the endpoint, or the data folder of submodel up: --data .submodel")


def _gateways(data: Path | None, urls: Sequence[str]) -> tuple[Sequence[str], str]:
    """URLs and token."""
    if data is not None and not urls:
        url, token = read_local_gateway(data)
        return [url], token
    if not urls:
        raise UsageError(
            "name the gateway's internal port: --gateway http://127.0.0.1:8001, after kubectl port-forward"
        )
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise UsageError(f"{TOKEN_VARIABLE} is not set; it is the internal-token of the gateway's Secret")
    return urls, token


async def _records(endpoint_id: str, urls: Iterable[str], token: str) -> list[TrafficRecord]:
    records = []
    for url in urls:
        try:
            async with GatewayClient(url.rstrip("/"), token, SystemClock()) as client:
                records.append(await client.record(endpoint_id))
        except (GatewayUnavailable, GatewayRefused, ValueError) as error:
            raise UsageError(f"--gateway {url}: {error}") from error
    return records


def _other(manifest: Manifest, path: Path) -> Manifest:
    """The present endpoint with the scaling of the file."""
    try:
        document = read_document(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise UsageError(f"--scaling: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--scaling: {path} is not UTF-8 text") from error
    if "kind" in document:
        return document
    return {**manifest, "spec": {**manifest["spec"], "scaling": document}}


def _of_file(manifest: Manifest, path: Path) -> ResolvedScaling:
    other = _other(manifest, path)
    try:
        return _settings(other)
    except InvalidEndpoint as error:
        raise InvalidEndpoint([f"{path}: {problem}" for problem in error.problems]) from error


def _settings(manifest: Manifest) -> ResolvedScaling:
    return resolve_scaling(parse_endpoint(manifest).spec)


def _starts(manifest: Manifest) -> what_if.Starts:
    """As the scaler measured them; what it believes when it has seen none."""
    status: dict[str, Any] = manifest.get("status") or {}
    memory = decode((status.get("autoscaling") or {}).get("memory"))
    return what_if.Starts(learned_starts(memory).usual_seconds, memory.cold_starts)


def _late_after(present: ResolvedScaling) -> float:
    counts_seconds = present.scaler_type != "REQUEST_COUNT"
    return present.scaler_value if counts_seconds else LATE_SECONDS


def _title(key: Key, seen: what_if.Traffic, cold_start_seconds: float, late_seconds: float) -> str:
    workload = seen.workload
    since = datetime.fromtimestamp(seen.beginning, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        f"{key.namespace}/{key.name}: {counted(len(workload.jobs), 'job')} in {_span(workload.seconds)} since {since}; "
        f"a start takes {cold_start_seconds:g} s; late after {late_seconds:g} s"
    )


def _span(seconds: float) -> str:
    """A few minutes are no part of an hour to people."""
    size, unit = (1, "s") if seconds < 120 else (60, "min") if seconds < 7200 else (3600, "h")
    return f"{seconds / size:.3g} {unit}"
