"""`python -m submodel_gateway`: the gateway, or one of its commands.

Without a command this process keeps the listening sockets and starts another one, the same program once more, that
serves on them; see `parent`. What serving needs is imported there alone: this process stays small.

Exit code 0 after SIGTERM or SIGINT, 2 with one sentence on stderr when it cannot start.
"""

import os
import sys
from collections.abc import Mapping
from typing import Final

from submodel_gateway.errors import ConfigurationError, InvalidRequest
from submodel_gateway.parent import handover, keeper

DESCRIPTION: Final = """\
The gateway of SubModel: it takes jobs from clients, keeps them, and hands them to workers. Settings are environment
variables that begin with SUBMODEL_GATEWAY_."""


def main(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run the gateway until it is told to end, or one of its commands; returns the exit code."""
    if arguments:
        return _command(arguments, environ)
    try:
        inherited = handover.inherited(environ)
    except ConfigurationError as error:
        sys.stderr.write(f"submodel-gateway: {error}\n")
        return 2
    if inherited is None:
        return keeper.main(environ)
    try:
        from submodel_gateway import serve
    except ModuleNotFoundError as error:
        sys.stderr.write(f"submodel-gateway: {error.name} is missing; install submodel-runtime[gateway]\n")
        return 2
    return serve.main(inherited, environ)


def _command(arguments: list[str], environ: Mapping[str, str]) -> int:
    import argparse
    import secrets
    from datetime import UTC, datetime

    from submodel_gateway.auth import command

    parser = argparse.ArgumentParser(prog="python -m submodel_gateway", description=DESCRIPTION)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="without one it serves; commands")
    command.add_arguments(
        commands.add_parser("key", help="make, list, rotate and revoke API keys", description=command.__doc__)
    )
    parsed = parser.parse_args(arguments)
    try:
        around = command.Surroundings(environ, secrets.token_urlsafe(32), datetime.now(UTC))
        sys.stdout.write(command.run(parsed, around))
    except (ConfigurationError, InvalidRequest) as error:
        sys.stderr.write(f"submodel-gateway: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
