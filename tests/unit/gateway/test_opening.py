"""Stores are opened by their URLs; what cannot be opened is named with its remedy."""

import re
from pathlib import Path

import pytest

from submodel_gateway.errors import StoreUnusable
from submodel_gateway.store.memory import MemoryStore
from submodel_gateway.store.opening import open_store, store_name
from submodel_gateway.store.sqlite import SqliteStore


def test_the_store_in_memory_has_a_url() -> None:
    assert isinstance(open_store("memory:"), MemoryStore)


@pytest.mark.parametrize("slashes", ["", "///"])
async def test_files_are_named_by_relative_and_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slashes: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store(f"sqlite:{slashes}{tmp_path.as_posix()[1:] + '/' if slashes else ''}jobs.db")
    assert isinstance(store, SqliteStore)
    assert (tmp_path / "jobs.db").exists()
    await store.close()


async def test_what_a_url_cannot_hold_is_written_with_percent_signs(tmp_path: Path) -> None:
    store = open_store(f"sqlite://{tmp_path}/my%20jobs%C3%A4.db")
    assert (tmp_path / "my jobsä.db").exists()
    await store.close()


@pytest.mark.parametrize("url", ["redis://host", "sqlite:", "sqlite:///folder/", "jobs.db", "memory:x", "postgresql:x"])
def test_other_kinds_are_refused_with_the_known_ones(url: str) -> None:
    with pytest.raises(StoreUnusable, match=re.escape("SUBMODEL_GATEWAY_STORE names a kind of store")):
        open_store(url)


def test_names_of_stores_hold_no_credentials() -> None:
    assert store_name("postgresql://user:pass@host:5432/jobs?sslmode=require") == "postgresql://host:5432/jobs"
