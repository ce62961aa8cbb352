"""A table of the tests' own, and units of work on it."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import BigInteger, Column, ForeignKey, MetaData, Table, Text, select, update

from turnlock.storage import Database, Unit

notes = Table(
    "notes",
    MetaData(),
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
    # Checked by the database at COMMIT and not before: what a test needs to make a commit fail.
    Column("after", ForeignKey("notes.name", name="fk_notes_after", deferrable=True, initially="DEFERRED")),
)


def make_notes(database: Database) -> Database:
    """Add the table to a store."""
    database.write(lambda unit: notes.create(unit.connection))
    return database


def put(name: str, value: int = 0) -> Callable[[Unit], str]:
    """Return work that inserts a note and answers with its name."""

    def work(unit: Unit) -> str:
        unit.connection.execute(notes.insert().values(name=name, value=value))
        return name

    return work


def fail_at_commit(unit: Unit) -> None:
    """Insert what no COMMIT can keep."""
    unit.connection.execute(notes.insert().values(name="orphan", value=0, after="nobody"))


def increment(name: str) -> Callable[[Unit], int]:
    """Return work that reads a note's value, adds one, writes it, and answers with it."""

    def work(unit: Unit) -> int:
        value = unit.connection.execute(select(notes.c.value).where(notes.c.name == name)).scalar_one() + 1
        unit.connection.execute(update(notes).where(notes.c.name == name).values(value=value))
        return int(value)

    return work


def names_in(unit: Unit) -> list[str]:
    """Return the names of all notes, sorted."""
    return sorted(unit.connection.execute(select(notes.c.name)).scalars())


def names(database: Database) -> list[str]:
    """Return the names of all notes, sorted, in a read of its own."""
    return database.read(names_in)
