"""`python -m submodel_gateway key NAME`: makes an API key and the document by which gateways know it."""

import argparse
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from submodel_gateway.auth.keys import ANYWHERE, ApiKey, Scope, digest_of, key_text
from submodel_gateway.errors import ConfigurationError
from submodel_gateway.settings import key_pepper


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("name", help="id of the key: lower-case letters, digits and hyphens")
    parser.add_argument(
        "--endpoints",
        nargs="+",
        default=[ANYWHERE],
        metavar="ID",
        help="endpoint ids, or NAMESPACE.* for all of a namespace; without it, all there are",
    )
    parser.add_argument(
        "--scopes",
        nargs="+",
        type=Scope,
        choices=list(Scope),
        default=list(Scope),
        help="what it may do; both by default",
    )
    parser.add_argument("--days", type=float, help="days until it expires; never without it")


def new_key(arguments: argparse.Namespace, environ: Mapping[str, str], secret: str, now: datetime) -> str:
    """The text that the command prints. Raises `ConfigurationError`, `InvalidRequest`."""
    text = key_text(arguments.name, secret)
    try:
        key = ApiKey(
            id=arguments.name,
            digest=digest_of(key_pepper(environ), secret),
            scopes=frozenset(arguments.scopes),
            endpoints=tuple(arguments.endpoints),
            expires_at=None if arguments.days is None else now + timedelta(days=arguments.days),
        )
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(str(error)) from error
    document = msgspec.json.encode(key, order="sorted").decode()
    return (
        f"key, shown this once:\n{text}\n\nits document, for {arguments.name}.json in the folder of keys:\n{document}\n"
    )
