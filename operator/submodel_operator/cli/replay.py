"""`submodel replay`: makes the decisions of a log again, with the code of today or with other settings."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import click

from submodel_operator.api.manifest import read_manifest
from submodel_operator.errors import UsageError
from submodel_operator.resolve import ResolvedScaling, resolve_scaling
from submodel_operator.scaling import ScalingDecision
from submodel_operator.scaling.decision import counted
from submodel_operator.scaling.log import Record, decided_again, decode_record


@click.command("replay", short_help="Make the decisions of a log again.")
@click.argument("log", type=click.Path(path_type=Path))
@click.option("--scaling", "manifest", type=click.Path(path_type=Path), help="Manifest whose scaling decides instead.")
@click.option("--endpoint", help="Only decisions of this endpoint: <namespace>.<name>.")
@click.pass_context
def command(context: click.Context, log: Path, manifest: Path | None, endpoint: str | None) -> None:
    """Make the decisions of a log again, from what each of them saw and remembered.

    Without --scaling the same decisions must come out, or the exit code is 1. With it the lines show what other
    settings would have decided at the same moments; what would have followed from that, submodel simulate tells.
    """
    settings = _settings(manifest) if manifest else None
    differing = count = 0
    for record in _records(log):
        if endpoint in (None, record.endpoint):
            again = decided_again(record, settings)
            same = again == record.decision if settings is None else again.replicas == record.decision.replicas
            count, differing = count + 1, differing + (not same)
            click.echo(_line(record, again, same))
    click.echo(f"{counted(count, 'decision')}, {differing} of them different")
    if differing and settings is None:
        context.exit(1)


def _line(record: Record, again: ScalingDecision, same: bool) -> str:
    at = datetime.fromtimestamp(record.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    was = f"{record.inputs.replicas} → {record.decision.replicas} ({record.decision.term})"
    verdict = "same" if same else f"now {again.replicas} ({again.term}): {again.message}"
    return f"{at} {record.endpoint}  {was}  {verdict}"


def _records(path: Path) -> Iterator[Record]:
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield decode_record(line)
        except ValueError as error:
            raise UsageError(
                f"{path}: line {number} is no decision of this version ({error}); "
                "name a file that submodel up --decisions or the operator has written"
            ) from error


def _settings(path: Path) -> ResolvedScaling:
    try:
        return resolve_scaling(read_manifest(path.read_text(encoding="utf-8"), str(path)).spec)
    except OSError as error:
        raise UsageError(f"--scaling: cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--scaling: {path} is not UTF-8 text") from error
