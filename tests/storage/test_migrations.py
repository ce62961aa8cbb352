"""The schema that migrations make is the one that the rooms declare, however many nodes start at once."""

from __future__ import annotations

import importlib
import pkgutil
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg import sql
from sqlalchemy import Connection, Table, inspect, text

import turnlock
from tests.support import StorePlace
from turnlock.errors import ConfigurationError, SchemaTooNew
from turnlock.local_servers import EmbeddedPostgres
from turnlock.storage import Database, Unit, metadata

WAITING = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

_numbers = count()


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StorePlace]:
    """A store in which nothing was made yet."""
    if request.param == "sqlite":
        place = StorePlace(url=None, data_dir=tmp_path)
        yield place
        place.close()
        return
    admin: psycopg.Connection[Any] = request.getfixturevalue("postgresql_admin")
    server: EmbeddedPostgres = request.getfixturevalue("postgresql_server")
    name = f"turnlock_bare_{next(_numbers)}"
    admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    place = StorePlace(url=server.admin_url(name, driver=None), data_dir=tmp_path)
    yield place
    place.close()
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def declare_every_table() -> None:
    """Import each room's `store`, and what else declares tables, so that the metadata is whole."""
    for module in pkgutil.walk_packages(turnlock.__path__, "turnlock."):
        if module.name.rpartition(".")[2] in {"store", "tables", "leases", "outbox", "heads"}:
            importlib.import_module(module.name)


def newest() -> str:
    """Return the newest revision that this release knows."""
    config = Config()
    config.set_main_option("script_location", "turnlock.storage:migrations")
    return str(ScriptDirectory.from_config(config).get_current_head())


def revision(unit: Unit) -> list[str]:
    return list(unit.connection.execute(text("SELECT version_num FROM alembic_version")).scalars())


def test_fresh_schema_and_declared_schema_are_the_same(database: Database) -> None:
    """Tables, columns, types, nullability, indexes and unique constraints, nothing ignored."""
    declare_every_table()
    differences = database.read(
        lambda unit: compare_metadata(
            MigrationContext.configure(unit.connection, opts={"compare_type": True}), metadata
        )
    )
    assert differences == []


def names_found(connection: Connection, table: str) -> dict[str, object]:
    """Return what autogenerate does not compare: constraint names, foreign keys, partial indexes."""
    seen = inspect(connection)
    return {
        "pk": (seen.get_pk_constraint(table)["name"], seen.get_pk_constraint(table)["constrained_columns"]),
        "fk": sorted(
            (key["name"], key["constrained_columns"], key["referred_table"], key["options"].get("ondelete"))
            for key in seen.get_foreign_keys(table)
        ),
        "ck": sorted(str(check["name"]) for check in seen.get_check_constraints(table)),
        "uq": sorted(
            (str(unique["name"]), unique["column_names"]) for unique in seen.get_unique_constraints(table)
        ),
        "ix": sorted(
            (str(index["name"]), bool(index["unique"]), partial_of(index))
            for index in seen.get_indexes(table)
            if not index.get("duplicates_constraint")
        ),
    }


def partial_of(index: Any) -> bool:
    return any(str(option).endswith("_where") for option in index.get("dialect_options", {}))


def test_constraints_and_indexes_have_the_declared_names(database: Database) -> None:
    """A store that `metadata.create_all` made, and one that the migrations made, name everything alike."""
    declare_every_table()

    def names_of_all(unit: Unit) -> dict[str, dict[str, object]]:
        return {table: names_found(unit.connection, table) for table in metadata.tables}

    found = database.read(names_of_all)

    def remake(unit: Unit) -> None:
        metadata.drop_all(unit.connection)
        metadata.create_all(unit.connection)

    database.write(remake)
    assert found == database.read(names_of_all)


def test_every_key_begins_with_the_account_and_where_it_is_regional_the_region() -> None:
    declare_every_table()
    without_region = {  # IAM is global to an account
        "accounts",
        "access_keys",
        "group_memberships",
        "identities",
        "instance_profiles",
        "login_profiles",
        "managed_policies",
        "managed_policy_versions",
        "mfa_devices",
        "oidc_providers",
        "policy_attachments",
        "sessions",
    }
    of_the_whole_store = {"trail_heads", "trail_keys"}
    for table in metadata.tables.values():
        if table.name in of_the_whole_store:
            continue
        key = [column.name for column in table.primary_key.columns]
        assert key[0] == "account_id", table.name
        assert (key[1:2] == ["region"]) == (table.name not in without_region), table.name


def test_migrating_twice_is_harmless(bare_place: StorePlace) -> None:
    first = bare_place.open()
    before = first.read(revision)
    assert before == [newest()]
    assert bare_place.open().read(revision) == before


def test_nodes_that_start_at_once_on_an_empty_store_migrate_it_once(bare_place: StorePlace) -> None:
    with ThreadPoolExecutor(3) as pool:
        together = threading.Barrier(3)
        starts = [pool.submit(lambda: together.wait(20) < 3 and bare_place.open()) for _ in range(3)]
        assert [start.exception(60) for start in starts] == [None] * 3
    assert [node.read(revision) for node in bare_place.opened] == [[newest()]] * 3


def test_a_node_that_waited_for_anothers_migration_sees_what_it_made(bare_place: StorePlace) -> None:
    """The second node asks for the lock while the first one is still at work: it must not start from what it saw then."""
    if bare_place.dialect == "sqlite":
        bare_place.open()  # the lock file is asked for before anything is read: nothing can go wrong in between
        return
    assert bare_place.url is not None
    with ThreadPoolExecutor(1) as pool, psycopg.connect(bare_place.url) as first:
        first.execute("SELECT pg_advisory_xact_lock(%s)", [0x7475726E6C6F636B])
        second = pool.submit(bare_place.open)
        with psycopg.connect(bare_place.url, autocommit=True) as watcher:
            deadline = time.monotonic() + 20
            while watcher.execute(WAITING).fetchone() != (1,):
                assert time.monotonic() < deadline
                time.sleep(0.01)
        # What the first node makes; the version table stands for all tables.
        first.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
        first.execute("INSERT INTO alembic_version VALUES (%s)", [newest()])
        first.commit()
        second.result(30)


def test_a_store_of_a_newer_release_is_refused_with_a_sentence_and_left_alone(
    store_place: StorePlace,
) -> None:
    store = store_place.open()

    def advance(unit: Unit) -> None:
        unit.connection.execute(text("UPDATE alembic_version SET version_num = '9999_future'"))

    store.write(advance)
    for _ in range(2):  # a refused node holds no lock
        with pytest.raises(
            SchemaTooNew, match=r"revision 9999_future, which this version .* does not know; run"
        ):
            store_place.open()
    assert store.read(revision) == ["9999_future"]


def test_a_store_of_a_development_version_is_refused_with_a_sentence_and_left_alone(
    store_place: StorePlace,
) -> None:
    store = store_place.open()

    def put_back(unit: Unit) -> None:
        unit.connection.execute(text("UPDATE alembic_version SET version_num = '0013'"))

    store.write(put_back)
    with pytest.raises(ConfigurationError, match=r"revision 0013, which a development version .* made.*new"):
        store_place.open()
    assert store.read(revision) == ["0013"]


def test_a_migration_that_fails_leaves_nothing(bare_place: StorePlace) -> None:
    """A table of the same name is in the way, half through: none of the tables before it may stay."""
    in_the_way = "CREATE TABLE secret_versions (x INTEGER)"
    if bare_place.url is None:
        with closing(sqlite3.connect(bare_place.data_dir / "turnlock.db")) as plain:
            plain.execute(in_the_way)
            plain.commit()
    else:
        with psycopg.connect(bare_place.url) as connection:
            connection.execute(in_the_way.encode())
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        bare_place.open()
    if bare_place.url is None:
        with closing(sqlite3.connect(bare_place.data_dir / "turnlock.db")) as plain:
            tables = [row[0] for row in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    else:
        with psycopg.connect(bare_place.url) as connection:
            rows = connection.execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            ).fetchall()
            tables = [row[0] for row in rows]
    assert tables == ["secret_versions"]


def test_the_metadata_has_no_table_twice() -> None:
    declare_every_table()
    tables: list[Table] = list(metadata.tables.values())
    assert len({table.name for table in tables}) == len(tables) >= 14
