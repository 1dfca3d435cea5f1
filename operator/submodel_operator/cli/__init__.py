"""The `submodel` command.

Each command lives in a module of its own that is imported when it is used: `submodel --help` answers at once, and
nobody who runs `submodel up` waits for a Kubernetes client.
"""

import sys
from importlib import import_module

import click

from submodel_operator.errors import OperatorError

COMMANDS = {
    "up": "Run an endpoint on this machine, without a cluster.",
    "explain": "Say why an endpoint has as many workers as it has.",
    "replay": "Make the decisions of a log again.",
    "simulate": "Compare scalers on made-up or recorded traffic.",
    "what-if": "Try another scaling on the traffic that an endpoint had.",
}
"""Name and one-line help of each command; `submodel_operator.cli.<name>` holds `command`, with `_` for `-`."""


class LazyGroup(click.Group):
    """A group that knows its commands' names and imports one when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, for `--help`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command called `cmd_name`, imported now."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = import_module(f"submodel_operator.cli.{cmd_name.replace('-', '_')}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands from the table: importing them all would be slow."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="submodel-operator", prog_name="submodel")
def cli() -> None:
    """SubModel: serverless jobs for Python handlers, on a laptop and on Kubernetes."""


def main() -> None:
    """Entry point of the `submodel` command: an expected error is one sentence and exit code 2."""
    try:
        cli(prog_name="submodel")
    except OperatorError as error:
        click.echo(f"submodel: {error}", err=True)
        sys.exit(2)
