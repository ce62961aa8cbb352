"""What can go wrong around a rotation of any engine: parts that are killed, sessions that drop, disks that fill, passwords refused."""

from __future__ import annotations

import json
import random
import resource
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pymysql

from tests.engines.estates import Estate, MySQLFamilyEstate, PostgreSQLEstate
from tests.faults.conductor import Conductor
from tests.processes import Client, Process, ServerProcess, family, wait_until
from turnlock.errors import ConfigurationError

LEASE_SECONDS = 1.5
LONGEST_AWAY = 1.0
"""Seconds for which a killed database, or a full disk, stays so."""
_NO_LIMIT = resource.RLIM_INFINITY
_FULL = 64 * 1024
"""Bytes beyond which nothing may grow on a disk that is full: every server's files are larger."""


@dataclass(kw_only=True)
class Ground:
    """One engine's server, a watched Turnlock on SQLite, and the conductor of its moments."""

    estate: Estate
    server: ServerProcess
    conductor: Conductor
    master: str
    """The ARN of the master user's secret."""

    def client(self) -> Client:
        """Return a client that tries again while something is away, as every SDK does."""
        return self.server.client(retries={"mode": "standard", "total_max_attempts": 6})

    def ready(self) -> None:
        """Start what a failed case has left dead, and take back what it left broken."""
        limit_files(self.database_processes(), _NO_LIMIT)
        if not self.estate.server.running:
            self.estate.server.start()
        accept_all(self.estate)
        if not self.server.running:
            self.server.kill()
            self.server.start()
        limit_files(self.server.family(), _NO_LIMIT)

    def database_processes(self) -> list[Process]:
        """Return the processes of the database's server."""
        return family(self.estate.server.pid) if self.estate.server.running else []


@contextmanager
def ground(estate: Estate, directory: Path) -> Iterator[Ground]:
    """Set the parts up; ConfigurationError where the machine has no server of this engine."""
    estate.start()
    options = ("--lease-seconds", str(LEASE_SECONDS), "--first-delay", "1")
    try:
        with (
            Conductor() as conductor,
            ServerProcess(directory / "turnlock", options=options, entry=conductor.entry) as server,
        ):
            arn = server.client().create_secret(Name="master", SecretString=json.dumps(estate.master()))[
                "ARN"
            ]
            yield Ground(estate=estate, server=server, conductor=conductor, master=arn)
    finally:
        estate.stop()


def kill_functions(place: Ground) -> None:
    functions = place.server.functions()
    for function in functions:
        function.signal(signal.SIGKILL)
    wait_until(lambda: not any(one.alive for one in functions), 60, "the end of the functions")


def drop_sessions(estate: Estate) -> None:
    """End every session that a rotation has, from the database's side."""
    if isinstance(estate, PostgreSQLEstate):
        with psycopg.connect(estate.server.admin_url(driver=None), autocommit=True) as admin:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'turnlock-rotation'"
            )
        return
    assert isinstance(estate, MySQLFamilyEstate)
    rows = estate.server.execute("SELECT id FROM information_schema.PROCESSLIST WHERE id <> CONNECTION_ID()")
    for (number,) in rows:
        with suppress(pymysql.err.Error):
            estate.server.execute(f"KILL CONNECTION {number}")


def limit_files(processes: list[Process], size: int) -> None:
    """Let no file of these processes grow beyond `size`: writes fail as on a full disk."""
    for one in processes:
        with suppress(ProcessLookupError, PermissionError):
            hard = resource.prlimit(one.pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(one.pid, resource.RLIMIT_FSIZE, (size, hard))


REFUSING: Mapping[str, tuple[str, ...]] = {
    "mysql": (
        "INSTALL COMPONENT 'file://component_validate_password'",
        "SET GLOBAL validate_password.length = 64",
    ),
    "mariadb": (
        "INSTALL SONAME 'simple_password_check'",
        "SET GLOBAL simple_password_check_minimal_length = 64",
    ),
    "postgres": ("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"),
}
"""What makes each server refuse a new password. PostgreSQL cannot judge a SCRAM verifier; there, it refuses to write."""
ACCEPTING: Mapping[str, tuple[str, ...]] = {
    "mysql": ("UNINSTALL COMPONENT 'file://component_validate_password'",),
    "mariadb": ("UNINSTALL SONAME 'simple_password_check'",),
    "postgres": ("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"),
}


def _administer(estate: Estate, statements: tuple[str, ...]) -> None:
    if isinstance(estate, PostgreSQLEstate):
        with psycopg.connect(estate.server.admin_url(driver=None), autocommit=True) as admin:
            admin.execute("SET default_transaction_read_only = off")
            for statement in statements:
                admin.execute(statement)
        return
    assert isinstance(estate, MySQLFamilyEstate)
    for statement in statements:
        estate.server.execute(statement)


def refuse_passwords(estate: Estate) -> None:
    """Have the server refuse every new password from now on."""
    _administer(estate, REFUSING[estate.engine])


def accept_all(estate: Estate) -> None:
    """Have the server accept new passwords again."""
    with suppress(pymysql.err.Error):  # it did all the time
        _administer(estate, ACCEPTING[estate.engine])


def _drop_for_a_while(place: Ground, dice: random.Random) -> None:
    until = time.monotonic() + dice.uniform(0.1, 0.5)
    while time.monotonic() < until:
        drop_sessions(place.estate)
        time.sleep(0.01)


def _full_database(place: Ground, dice: random.Random) -> None:
    processes = place.database_processes()
    limit_files(processes, _FULL)
    time.sleep(dice.uniform(0.1, LONGEST_AWAY))
    limit_files(place.database_processes(), _NO_LIMIT)
    _revive(place)


def _full_store(place: Ground, dice: random.Random) -> None:
    members = place.server.servers()
    limit_files(members, _FULL)
    time.sleep(dice.uniform(0.1, LONGEST_AWAY))
    limit_files(members, _NO_LIMIT)


def _revive(place: Ground) -> None:
    """Start the database again, as its supervisor does, where it did not survive."""
    server = place.estate.server
    for attempts_left in (3, 2, 1, 0):
        try:
            if server.running and place.estate.version():
                return
        except place.estate.failures:
            time.sleep(0.3)
        try:
            if not server.running:
                server.kill()
                server.start()
        except ConfigurationError:
            if not attempts_left:
                raise


def _kill_database(place: Ground, dice: random.Random) -> None:
    place.estate.server.kill()
    time.sleep(dice.uniform(0, LONGEST_AWAY))
    place.estate.server.start()


def _kill_server(place: Ground, _dice: random.Random) -> None:
    place.server.kill()
    place.server.start()


def _refuse_until_noticed(place: Ground, _dice: random.Random) -> None:
    refuse_passwords(place.estate)


BREAKAGES: Mapping[str, Callable[[Ground, random.Random], None]] = {
    "server": _kill_server,
    "function": lambda place, _dice: kill_functions(place),
    "database": _kill_database,
    "connection": _drop_for_a_while,
    "database-disk": _full_database,
    "store-disk": _full_store,
    "password": _refuse_until_noticed,
}
