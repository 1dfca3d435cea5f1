"""`python -m submodel_gateway key`: makes, lists, rotates and revokes the API keys of an installation.

They are documents in the folder `SUBMODEL_GATEWAY_KEYS`. What a command changes is printed, for folders that are
mounted from a Secret, and with `--save` written there.
"""

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from submodel_gateway.auth.folder import unreadable
from submodel_gateway.auth.keys import ANYWHERE, ApiKey, Former, Scope, digest_of, key_text
from submodel_gateway.errors import ConfigurationError
from submodel_gateway.settings import EVERYBODY, KEYS, key_pepper

OVERLAP_DAYS = 7.0

_DOCUMENT = msgspec.json.Decoder(ApiKey)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command gets from outside: the environment, a random text for a new secret, the time."""

    environ: Mapping[str, str]
    secret: str
    now: datetime

    @property
    def folder(self) -> Path:
        """The folder of keys. Raises `ConfigurationError`."""
        place = self.environ.get(KEYS, "")
        if not place or place == EVERYBODY:
            raise ConfigurationError(f"{KEYS} names no folder of API keys; set it to the one that the gateway reads")
        return Path(place)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="{create,rotate,revoke,list}")
    create = verbs.add_parser("create", help="make a key; its text is shown once")
    create.set_defaults(run=_create)
    _add_name(create)
    create.add_argument(
        "--endpoints",
        nargs="+",
        default=[ANYWHERE],
        metavar="ID",
        help="endpoint ids, or NAMESPACE.* for all of a namespace; without it, all there are",
    )
    create.add_argument(
        "--scopes",
        nargs="+",
        type=Scope,
        choices=list(Scope),
        default=list(Scope),
        help="what it may do; both by default",
    )
    create.add_argument("--days", type=float, help="days until it expires; never without it")
    rotate = verbs.add_parser("rotate", help="give a key a new text; the one before counts for a while")
    rotate.set_defaults(run=_rotate)
    _add_name(rotate)
    rotate.add_argument(
        "--overlap-days", type=float, default=OVERLAP_DAYS, help="how long the former text counts; 0 ends it now"
    )
    for verb in (create, rotate):
        verb.add_argument("--save", action="store_true", help="write the document into the folder")
    revoke = verbs.add_parser("revoke", help="remove a key from the folder")
    revoke.set_defaults(run=_revoke)
    _add_name(revoke)
    verbs.add_parser("list", help="show the keys and when they expire").set_defaults(run=_list)


def run(arguments: argparse.Namespace, around: Surroundings) -> str:
    """The text that the command prints. Raises `ConfigurationError`, `InvalidRequest`."""
    text: str = arguments.run(arguments, around)
    return text


def _add_name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", help="id of the key: lower-case letters, digits and hyphens")


def _create(arguments: argparse.Namespace, around: Surroundings) -> str:
    text = key_text(arguments.name, around.secret)
    try:
        key = ApiKey(
            id=arguments.name,
            digest=digest_of(key_pepper(around.environ), around.secret),
            scopes=frozenset(arguments.scopes),
            endpoints=tuple(arguments.endpoints),
            expires_at=None if arguments.days is None else around.now + timedelta(days=arguments.days),
        )
    except (ValueError, OverflowError) as error:
        raise ConfigurationError(str(error)) from error
    if arguments.save and key.id in _names(around.folder):
        raise ConfigurationError(f"there is a key {key.id} already; choose another name, or rotate it")
    return _handed_over(text, key, around if arguments.save else None)


def _rotate(arguments: argparse.Namespace, around: Surroundings) -> str:
    name, before = _find(around.folder, arguments.name)
    if arguments.overlap_days < 0:
        raise ConfigurationError("--overlap-days must not be below 0")
    try:
        ends_at = around.now + timedelta(days=arguments.overlap_days)
    except OverflowError as error:
        raise ConfigurationError(f"--overlap-days: {error}") from error
    key = msgspec.structs.replace(
        before,
        digest=digest_of(key_pepper(around.environ), around.secret),
        former=Former(digest=before.digest, expires_at=ends_at) if arguments.overlap_days else None,
    )
    return _handed_over(key_text(key.id, around.secret), key, around if arguments.save else None, name)


def _revoke(arguments: argparse.Namespace, around: Surroundings) -> str:
    name, key = _find(around.folder, arguments.name)
    try:
        (around.folder / name).unlink()
    except OSError as error:
        raise ConfigurationError(
            f"{around.folder / name} cannot be removed ({error.strerror}); where the folder is a Secret, remove its "
            f"entry {name}"
        ) from error
    return f"key {key.id} is revoked; gateways that read {around.folder} refuse it within seconds\n"


def _list(arguments: argparse.Namespace, around: Surroundings) -> str:
    rows = [("ID", "SCOPES", "ENDPOINTS", "EXPIRES", "FORMER TEXT COUNTS UNTIL")]
    for _, key in sorted(_documents(around.folder).items()):
        rows.append(
            (
                key.id,
                ",".join(sorted(key.scopes)),
                ",".join(key.endpoints) or "none",
                _until(key.expires_at, around.now) if key.expires_at else "never",
                _until(key.former.expires_at, around.now) if key.former else "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _until(instant: datetime, now: datetime) -> str:
    days = (instant - now) / timedelta(days=1)
    when = "expired" if days <= 0 else f"in {days:.0f} days" if days >= 1 else "today"
    return f"{instant:%Y-%m-%d} ({when})"


def _handed_over(text: str, key: ApiKey, saved_in: Surroundings | None, name: str = "") -> str:
    name = name or f"{key.id}.json"
    document = msgspec.json.encode(key, order="sorted").decode()
    shown = f"key, shown this once:\n{text}\n\n"
    if saved_in is None:
        return f"{shown}its document, for {name} in the folder of keys:\n{document}\n"
    try:
        place = saved_in.folder / name
        # Dotted names are no keys to a gateway that reads the folder meanwhile.
        draft = place.with_name(f".{name}")
        draft.write_text(document)
        draft.replace(place)
    except OSError as error:
        raise ConfigurationError(f"{saved_in.folder} cannot be written: {error}; leave out --save") from error
    return f"{shown}its document is {place}\n"


def _find(folder: Path, id: str) -> tuple[str, ApiKey]:
    for name, key in _documents(folder).items():
        if key.id == id:
            return name, key
    raise ConfigurationError(f"there is no key {id!r} in {folder}; `key list` shows those there are")


def _names(folder: Path) -> set[str]:
    return {key.id for key in _documents(folder).values()}


def _documents(folder: Path) -> dict[str, ApiKey]:
    """The keys of the folder by file name."""
    try:
        files = [file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file()]
        return {file.name: _DOCUMENT.decode(file.read_bytes()) for file in files}
    except (OSError, msgspec.MsgspecError) as error:
        raise unreadable(folder, error) from error
