"""What a person sees of `submodel up`: one line per event, in words."""

import json
import logging
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from submodel_operator.api.conditions import Reason

_AT_REST: Final[Mapping[str, str]] = {
    "Suspended": "spec.suspend is true: no worker runs, and jobs wait",
    "Parked": "spec.scaling.workersMax is 0: no worker runs, and jobs wait",
}
"""By phase, why nothing happens although jobs wait."""

LocalTime = Callable[[], time.struct_time]


class Console:
    """Prints lines to the terminal; `local_time` stamps them."""

    def __init__(self, local_time: LocalTime) -> None:
        self._local_time = local_time

    @contextmanager
    def screen(self) -> Iterator[None]:
        """Lines need no screen of their own."""
        yield

    async def run(self) -> None:
        """Nothing moves but by what is told."""

    def welcome(self, manifest: Path, url: str, folder: Path) -> None:
        """The address and a command that works, before anything else."""
        body = shlex.quote(json.dumps({"input": {}}))
        click.secho("SubModel on this machine", bold=True)
        click.echo(f"  manifest  {manifest} (read again when it changes)")
        click.echo(f"  jobs      {folder}")
        click.echo(f"  url       {url}")
        click.echo(f"  try it    curl -s {url}/runsync -H 'Content-Type: application/json' -d {body}")
        click.echo("  stop      Ctrl-C\n")

    def line(self, text: str) -> None:
        """One event."""
        try:
            click.echo(f"{time.strftime('%H:%M:%S', self._local_time())} {text}")
        except BrokenPipeError:  # nobody reads on (`submodel up | head`): jobs run on, lines go nowhere
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 # for the rest of the process

    def problem(self, text: str) -> None:
        """Something that the person should mend."""
        self.line(click.style(text, fg="red"))

    def log_handler(self) -> logging.Handler:
        """Sends what the libraries below have to say to the same place."""
        handler = _LineHandler(self)
        handler.setFormatter(logging.Formatter("%(message)s"))
        return handler

    def status(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Tell what is new in a status: a decision, the load, a problem."""
        decision = (after.get("autoscaling") or {}).get("lastDecision")
        if decision and decision != (before.get("autoscaling") or {}).get("lastDecision"):
            self.line(click.style(_decision(decision), fg="cyan"))
        if before and _load(before) != _load(after):
            self.line(_load(after))
        if (rest := _AT_REST.get(after.get("phase", ""))) and after.get("phase") != before.get("phase"):
            self.line(rest)
        for problem in _problems(after):
            if problem not in _problems(before):
                self.problem(problem)


class _LineHandler(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.line(self.format(record))


def _decision(decision: Mapping[str, Any]) -> str:
    return f"workers {decision['current']} → {decision['desired']}: {decision['message']}"


def _load(status: Mapping[str, Any]) -> str:
    workers, jobs = status.get("workers") or {}, status.get("jobs") or {}
    return (
        f"jobs: {jobs.get('queued', 0)} queued, {jobs.get('inProgress', 0)} running · "
        f"workers: {workers.get('starting', 0)} starting, {workers.get('idle', 0)} idle, {workers.get('busy', 0)} busy"
    )


def _problems(status: Mapping[str, Any]) -> list[str]:
    """Why the endpoint is not ready, or why its rollout stopped, which tells the other, too."""
    failing = [each for each in status.get("conditions") or () if each["status"] == "False"]
    told = [each for each in failing if each["reason"] == Reason.ROLLOUT_FAILED]
    ready = [each for each in failing if each["type"] == "Ready"]
    told += [each for each in ready if not any(each["message"] in other["message"] for other in told)]
    return [f"{each['reason']}: {each['message']}" for each in told]
