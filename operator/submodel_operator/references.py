"""Secrets and ConfigMaps that a manifest names: what they hold is part of the revision. Pure; called around `resolve`.

A worker reads them when it starts, so a changed one reaches the workers only by a new revision.
"""

import hashlib
import json
from collections.abc import Iterator

from submodel_operator.api.worker import KeyRef, Worker
from submodel_operator.errors import ReferenceMissing
from submodel_operator.ports import Reference, Referenced

_SECRET, _CONFIG_MAP = "Secret", "ConfigMap"


def references(worker: Worker) -> tuple[Reference, ...]:
    """All that the worker names, each once."""
    return tuple(sorted({reference for reference, _, _ in _uses(worker)}))


def digest(worker: Worker, found: Referenced) -> str:
    """Changes with what the worker would read; empty when it names nothing that can be looked up.

    Raises:
        ReferenceMissing: something that is not optional is not there.
    """
    missing = sorted({words for reference, key, words in _uses(worker) if words and _is_missing(found, reference, key)})
    if missing:
        raise ReferenceMissing("; ".join(missing))
    read = [[*reference, key, _read(found, reference, key)] for reference, key, _ in _uses(worker)]
    known = [each for each in read if each[-1] is not None]
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest() if known else ""


def handler_source(worker: Worker, found: Referenced) -> str | None:
    """The source that the worker runs; None for an image, and for a source that cannot be looked up."""
    if worker.handler is None:
        return None
    if worker.handler.config_map_ref is None:
        return worker.handler.inline
    source = worker.handler.config_map_ref
    return (found.get(Reference(_CONFIG_MAP, source.name)) or {}).get(source.key)


def _uses(worker: Worker) -> Iterator[tuple[Reference, str | None, str]]:
    """Reference, key (None: all of them) and the words for its absence (empty: it may be absent)."""
    if worker.handler and (source := worker.handler.config_map_ref):
        where = "spec.worker.handler.configMapRef"
        yield Reference(_CONFIG_MAP, source.name), source.key, _words(where, _CONFIG_MAP, source.name, source.key)
    for index, variable in enumerate(worker.env):
        if variable.value_from:
            where = f"spec.worker.env[{index}].valueFrom"
            for kind, ref in (
                (_SECRET, variable.value_from.secret_key_ref),
                (_CONFIG_MAP, variable.value_from.config_map_key_ref),
            ):
                if ref:
                    yield Reference(kind, ref.name), ref.key, _unless_optional(where, kind, ref)
    for index, entry in enumerate(worker.env_from):
        for kind, all_of in ((_SECRET, entry.secret_ref), (_CONFIG_MAP, entry.config_map_ref)):
            if all_of:
                words = "" if all_of.optional else _words(f"spec.worker.envFrom[{index}]", kind, all_of.name)
                yield Reference(kind, all_of.name), None, words


def _unless_optional(where: str, kind: str, ref: KeyRef) -> str:
    return "" if ref.optional else _words(where, kind, ref.name, ref.key)


def _words(where: str, kind: str, name: str, key: str | None = None) -> str:
    named = f"{kind} {name}" if key is None else f"{kind} {name} with the key {key}"
    return f"{where}: there is no {named} in the namespace"


def _is_missing(found: Referenced, reference: Reference, key: str | None) -> bool:
    if reference not in found:
        return False
    held = found[reference]
    return held is None or (key is not None and key not in held)


def _read(found: Referenced, reference: Reference, key: str | None) -> object:
    held = found.get(reference)
    if held is None:
        return None
    return dict(held) if key is None else held.get(key)
