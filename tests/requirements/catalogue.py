"""The list of promises, `requirements.toml`, and which tests carry their ids. Neither imports a test."""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

LIST = Path(__file__).with_name("requirements.toml")
TESTS = Path(__file__).parents[1]
MARK = "requirement"


class Promise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One promise. At most one of `missing` and `unproved`; with either, no test carries its id."""

    id: str
    says: str
    source: str
    """The public SDK or page that it comes from."""

    differs: str = ""
    """What we knowingly do otherwise."""

    missing: str = ""
    """That it is not kept."""

    unproved: str = ""
    """Why no test proves it."""

    @property
    def group(self) -> str:
        return self.id.partition(".")[0]


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Promises in the order of the list, and the titles of their groups."""

    groups: dict[str, str]
    promise: list[Promise]


def read() -> Catalogue:
    """The list as it is in the tree. Raises `msgspec.ValidationError`."""
    return msgspec.toml.decode(LIST.read_bytes(), type=Catalogue)


def marked() -> Mapping[str, list[str]]:
    """The tests that carry each id, as `file::test`."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if f"mark.{MARK}(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for id in _ids(node.decorator_list):
                    found[id].append(f"{path.relative_to(TESTS)}::{node.name}")
    return found


def _ids(decorators: list[ast.expr]) -> Iterator[str]:
    for each in decorators:
        if isinstance(each, ast.Call) and isinstance(each.func, ast.Attribute) and each.func.attr == MARK:
            for argument in each.args:
                yield ast.literal_eval(argument)
