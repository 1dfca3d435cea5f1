"""PostgreSQL for tests: servers that start by themselves in a temporary folder and are gone afterwards.

They listen on a Unix socket in that folder alone, if not told otherwise. As root they run as an unprivileged user:
PostgreSQL insists on it. When the test process is killed, a watchdog that reads from it sees the end of its pipe, ends
the server and deletes the folder.
"""

import atexit
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Self

import psycopg
import pytest

SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # a killed server loses nothing by that, only a machine without power does
    "full_page_writes": "off",
    "max_connections": "200",
    "log_min_messages": "warning",
}

_WATCHDOG = """
cat >/dev/null
file=$1/data/postmaster.pid
pid=$(head -n 1 "$file") && kill -QUIT "$pid" && while [ -e "$file" ] && kill -0 "$pid"; do sleep 0.05; done
rm -rf "$1"
"""


class PostgresServer:
    """A server with a user `postgres` who needs no password. Use as a context manager, or `close` it."""

    def __init__(self, **settings: str) -> None:
        """Start a server; `settings` are those of `postgresql.conf`. Skips or fails the test where it is missing."""
        self._programs = _programs()
        self._account = _account()
        # Not TMPDIR: as root that may be a folder which nobody else may enter.
        place = "/tmp" if self._account else None
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=place))
        self._watchdog = subprocess.Popen(
            ["sh", "-c", _WATCHDOG, "sh", str(self.folder)],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        if self._account:
            shutil.chown(self.folder, self._account)
        self._run("initdb", "--auth=trust", "--username=postgres", "--no-sync", "--encoding=UTF8", "--locale=C")
        lines = {"unix_socket_directories": str(self.folder), **SETTINGS, **settings}
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in lines.items())
        self.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def url(self, database: str = "postgres", user: str = "postgres", folder: Path | None = None) -> str:
        """Where `database` is; `folder` holds the socket of something that stands between."""
        return f"postgresql://{user}@/{database}?host={folder or self.folder}"

    @property
    def watchdog_pid(self) -> int:
        """The process that clears up when this one cannot."""
        return self._watchdog.pid

    @property
    def socket(self) -> Path:
        """The Unix socket that it listens on."""
        return self.folder / ".s.PGSQL.5432"

    @property
    def log(self) -> str:
        """What the server said."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Returns when it takes connections; recovers first after an immediate stop."""
        self._run("pg_ctl", "start", "--wait", "--silent", f"--log={self.folder / 'log'}")

    def stop(self, *, immediate: bool = False) -> None:
        """End it; `immediate` ends its processes without a word, as a crash does."""
        self._run("pg_ctl", "stop", "--wait", "--silent", f"--mode={'immediate' if immediate else 'fast'}")

    def restart(self, *, immediate: bool = False) -> None:
        """Returns when it takes connections again."""
        self.stop(immediate=immediate)
        self.start()

    def let_in(self, network: str) -> None:
        """Ask nobody from this network for a password, once `listen_addresses` lets them come."""
        with (self.folder / "data" / "pg_hba.conf").open("a") as file:
            file.write(f"host all all {network} trust\n")
        self.execute("SELECT pg_reload_conf()")

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Rows of one statement, run by the superuser outside a transaction."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def database(self) -> Iterator[str]:
        """URL of an empty database."""
        name = f"test_{secrets.token_hex(6)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:
            yield self.url(name)
        finally:
            self.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        """End the server and delete its folder."""
        self._watchdog.communicate()

    def _run(self, program: str, *arguments: str) -> None:
        ran = subprocess.run(
            [self._programs / program, *arguments, f"--pgdata={self.folder / 'data'}"],
            user=self._account,
            group=self._account and pwd.getpwnam(self._account).pw_gid,
            extra_groups=[] if self._account else None,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{program} failed: {ran.stderr}\n{self.log if program == 'pg_ctl' else ''}"


@cache
def shared_server() -> PostgresServer:
    """One server for all tests of this process, which leave it as it is; ended at its exit."""
    server = PostgresServer()
    atexit.register(server.close)
    return server


def _account() -> str | None:
    """Whom the server runs as, None for whoever we are."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _programs() -> Path:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    program = str(installed[-1]) if installed else shutil.which("initdb")
    if program:
        return Path(program).resolve().parent
    if os.environ.get("CI"):  # noqa: TID251  # which tools a machine must have is said by its environment
        pytest.fail("PostgreSQL is missing; run .ci/install-postgresql as root")
    pytest.skip("PostgreSQL is missing; run .ci/install-postgresql as root, or put its programs on PATH")
