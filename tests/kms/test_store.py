"""The tables of keys as the migrations make them."""

from __future__ import annotations

from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect

from turnlock.kms.tables import kms_aliases, kms_key_materials, kms_keys
from turnlock.storage import Database, Unit, metadata

TABLES = (kms_keys, kms_key_materials, kms_aliases)


def test_the_declared_tables_are_those_that_the_migrations_make(database: Database) -> None:
    names = {table.name for table in TABLES}

    def ours(item: Any, _name: str | None, kind: str, _reflected: bool, _compared: object) -> bool:
        return (item if kind == "table" else item.table).name in names

    def is_ours(name: str | None, kind: str, _parents: object) -> bool:
        return kind != "table" or name in names  # what is left out here is not even looked at

    def differences(unit: Unit) -> list[object]:
        options = {"include_object": ours, "include_name": is_ours, "compare_type": True}
        return list(compare_metadata(MigrationContext.configure(unit.connection, opts=options), metadata))

    assert database.read(differences) == []


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_primary_and_foreign_keys_are_named_alike(database: Database, table: object) -> None:
    declared = next(each for each in TABLES if each is table)

    def stored(unit: Unit) -> tuple[object, list[str], list[object]]:
        inspector = inspect(unit.connection)
        primary = inspector.get_pk_constraint(declared.name)
        foreign = inspector.get_foreign_keys(declared.name)
        return primary["name"], primary["constrained_columns"], [key["name"] for key in foreign]

    assert database.read(stored) == (
        f"pk_{declared.name}",
        [column.name for column in declared.primary_key.columns],
        [key.name for key in declared.foreign_key_constraints],
    )
