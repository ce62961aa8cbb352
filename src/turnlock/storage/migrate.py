"""Bringing the schema up to date, once, whichever node starts first.

The contract (docs/decisions/0004-migrations.md): a release first *expands* (adds tables, nullable columns, indexes: the
previous release runs on the new schema), and only a later release *contracts*. A node that finds a revision it does not
know refuses to start.
"""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from turnlock.errors import ConfigurationError, SchemaTooNew

_MIGRATION_LOCK = 0x7475726E6C6F636B  # "turnlock" in ASCII, a PostgreSQL advisory lock of our own

_OF_DEVELOPMENT: Final = re.compile(r"00[0-9]{2}")
"""Revisions from before the first release. A release's revision is named as its file."""


def migrate(connection: Connection) -> None:
    """Upgrade to the newest known revision inside one transaction, under a lock that all nodes share.

    SQLite's lock is the store's lock file, which the caller holds. Raises SchemaTooNew, and ConfigurationError for
    a store of a development version.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.exec_driver_sql("SET LOCAL lock_timeout = 0")
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})")
    try:
        if not _is_newest(connection):
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except BaseException:
        connection.exec_driver_sql(
            "ROLLBACK"
        ) if connection.dialect.name == "sqlite" else connection.rollback()
        raise
    connection.exec_driver_sql("COMMIT") if connection.dialect.name == "sqlite" else connection.commit()


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "turnlock.storage:migrations")
    return config


@cache
def _revisions() -> tuple[frozenset[str], str | None]:
    """Return all revisions of this release, and the newest. Read once in a process: Alembic compiles each file anew."""
    scripts = ScriptDirectory.from_config(_config())
    return frozenset(script.revision for script in scripts.walk_revisions()), scripts.get_current_head()


def _is_newest(connection: Connection) -> bool:
    """Tell whether there is nothing to do. Raises SchemaTooNew, or ConfigurationError for a development version's revision."""
    known, newest = _revisions()
    found = set(MigrationContext.configure(connection).get_current_heads())
    unknown = found - known
    if any(_OF_DEVELOPMENT.fullmatch(revision) for revision in unknown):
        raise ConfigurationError(
            f"The store is at revision {', '.join(sorted(unknown))}, which a development version of Turnlock made. No release"
            " opens it; start with a new, empty store."
        )
    if unknown:
        raise SchemaTooNew(
            f"The store is at revision {', '.join(sorted(unknown))}, which this version of Turnlock does not know;"
            " run the version that migrated it, or a newer one."
        )
    return found == {newest}
