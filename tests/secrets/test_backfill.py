"""Revision 0003 gives the secrets that are there what new ones get: the same terms."""

from __future__ import annotations

import importlib
from typing import Any

from sqlalchemy import select, update

from tests.calling import Client
from tests.secrets.test_search import fill, find
from turnlock.secrets.tables import secret_terms, secrets
from turnlock.storage import Unit

REVISION = importlib.import_module("turnlock.storage.migrations.versions.0003_search_and_last_access")


def kept(unit: Unit) -> tuple[Any, Any]:
    """Return what searching reads of all secrets."""
    rows = unit.connection.execute(select(secret_terms)).all()
    texts = unit.connection.execute(select(secrets.c.name, secrets.c.terms)).all()
    return {tuple(row) for row in rows}, {row.name: row.terms for row in texts}


def test_secrets_that_are_there_are_found_as_new_ones(client: Client) -> None:
    fill(client)
    tags = [{"Key": "a\nb", "Value": "x" * 256}, {"Key": "ключ", "Value": "🔑 Two words"}]
    client("CreateSecret", Name="odd", Description="A " + "b" * 2000, Tags=tags)
    before = client.database.read(kept)

    def migrate(unit: Unit) -> None:
        unit.connection.execute(secret_terms.delete())
        unit.connection.execute(update(secrets).values(terms=None))
        REVISION._fill(unit.connection, secret_terms)

    client.database.write(migrate)
    assert client.database.read(kept) == before
    assert find(client, "all", "two") == ["odd"]
