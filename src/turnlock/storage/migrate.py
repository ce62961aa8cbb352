"""Bringing the schema up to date, once, whichever node starts first.

The contract (docs/decisions/0004-migrations.md): a release first *expands* (adds tables, nullable columns, indexes: the
previous release runs on the new schema), and only a later release *contracts*. A node that finds a revision it does not
know refuses to start.
"""

from __future__ import annotations

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from turnlock.errors import SchemaTooNew

_MIGRATION_LOCK = 0x7475726E6C6F636B  # "turnlock" in ASCII, a PostgreSQL advisory lock of our own


def migrate(connection: Connection) -> None:
    """Upgrade to the newest known revision inside one transaction, under a lock that all nodes share.

    SQLite's lock is the store's lock file, which the caller holds. Raises SchemaTooNew.
    """
    config = Config()
    config.set_main_option("script_location", "turnlock.storage:migrations")
    config.attributes["connection"] = connection
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    try:
        _refuse_newer(connection, ScriptDirectory.from_config(config))
        command.upgrade(config, "head")
    except BaseException:
        connection.exec_driver_sql(
            "ROLLBACK"
        ) if connection.dialect.name == "sqlite" else connection.rollback()
        raise
    connection.exec_driver_sql("COMMIT") if connection.dialect.name == "sqlite" else connection.commit()


def _refuse_newer(connection: Connection, scripts: ScriptDirectory) -> None:
    """Raise SchemaTooNew unless every revision in the store is one of ours."""
    known = {script.revision for script in scripts.walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if unknown := found - known:
        raise SchemaTooNew(
            f"The store is at revision {', '.join(sorted(unknown))}, which this version of Turnlock does not know;"
            " run the version that migrated it, or a newer one."
        )
