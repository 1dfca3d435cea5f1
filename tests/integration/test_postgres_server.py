"""The servers that the tests start: nothing of them is left over, whatever happens to the test process."""

import os
import select
import subprocess
import sys
from pathlib import Path

from tests.support.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
START = """
from tests.support.postgres import PostgresServer
server = PostgresServer()
print(server.watchdog_pid, server.folder, flush=True)
input()
"""


def test_a_killed_test_process_leaves_no_server_behind() -> None:
    with PostgresServer():  # skips or fails here where PostgreSQL is missing
        process = subprocess.Popen(
            [sys.executable, "-c", START], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        watchdog, folder = process.stdout.readline().split()
        assert (Path(folder) / "data" / "postmaster.pid").exists()
        ended = select.poll()
        handle = os.pidfd_open(int(watchdog))
        ended.register(handle, select.POLLIN)
        process.kill()
        process.communicate()
        assert ended.poll(30_000), "the watchdog is still there"
        os.close(handle)
        assert not Path(folder).exists()


def test_what_is_committed_survives_an_immediate_restart() -> None:
    with PostgresServer() as server:
        server.execute("CREATE TABLE kept AS SELECT 1 AS one")
        server.restart(immediate=True)
        assert server.execute("SELECT one FROM kept") == [(1,)]
