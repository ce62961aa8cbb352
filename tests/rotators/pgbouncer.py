"""A real PgBouncer before a PostgreSQL, in transaction mode with one connection for each user."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from turnlock.local_servers import EmbeddedPostgres

_CONFIGURATION = """\
[databases]
{databases}
* = host=127.0.0.1 port={server}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {home}/users
auth_user = postgres
pool_mode = transaction
default_pool_size = 1
server_login_retry = 1
query_wait_timeout = 3
{more}
"""

ASKS = "auth_query = SELECT usename, passwd FROM pg_shadow WHERE usename=$1"
"""The line that has it ask the server for the passwords of users that it does not know itself."""


@contextmanager
def pgbouncer(
    server: EmbeddedPostgres, more: str = ASKS, *, databases: str = "", users: str = ""
) -> Iterator[int]:
    """Start one with `more` lines in its configuration, for `databases` and `users` as well; gives its port.

    Skips the test where it is not installed.
    """
    program = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        pytest.skip("NOT RUN: install the package pgbouncer")
    with tempfile.TemporaryDirectory(prefix="turnlock-") as directory:
        home, port = Path(directory), _free_port()
        (home / "users").write_text(f'"postgres" "{server.password}"\n{users}\n')
        (home / "ini").write_text(
            _CONFIGURATION.format(server=server.port, port=port, home=home, more=more, databases=databases)
        )
        for path in (home, *home.iterdir()):
            path.chmod(0o755)
        account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        process = subprocess.Popen(
            [program, str(home / "ini")],
            user=account and account.pw_uid,
            group=account and account.pw_gid,
            extra_groups=[] if account else None,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _await(port, process)
            yield port
        finally:
            process.terminate()
            process.wait(60)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None, "PgBouncer did not start"
            assert time.monotonic() < deadline, "PgBouncer does not listen"
            time.sleep(0.05)
        else:
            return
