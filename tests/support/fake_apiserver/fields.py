"""Server-side apply on plain objects: who owns a field decides whether leaving it out removes it. Lists are atomic."""

import copy
from collections.abc import Iterator
from typing import Any

Path = tuple[str, ...]
_IDENTITY = frozenset({"apiVersion", "kind"})
_FROM_THE_SERVER = frozenset({"uid", "resourceVersion", "name", "namespace"})


def apply_fields(present: dict[str, Any], wanted: dict[str, Any], manager: str, owned: dict[str, set[Path]]) -> Any:
    """A copy of `present` with `wanted` forced in. What the manager alone owned and leaves out is removed."""
    changed = copy.deepcopy(present)
    fields = {path: value for path, value in _walk(wanted) if not _is_identity(path)}
    given_up = owned.get(manager, set()) - fields.keys()
    others = set().union(*(paths for name, paths in owned.items() if name != manager))
    for path in given_up - others:
        _remove(changed, path)
    for path, value in fields.items():
        _set(changed, path, copy.deepcopy(value))
    owned[manager] = set(fields)
    return changed


def _walk(value: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    for name, each in value.items():
        if isinstance(each, dict) and each:
            yield from _walk(each, (*path, name))
        else:
            yield (*path, name), each


def _is_identity(path: Path) -> bool:
    return path[0] in _IDENTITY or (path[0] == "metadata" and path[1] in _FROM_THE_SERVER)


def _set(target: dict[str, Any], path: Path, value: Any) -> None:
    for name in path[:-1]:
        target = target.setdefault(name, {})
    target[path[-1]] = value


def _remove(target: dict[str, Any], path: Path) -> None:
    for name in path[:-1]:
        target = target.get(name, {})
    target.pop(path[-1], None)
