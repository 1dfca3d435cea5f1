"""Opening a PostgreSQL store: its tables are made once, and what cannot be opened is named with its remedy."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from submodel_gateway.errors import StoreUnusable
from submodel_gateway.store.postgres import PostgresStore, schema, store
from submodel_gateway.store.postgres.columns import JOB_WRITTEN
from tests.support.postgres import shared_server
from tests.support.store_operations import ENDPOINT, submit

NOW = 1_700_000_000_000
ROOT = Path(__file__).parents[2]
JOB_COLUMNS = "SELECT attname FROM pg_attribute WHERE attrelid = 'submodel.job'::regclass AND attnum > 0"


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    return shared_server().execute(statement, urlsplit(url).path[1:])


async def opened(url: str) -> PostgresStore:
    created = PostgresStore(url)
    await created.start(lambda endpoints: None)
    return created


async def refusal(url: str) -> str:
    """The sentence with which a store refuses to open."""
    refused = PostgresStore(url)
    with pytest.raises(StoreUnusable) as caught:
        await refused.start(lambda endpoints: None)
    await refused.close()
    return str(caught.value)


async def test_gateways_that_start_together_make_the_tables_once(url: str) -> None:
    stores = await asyncio.gather(*(opened(url) for _ in range(4)))
    assert execute(url, "SELECT name, value FROM submodel.meta ORDER BY name") == [
        ("compatible", schema.COMPATIBLE),
        ("schema", schema.VERSION),
    ]
    for each in stores:
        await each.close()


async def test_every_field_of_a_job_has_a_column(url: str) -> None:
    await (await opened(url)).close()
    assert {name for (name,) in execute(url, JOB_COLUMNS)} == set(JOB_WRITTEN)


async def test_a_gateway_works_with_the_tables_of_the_next_version(url: str) -> None:
    await (await opened(url)).close()
    execute(url, "ALTER TABLE submodel.job ADD COLUMN more text NOT NULL DEFAULT ''")
    execute(url, "UPDATE submodel.meta SET value = value + 1 WHERE name = 'schema'")
    store = await opened(url)
    await asyncio.to_thread(store.apply, [submit("a")], NOW)
    assert await store.job(ENDPOINT, "a") is not None
    await store.close()


async def test_tables_may_be_widened_while_a_gateway_works(url: str) -> None:
    store = await opened(url)
    await asyncio.to_thread(store.apply, [submit("a")], NOW)
    execute(url, "ALTER TABLE submodel.job ADD COLUMN more text NOT NULL DEFAULT ''")
    await asyncio.to_thread(store.apply, [submit("b")], NOW)
    assert await store.job(ENDPOINT, "a") is not None
    await store.close()


async def test_tables_that_need_a_newer_gateway_are_refused(url: str) -> None:
    await (await opened(url)).close()
    execute(url, "UPDATE submodel.meta SET value = 7")
    assert re.search(
        "has schema 7, which needs a gateway that knows 7 at least; .* run a newer version", await refusal(url)
    )


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE submodel.job (id int)"],
        ["CREATE TABLE submodel.meta (id int)"],
        ["CREATE TABLE submodel.meta (name text, value text)", "INSERT INTO submodel.meta VALUES ('kind', 'blog')"],
    ],
)
async def test_a_schema_of_somebody_else_is_refused_and_left_alone(url: str, statements: list[str]) -> None:
    for statement in ["CREATE SCHEMA submodel", *statements]:
        execute(url, statement)
    assert "belongs to something else; use another database" in await refusal(url)
    tables = "SELECT count(*) FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'submodel'"
    assert execute(url, f"{tables} AND relkind = 'r'") == [(1,)]


async def test_other_tables_of_the_database_do_no_harm(url: str) -> None:
    execute(url, "CREATE TABLE public.job (mine int)")
    store = await opened(url)
    await asyncio.to_thread(store.apply, [submit("a")], NOW)
    await store.close()
    assert execute(url, "SELECT count(*) FROM public.job") == [(0,)]


async def test_a_user_without_rights_is_told_what_to_grant(url: str) -> None:
    name = f"{urlsplit(url).path[1:]}_user"
    execute(url, f"CREATE ROLE {name} LOGIN")
    theirs = url.replace("postgres@", f"{name}@")
    try:
        assert f"let the database's owner run CREATE SCHEMA submodel AUTHORIZATION {name}" in await refusal(theirs)
        execute(url, f"CREATE SCHEMA submodel AUTHORIZATION {name}")
        store = await opened(theirs)
        await asyncio.to_thread(store.apply, [submit("a")], NOW)
        await store.close()
        execute(url, f"CREATE ROLE {name}_2 LOGIN")
        sentence = await refusal(url.replace("postgres@", f"{name}_2@"))
        assert "permission denied" in sentence
    finally:
        execute(url, f"DROP OWNED BY {name}")
        execute(url, f"DROP ROLE {name}, {name}_2")


async def test_a_database_that_is_not_there_is_named(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "START_SECONDS", 0.0)
    missing = url.replace(urlsplit(url).path[1:], "missing")
    sentence = await refusal(missing)
    assert sentence.startswith("the job store missing at /tmp/")
    assert 'database "missing" does not exist; check host, port, database, user and password in its URL' in sentence


async def test_passwords_are_in_no_sentence(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "START_SECONDS", 0.0)
    assert "hunter2" not in await refusal("postgresql://user:hunter2@127.0.0.1:1/jobs")
    with pytest.raises(StoreUnusable) as caught:
        PostgresStore("postgresql://user:hunter2@host/jobs?colour=hunter2")
    assert "hunter2" not in str(caught.value)


async def test_an_encoding_that_cannot_hold_every_name_is_refused(url: str) -> None:
    name = f"{urlsplit(url).path[1:]}_latin"
    execute(url, f"CREATE DATABASE {name} TEMPLATE template0 ENCODING LATIN1")
    try:
        assert "has the encoding LATIN1; create a database with UTF8" in await refusal(shared_server().url(name))
    finally:
        execute(url, f"DROP DATABASE {name} WITH (FORCE)")


async def test_of_several_hosts_the_one_that_writes_is_used(url: str) -> None:
    execute(url, f"ALTER DATABASE {urlsplit(url).path[1:]} SET default_transaction_read_only = on")
    folder = shared_server().folder
    with pytest.raises(psycopg.OperationalError, match="read-only"):
        psycopg.connect(f"{url}&target_session_attrs=read-write")
    with shared_server().database() as writable:
        name = urlsplit(writable).path[1:]
        store = await opened(f"postgresql://postgres@/{name}?host=/nowhere,{folder}")
        await asyncio.to_thread(store.apply, [submit("a")], NOW)
        await store.close()


PROGRAM = """
import sys
{before}
from submodel_gateway.store.opening import open_store
import submodel_gateway.serve
assert sys.modules.get("psycopg") is None
try:
    open_store("postgresql://localhost/jobs")
    print("psycopg" in sys.modules)
except Exception as error:
    print(type(error).__name__, error)
"""


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("", "True"),
        (
            "sys.modules['psycopg'] = None",
            "StoreUnusable psycopg is missing; install submodel-runtime[postgres]",
        ),
    ],
)
def test_the_driver_is_imported_when_it_is_needed_and_missed_with_its_remedy(before: str, said: str) -> None:
    command = [sys.executable, "-c", PROGRAM.format(before=before)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == said
