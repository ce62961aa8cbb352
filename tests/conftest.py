"""Fixtures of every room: a fresh store for each test, on SQLite and on a real PostgreSQL.

`database` is an opened store; `store_place` opens it with other clocks and subscribers, or as several nodes. The
environment variable TURNLOCK_TEST_STORES (`sqlite`, `postgresql`, or both with a comma) narrows which stores are tested.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import structlog
from hypothesis import settings
from psycopg import sql

from tests import proofs
from tests.sampling import examples
from tests.support import StorePlace
from turnlock.local_servers import EmbeddedPostgres
from turnlock.storage import Database

STORES = tuple(os.environ.get("TURNLOCK_TEST_STORES", "sqlite,postgresql").split(","))
TEMPLATE = "turnlock_template"
# Of hypothesis's own hundred; how long one takes is a matter of what else the machine does. The same ones each time, but in a proof:
# a suite that finds something new by chance says nothing about the change that it judges.
settings.register_profile("turnlock", max_examples=examples(100), deadline=None, derandomize=not proofs.FULL)
settings.load_profile("turnlock")
_UMASK = os.umask(0o022)
os.umask(_UMASK)


@pytest.fixture(autouse=True)
def _umask_as_it_was() -> Iterator[None]:
    """A command that runs in this process, in a test or a fixture of many, makes the files of later tests private too."""
    os.umask(_UMASK)
    yield
    os.umask(_UMASK)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[EmbeddedPostgres]:
    """A real PostgreSQL for the whole session.

    Its files lie in memory where they can: a database of its own costs each test 20 ms there, and 300 ms on a disk.
    """
    memory = Path("/dev/shm")
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory,
        EmbeddedPostgres(
            Path(directory) / "cluster",
            fsync=False,
            # PostgreSQL's own default of memory, not what is enough for a database of one's own beside the server.
            settings={"max_connections": "200", "shared_buffers": "128MB"},
        ) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def postgresql_admin(
    postgresql_server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """The superuser's connection, on a server where the migrated template stands ready."""
    with psycopg.connect(postgresql_server.admin_url(driver=None), autocommit=True) as admin:
        _create_database(admin, TEMPLATE, template="template0")
        url = postgresql_server.admin_url(TEMPLATE, driver=None)
        _migrate(StorePlace(url=url, data_dir=tmp_path_factory.mktemp("postgresql")))
        yield admin


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    directory = tmp_path_factory.mktemp("sqlite")
    _migrate(StorePlace(url=None, data_dir=directory))
    return directory / "turnlock.db"


@pytest.fixture(params=STORES)
def store_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorePlace]:
    """An empty, migrated store that the test opens itself, once or as several nodes."""
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), tmp_path / "turnlock.db")
        place = StorePlace(url=None, data_dir=tmp_path)
        yield place
        place.close()
        return
    admin: psycopg.Connection[tuple[object, ...]] = request.getfixturevalue("postgresql_admin")
    server: EmbeddedPostgres = request.getfixturevalue("postgresql_server")
    name = f"turnlock_test_{next(_numbers)}"
    _create_database(admin, name, template=TEMPLATE)
    place = StorePlace(url=server.admin_url(name, driver=None), data_dir=tmp_path)
    yield place
    place.close()
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def database(store_place: StorePlace) -> Database:
    """An opened, empty store on the machine's clock, with a keyring over a fresh root key."""
    return store_place.open()


@pytest.fixture
def empty_postgresql_url(
    postgresql_admin: psycopg.Connection[tuple[object, ...]], postgresql_server: EmbeddedPostgres
) -> Iterator[str]:
    """The URL of an empty, migrated database for servers that are processes of their own."""
    name = f"turnlock_test_{next(_numbers)}"
    _create_database(postgresql_admin, name, template=TEMPLATE)
    yield postgresql_server.admin_url(name, driver=None)
    postgresql_admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def passable_dir() -> Iterator[Path]:
    """A directory that a server's own account reaches: pytest shuts its own directories whenever a session begins."""
    with tempfile.TemporaryDirectory(prefix="turnlock-") as directory:
        yield Path(directory)


_numbers = count(1)


def _create_database(admin: psycopg.Connection[tuple[object, ...]], name: str, *, template: str) -> None:
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    admin.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))


def _migrate(place: StorePlace) -> None:
    place.open()
    place.close()


@pytest.fixture(autouse=True, scope="session")
def loggers_that_tests_can_hear() -> Iterator[None]:
    """Let no logger keep the set-up of the test that first used it: `capture_logs` of a later one would hear nothing."""
    original = structlog.configure

    def configure(*given: Any, **settings: Any) -> None:
        original(*given, **{**settings, "cache_logger_on_first_use": False})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", configure)
        yield
