"""Variables of users have two spellings, because handlers and clients of both hosted platforms run here."""

from collections.abc import Mapping

PREFIXES = ("SUBMODEL_", "RUNPOD_")


def either(environ: Mapping[str, str], name: str) -> str:
    """The value of `SUBMODEL_<name>`, else of `RUNPOD_<name>`, else an empty text."""
    return next((value for prefix in PREFIXES if (value := environ.get(prefix + name))), "")
