"""Whoever can write the store changes every column of every table: an alarm or an error, or SECURITY.md says that it is unseen."""

from __future__ import annotations

import hmac
import re
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Integer, MetaData, Table, select
from structlog.testing import capture_logs

from tests.every_row import Estate, Exercise, exercises
from turnlock.accounts.entities import store as identities
from turnlock.core.ports import SystemClock, SystemEntropy
from turnlock.errors import ConfigurationError
from turnlock.functions.api import store as functions
from turnlock.functions.logs import groups
from turnlock.iam import instance_profiles, login_profiles
from turnlock.iam.mfa import store as devices_store
from turnlock.iam.providers import store as providers_store
from turnlock.root_key_rotation import MACS
from turnlock.root_keys.records import Records
from turnlock.storage import Unit, open_database
from turnlock.storage.database import Surroundings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

SECURITY = Path(__file__).parents[1] / "SECURITY.md"
ALEMBIC = "alembic_version"
OWNERS = {"resource_policies": {"name": "keyed"}}
"""Where a copied row is put, for tables in which it would belong to nothing else."""

Outcome = tuple[str, str]

_noticed: Counter[str] = Counter()
"""What noticed a change last is asked first: mostly it notices the next one too."""


def listed() -> dict[str, set[str]]:
    """Return what SECURITY.md says may be changed unseen: by table, columns and whether whole rows may."""
    text = SECURITY.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_]+)` \| ([^|]*(?:`|rows )[^|]*) \| [^|]+ \|$", text, re.MULTILINE)
    return {table: set(re.findall(r"(?<=`)\w+(?=`)|rows added|rows removed", cells)) for table, cells in rows}


def outcome_of(estate: Estate, exercise: Exercise) -> tuple[Outcome, bool]:
    """Return how an exercise ends, and whether it raised the alarm; what it did is undone."""
    unit = estate.unit()
    estate.driver.execute("SAVEPOINT exercise")
    with capture_logs() as logged:
        try:
            outcome = ("answer", repr(exercise(unit)))
        except Exception as error:  # noqa: BLE001 (an error is what is looked for)
            outcome = ("error", type(error).__name__)
    estate.driver.execute("ROLLBACK TO exercise")
    return outcome, any(line["action"] == "seal_broken" for line in logged)


@contextmanager
def undone(estate: Estate) -> Iterator[None]:
    estate.driver.execute("BEGIN")
    try:
        yield
    finally:
        estate.driver.execute("ROLLBACK")


def others(value: object, *, number: bool) -> list[object]:
    """Return other values than this one: one of its kind, and NULL."""
    if value is None:
        return [1 if number else "x"]
    if isinstance(value, bytes):
        return [value[:-1] + bytes([value[-1] ^ 1]) if value else b"x", None]
    return [value + 1 if isinstance(value, int) else f"{value}x", None]


def changes_of(table: Table, row: Mapping[str, Any]) -> Iterator[tuple[str, str, list[Any]]]:
    """Yield (what is changed, statement, parameters) for a row."""
    key = [column.name for column in table.primary_key] or [column.name for column in table.c]
    here = " AND ".join(f'"{name}" IS ?' for name in key)
    place = [row[name] for name in key]
    for column in table.c:
        for value in others(row[column.name], number=isinstance(column.type, Integer)):
            statement = f'UPDATE "{table.name}" SET "{column.name}" = ? WHERE {here}'
            yield column.name, statement, [value, *place]
    yield "rows removed", f'DELETE FROM "{table.name}" WHERE {here}', place
    copy = {**row, key[-1]: others(row[key[-1]], number=False)[0], **OWNERS.get(table.name, {})}
    names, marks = ", ".join(f'"{name}"' for name in copy), ", ".join("?" for _ in copy)
    yield "rows added", f'INSERT INTO "{table.name}" ({names}) VALUES ({marks})', list(copy.values())


def read_every_row(unit: Unit) -> None:
    """Check every MAC of the store as whoever reads that row does."""
    for one in MACS:
        if one.rows is None:
            for row in unit.connection.execute(select(one.table)).mappings():
                assert hmac.compare_digest(one.mac_of(unit, dict(row)), bytes(row["mac"])), one.table.name
    for module in (
        functions,
        identities,
        login_profiles,
        providers_store,
        devices_store,
        instance_profiles,
        groups,
    ):
        for value in vars(module).values():
            if isinstance(value, Records):
                value.all(unit)


def notices(
    estate: Estate,
    usual: Mapping[str, Outcome],
    readers: Mapping[str, Exercise],
    statement: str,
    parameters: list[Any],
) -> bool:
    """Tell whether something ends with an alarm, or with an error where it did not before, once a statement was carried out."""
    with undone(estate):
        estate.driver.execute(statement, parameters)
        for name in sorted(readers, key=lambda one: -_noticed[one]):
            outcome, alarmed = outcome_of(estate, readers[name])
            if alarmed or (outcome[0] == "error" and usual[name][0] != "error"):
                _noticed[name] = max(_noticed.values(), default=0) + 1
                return True
    return False


def opens(estate: Estate, directory: Path, statement: str, parameters: list[Any]) -> bool:
    """Tell whether a server opens a copy of the store in which a statement was carried out."""
    path = directory / "copy" / "turnlock.db"
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as copy:
        estate.driver.backup(copy)
        copy.execute(statement, parameters)
    surroundings = Surroundings(clock=SystemClock(), entropy=SystemEntropy(), keyring=estate.keyring)
    try:
        open_database(url=None, data_dir=path.parent, surroundings=surroundings).close()
    except ConfigurationError:
        return False
    return True


def test_what_is_changed_is_found_or_listed(tmp_path: Path) -> None:
    """A key column that is changed moves a row: it is gone from where it was, and like one that was added where it is now."""
    with Estate.fresh(tmp_path) as estate:
        known = exercises(estate.facts)
        everywhere = {**known, "every row": read_every_row}
        with undone(estate):
            found = {name: outcome_of(estate, exercise) for name, exercise in everywhere.items()}
        assert [name for name, (_, alarmed) in found.items() if alarmed] == []
        usual = {name: outcome for name, (outcome, _) in found.items()}
        assert {name: one for name, one in usual.items() if one[0] == "error"} == {}
        metadata = MetaData()
        metadata.reflect(estate.connection)
        unseen: defaultdict[str, set[str]] = defaultdict(set)
        changes = 0
        for table in metadata.sorted_tables:
            names = [column.name for column in table.c]
            rows = estate.driver.execute(f'SELECT * FROM "{table.name}"').fetchall()
            assert rows, f"{table.name} is empty"
            moved = {column.name for column in table.primary_key} | {"rows added"}
            for row in rows[:4]:
                for what, statement, parameters in changes_of(table, dict(zip(names, row, strict=True))):
                    if what in unseen[table.name]:
                        continue
                    with suppress(sqlite3.IntegrityError):
                        if table.name == ALEMBIC:
                            noticed = not opens(estate, tmp_path, statement, parameters)
                        else:
                            readers = everywhere if what in moved else known
                            noticed = notices(estate, usual, readers, statement, parameters)
                        changes += 1
                        if not noticed:
                            unseen[table.name].add(what)
    print(changes, {table: sorted(what) for table, what in unseen.items() if what})
    assert changes > 600
    assert {table: what for table, what in unseen.items() if what} == listed()
