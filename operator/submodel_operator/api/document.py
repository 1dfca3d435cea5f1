"""Reads the YAML text of one manifest and means by it what kubectl means. Called by `manifest`.

PyYAML differs from kubectl's parser in what plain words stand for: `y` is a boolean there, `12:30:00` and
`2024-01-01` are text. A repeated key is refused, because one of the two values would be lost in silence.
"""

import re
from typing import Any, ClassVar, Final

import yaml

from submodel_operator.errors import InvalidEndpoint

_TEXT: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"


class _Loader(yaml.SafeLoader):
    """Plain scalars as in kubectl, keys that are text and stand once."""

    bool_values: ClassVar[dict[str, bool]] = {**yaml.SafeLoader.bool_values, "y": True, "n": False}

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                continue
            if key.tag != _TEXT:
                raise _Unusable("a key must be text; put it in quotes", key.start_mark)
            if key.value in seen:
                raise _Unusable(f"the key {key.value} stands here for the second time; keep one", key.start_mark)
            seen.add(key.value)
        return node


class _Unusable(yaml.MarkedYAMLError):
    """Valid YAML that cannot be a manifest."""

    def __init__(self, problem: str, mark: yaml.Mark) -> None:
        super().__init__(problem=problem, problem_mark=mark)


_PLAIN: Final = {
    "bool": ("yYnNtTfFoO", r"y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF"),
    "int": ("-+0123456789", r"[-+]?(0b[01][01_]*|0x[0-9a-fA-F][0-9a-fA-F_]*|0[0-7_]*|[1-9][0-9_]*)"),
    "float": (
        "-+.0123456789",
        r"[-+]?((\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
    ),
    "null": (["~", "n", "N", ""], r"~|null|Null|NULL|"),
    "merge": ("<", r"<<"),
}
"""What an unquoted word may be, with the characters it begins with, in the order of the attempts."""

_Loader.yaml_implicit_resolvers = {}
for _name, (_beginnings, _pattern) in _PLAIN.items():
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(rf"({_pattern})\Z"), list(_beginnings))


def read_document(text: str, source: str) -> dict[str, Any]:
    """The one mapping that `text` holds; empty documents beside it are passed over.

    Args:
        source: name of the file, for messages.

    Raises:
        InvalidEndpoint: the text is no YAML, no mapping, or more than one document.
    """
    documents = [document for document in _parsed(text, source) if document is not None]
    if len(documents) != 1:
        found = f"{len(documents)} documents" if documents else "no document"
        raise InvalidEndpoint([f"{source}: holds {found}; write exactly one SubModelEndpoint into a file"])
    if not isinstance(documents[0], dict):
        raise InvalidEndpoint([f"{source}: holds no mapping; begin with apiVersion, kind, metadata and spec"])
    return documents[0]


def _parsed(text: str, source: str) -> list[Any]:
    try:
        return list(yaml.load_all(text, Loader=_Loader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidEndpoint([_sentence(source, mark, error)]) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InvalidEndpoint([f"{source}: line {line}: holds a control character; remove it"]) from None
    except (ValueError, LookupError):
        raise InvalidEndpoint([f"{source}: holds a value that does not fit its YAML tag; remove the tag"]) from None
    except RecursionError:
        raise InvalidEndpoint([f"{source}: is nested too deeply; a SubModelEndpoint needs a dozen levels"]) from None


def _sentence(source: str, mark: yaml.Mark | None, error: yaml.MarkedYAMLError) -> str:
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    if isinstance(error, _Unusable):
        return f"{source}: {place}{error.problem}"
    return f"{source}: {place}is no valid YAML ({error.problem}); check indentation, colons and quotes there"
