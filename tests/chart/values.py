"""values.yaml as a table. A comment documents the key under it; a key without one documents its children.

Raises `ValueError` for a value that no comment covers.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

HEAD = "| Value | Default | Meaning |\n|---|---|---|\n"


@dataclass(frozen=True)
class Value:
    """A documented value: where it stands, its default as one line of JSON, and its comment as one line."""

    path: str
    default: str
    meaning: str


def documented(text: str) -> Iterator[Value]:
    """Every value of values.yaml, in its order."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    yield from _below(root, "", text.splitlines())


def table(text: str) -> str:
    """All values of values.yaml as a table."""
    return HEAD + "".join(
        f"| `{each.path}` | `{each.default}` | {_cell(each.meaning)} |\n" for each in documented(text)
    )


def _below(node: yaml.Node | None, path: str, lines: list[str]) -> Iterator[Value]:
    if not isinstance(node, yaml.MappingNode) or not node.value:
        raise ValueError(f"{path} has no comment")
    for key, value in node.value:
        place = f"{path}.{key.value}".lstrip(".")
        meaning = _comment_above(lines, key.start_mark.line)
        if meaning:
            yield Value(place, json.dumps(_plain(value), ensure_ascii=False), meaning)
        else:
            yield from _below(value, place, lines)


def _comment_above(lines: list[str], index: int) -> str:
    """The comment that ends in the line before, without a blank line between."""
    found: list[str] = []
    indent = len(lines[index]) - len(lines[index].lstrip())
    while index and lines[index - 1].startswith(f"{' ' * indent}# "):
        index -= 1
        found.insert(0, lines[index].strip().removeprefix("# "))
    return " ".join(found)


def _plain(node: yaml.Node) -> object:
    return yaml.safe_load(yaml.serialize(node))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
