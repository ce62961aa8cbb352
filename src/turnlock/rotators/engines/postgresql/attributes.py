"""What one role does not inherit from another: attributes, the expiry of its password, and settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import LiteralString, NamedTuple

from psycopg import sql

from turnlock.rotators.engines.postgresql.login import LONGEST_NAME, Connection

_ATTRIBUTES: LiteralString = """
SELECT r.rolcreatedb, r.rolcreaterole, r.rolbypassrls, r.rolreplication, r.rolconnlimit,
       coalesce(r.rolvaliduntil::pg_catalog.text, 'infinity')
FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""
_WORDS: tuple[LiteralString, ...] = ("CREATEDB", "CREATEROLE", "BYPASSRLS", "REPLICATION")

_SETTINGS: LiteralString = """
SELECT d.datname::pg_catalog.text, s.setconfig
FROM pg_catalog.pg_db_role_setting s
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) s.setrole
LEFT JOIN pg_catalog.pg_database d ON d.oid OPERATOR(pg_catalog.=) s.setdatabase
WHERE r.rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""

LEFT_OUT = frozenset({"role", "session_authorization"})
"""Settings that say who a session acts as: the strategy decides that for the twin."""

_NAMES = frozenset({"search_path", "temp_tablespaces"})
_FILES = frozenset({"local_preload_libraries", "session_preload_libraries"})
"""Settings whose value is a list, kept as text with its elements in quotation marks (GUC_LIST_QUOTE) where they need them."""


class Setting(NamedTuple):
    """One setting of a role."""

    database: str | None
    """None: in every database."""
    name: str
    value: tuple[str, ...]
    """More than one element only where the setting is a list."""

    def statement(self, role: str) -> sql.Composed:
        """Return the ALTER ROLE that makes it."""
        place: sql.Composable = sql.SQL("")
        if self.database is not None:
            place = sql.SQL(" IN DATABASE {}").format(sql.Identifier(self.database))
        return sql.SQL("ALTER ROLE {}{} SET {} TO {}").format(
            sql.Identifier(role),
            place,
            sql.Identifier(*self.name.split(".")),
            sql.SQL(", ").join(map(sql.Literal, self.value)),
        )


def carry(connection: Connection, model: str, twin: str) -> None:
    """Give the twin its model's attributes and settings; in `fixed`."""
    (*flags, limit, until), (*present, _, _) = (
        connection.execute(_ATTRIBUTES, (role,)).fetchall()[0] for role in (model, twin)
    )
    changed = [
        word if wanted else f"NO{word}"
        for word, wanted, is_so in zip(_WORDS, flags, present, strict=True)
        if wanted is not is_so
    ]
    connection.execute(
        sql.SQL("ALTER ROLE {} {} CONNECTION LIMIT {} VALID UNTIL {}").format(
            sql.Identifier(twin), sql.SQL(" ".join(changed)), sql.Literal(limit), sql.Literal(until)
        )
    )
    for setting in missing(connection, model, twin):
        connection.execute(setting.statement(twin))


def missing(connection: Connection, model: str, twin: str) -> list[Setting]:
    """Return the model's settings that the twin has not, but for those of `LEFT_OUT`."""
    present = set(settings(connection, twin))
    return [
        setting
        for setting in settings(connection, model)
        if setting not in present and setting.name not in LEFT_OUT
    ]


def settings(connection: Connection, role: str) -> Iterator[Setting]:
    """Yield a role's settings; a list that PostgreSQL itself could not read, and so ignores, is left out."""
    for database, lines in connection.execute(_SETTINGS, (role,)).fetchall():
        for line in lines:
            name, _, text = line.partition("=")
            value = elements(name.lower(), text) if name.lower() in _NAMES | _FILES else (text,)
            if value is not None:
                yield Setting(database, name.lower() if name.lower() in LEFT_OUT else name, value)


def elements(name: str, text: str) -> tuple[str, ...] | None:
    """Return the elements of a list as PostgreSQL reads it (SplitIdentifierString); None when it is none.

    A name outside of quotation marks is folded to lower case and cut to 63 bytes, a file's is not; no elements are one empty text.
    """
    found = list[str]()
    rest = text.strip(_SPACE)
    while rest or found:
        if rest.startswith('"'):
            end = _closing(rest)
            if end is None:
                return None
            element, rest = rest[1:end].replace('""', '"'), rest[end + 1 :].lstrip(_SPACE)
        else:
            element, comma, after = rest.partition(",")
            rest, element = comma + after, element.rstrip(_SPACE)
            if not element or any(space in element for space in _SPACE):
                return None
            element = _folded(element) if name in _NAMES else element
        found.append(_cut(element) if name in _NAMES else element)
        if not rest:
            break
        if not rest.startswith(","):
            return None
        rest = rest[1:].lstrip(_SPACE)
    return tuple(found) or ("",)


_SPACE = " \t\n\r\f\v"


def _closing(text: str) -> int | None:
    """Return where the quotation mark is that closes the one at the beginning."""
    place = 1
    while (place := text.find('"', place)) >= 0:
        if text[place + 1 : place + 2] != '"':
            return place
        place += 2
    return None


def _folded(name: str) -> str:
    return "".join(letter.lower() if letter.isascii() else letter for letter in name)


def _cut(name: str) -> str:
    return name.encode()[:LONGEST_NAME].decode(errors="ignore")
