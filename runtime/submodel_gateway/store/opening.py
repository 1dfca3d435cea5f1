"""Opens a store by its URL; the drivers of an engine are imported only when it is asked for."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from submodel_gateway.errors import StoreUnusable
from submodel_gateway.settings import STORE, STORE_FORMS
from submodel_gateway.store.base import Store


def open_store(url: str, quota_bytes: int | None = None) -> Store:
    """The store behind `url`; see `settings.STORE_FORMS`.

    Args:
        quota_bytes: what the store may grow to; no new jobs are taken above 80 % of it. None for no bound.

    Raises `StoreUnusable` with a sentence for the operator; it names no password.
    """
    scheme, _, rest = url.partition(":")
    if scheme == "memory" and not rest:
        from submodel_gateway.store.memory import MemoryStore

        return MemoryStore()
    if scheme == "sqlite" and rest and not rest.endswith("/"):
        from submodel_gateway.store.sqlite import SqliteStore

        path = unquote(rest, errors="surrogateescape")
        return SqliteStore(Path("/" + path.lstrip("/")) if path.startswith("/") else Path(path), quota_bytes)
    if scheme in ("postgresql", "postgres") and rest.startswith("//"):
        return _postgres(url, quota_bytes)
    raise StoreUnusable(f"{STORE} names a kind of store that this gateway does not know; give {STORE_FORMS}")


def store_name(url: str) -> str:
    """What tells stores of one gateway apart: the URL without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _postgres(url: str, quota_bytes: int | None) -> Store:
    try:
        from submodel_gateway.store.postgres import PostgresStore
    except ModuleNotFoundError as error:
        raise StoreUnusable(f"{error.name} is missing; install submodel-runtime[postgres]") from error
    return PostgresStore(url, quota_bytes)
