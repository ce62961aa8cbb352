"""What two PostgreSQL roles were granted by name, handed over to the group that holds the rights of both.

Each grant is read as rows of names and ids, made into a statement by the driver's quoting, and then looked at: the object that was
meant must be the one that this transaction changed. An owner who renames schemas in the meantime puts another object under the
name, and would be given a right to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from turnlock.rotators.engines.engine import DatabaseFailed
from turnlock.rotators.engines.postgresql.login import Connection

_NOT_GRANTED = frozenset({"01007", "01006"})
"""privilege_not_granted and privilege_not_revoked (PostgreSQL, Appendix A), which are warnings."""

_PRIVILEGES: frozenset[LiteralString] = frozenset(
    {
        "ALTER SYSTEM", "CONNECT", "CREATE", "DELETE", "EXECUTE", "INSERT", "MAINTAIN", "REFERENCES",
        "SELECT", "SET", "TEMPORARY", "TRIGGER", "TRUNCATE", "UPDATE", "USAGE",
    }
)  # fmt: skip
"""What aclexplode calls them (PostgreSQL, "Privileges")."""

_PARAMETERS_SINCE = 150000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """One kind of object that privileges are granted on."""

    words: LiteralString
    """What GRANT calls it."""
    catalog: LiteralString
    acl: LiteralString
    names: LiteralString
    """An array of the parts of the object's name; the catalogue's row is `o`."""
    join: LiteralString = ""
    types: LiteralString = "NULL::pg_catalog.text[]"
    """Of a routine, the schema and name of each argument's type."""
    column: LiteralString = "NULL::pg_catalog.text"
    key: LiteralString = "o.oid"
    part: LiteralString = "0::pg_catalog.int2"
    """The number of the column, where privileges are granted on one."""
    since: int = 0


_SCHEMA: LiteralString = "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) o."
_TEXTS: LiteralString = "::pg_catalog.text[]"

_KINDS = (
    _Kind(
        words="TABLE",
        catalog="pg_class",
        acl="relacl",
        names=f"ARRAY[n.nspname, o.relname]{_TEXTS}",
        join=f"{_SCHEMA}relnamespace AND o.relkind OPERATOR(pg_catalog.<>) 'S'",
    ),
    _Kind(
        words="SEQUENCE",
        catalog="pg_class",
        acl="relacl",
        names=f"ARRAY[n.nspname, o.relname]{_TEXTS}",
        join=f"{_SCHEMA}relnamespace AND o.relkind OPERATOR(pg_catalog.=) 'S'",
    ),
    _Kind(
        words="TABLE",
        catalog="pg_attribute",
        acl="attacl",
        names=f"ARRAY[n.nspname, c.relname]{_TEXTS}",
        join="JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) o.attrelid AND NOT o.attisdropped"
        " JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace",
        column="o.attname::pg_catalog.text",
        key="o.attrelid",
        part="o.attnum",
    ),
    _Kind(words="SCHEMA", catalog="pg_namespace", acl="nspacl", names=f"ARRAY[o.nspname]{_TEXTS}"),
    _Kind(words="DATABASE", catalog="pg_database", acl="datacl", names=f"ARRAY[o.datname]{_TEXTS}"),
    _Kind(
        words="ROUTINE",
        catalog="pg_proc",
        acl="proacl",
        names=f"ARRAY[n.nspname, o.proname]{_TEXTS}",
        join=f"{_SCHEMA}pronamespace",
        types="ARRAY(SELECT s.name FROM pg_catalog.unnest(o.proargtypes) WITH ORDINALITY AS a (type, place)"
        " JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) a.type"
        " JOIN pg_catalog.pg_namespace tn ON tn.oid OPERATOR(pg_catalog.=) t.typnamespace"
        " CROSS JOIN LATERAL (VALUES (1, tn.nspname), (2, t.typname)) AS s (part, name)"
        " ORDER BY a.place, s.part)::pg_catalog.text[]",
    ),
    _Kind(
        words="TYPE",
        catalog="pg_type",
        acl="typacl",
        names=f"ARRAY[n.nspname, o.typname]{_TEXTS}",
        join=f"{_SCHEMA}typnamespace",
    ),
    _Kind(words="LANGUAGE", catalog="pg_language", acl="lanacl", names=f"ARRAY[o.lanname]{_TEXTS}"),
    _Kind(
        words="FOREIGN DATA WRAPPER",
        catalog="pg_foreign_data_wrapper",
        acl="fdwacl",
        names=f"ARRAY[o.fdwname]{_TEXTS}",
    ),
    _Kind(
        words="FOREIGN SERVER", catalog="pg_foreign_server", acl="srvacl", names=f"ARRAY[o.srvname]{_TEXTS}"
    ),
    _Kind(
        words="LARGE OBJECT", catalog="pg_largeobject_metadata", acl="lomacl", names=f"ARRAY[o.oid]{_TEXTS}"
    ),
    _Kind(words="TABLESPACE", catalog="pg_tablespace", acl="spcacl", names=f"ARRAY[o.spcname]{_TEXTS}"),
    _Kind(
        words="PARAMETER",
        catalog="pg_parameter_acl",
        acl="paracl",
        names="pg_catalog.string_to_array(o.parname, '.')",
        since=_PARAMETERS_SINCE,
    ),
)

_GRANTED: LiteralString = """
SELECT {number}::pg_catalog.int4, {key}, {part}, {names}, {types}, {column}, e.privilege_type, e.is_grantable, e.grantee
FROM pg_catalog.{catalog} o {join} CROSS JOIN LATERAL pg_catalog.aclexplode(o.{acl}) e
WHERE e.grantee OPERATOR(pg_catalog.=) ANY (%(roles)s::pg_catalog.oid[])
"""
_CHANGED: LiteralString = """
SELECT pg_catalog.age(o.xmin) OPERATOR(pg_catalog.=) 0 FROM pg_catalog.{catalog} o
WHERE {key} OPERATOR(pg_catalog.=) %s AND {part} OPERATOR(pg_catalog.=) %s
"""
"""Whether the row was written by this transaction."""

_ROLES: LiteralString = """
SELECT r.oid FROM pg_catalog.pg_roles r
WHERE r.rolname OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.name[])
"""


_Right = tuple[int, int, int, str]


_CONCERNED: LiteralString = """
SELECT DISTINCT c.relname::pg_catalog.text
FROM pg_catalog.pg_shdepend d JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) d.classid
WHERE d.refobjid OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.oid[]) AND d.deptype OPERATOR(pg_catalog.=) 'a'
  AND d.refclassid OPERATOR(pg_catalog.=) 'pg_catalog.pg_authid'::pg_catalog.regclass::pg_catalog.oid
"""
"""The catalogues with an object, of any database, that names one of the roles in its ACL: to leave out those that have none."""

_DEPENDS_AS: Mapping[str, str] = MappingProxyType(
    {"pg_attribute": "pg_class", "pg_largeobject_metadata": "pg_largeobject"}
)
"""Catalogues whose rows pg_shdepend knows as another's."""


class _Grant(NamedTuple):
    """One row of `_GRANTED`."""

    number: int
    """Which of `_KINDS` it is."""
    key: int
    part: int
    names: Sequence[str]
    types: Sequence[str] | None
    column: str | None
    privilege: str
    grantable: bool
    grantee: int

    @property
    def kind(self) -> _Kind:
        """What kind of object it is on."""
        return _KINDS[self.number]

    @property
    def right(self) -> _Right:
        """What it is a grant of, whoever has it."""
        return self.number, self.key, self.part, self.privilege

    def statement(self, group: str) -> sql.Composed:
        """Return the GRANT that gives the group the same."""
        if self.kind.words == "LARGE OBJECT":
            target: sql.Composable = sql.Literal(self.key)
        else:
            target = sql.Identifier(*self.names)
        if self.types is not None:
            pairs = zip(self.types[::2], self.types[1::2], strict=True)
            target += sql.SQL("({})").format(sql.SQL(", ").join(sql.Identifier(*pair) for pair in pairs))
        column: sql.Composable = sql.SQL("")
        if self.column is not None:
            column = sql.SQL(" ({})").format(sql.Identifier(self.column))
        return sql.SQL("GRANT {}{} ON {} {} TO {}{}").format(
            privilege(self.privilege),
            column,
            sql.SQL(self.kind.words),
            target,
            sql.Identifier(group),
            sql.SQL(" WITH GRANT OPTION" if self.grantable else ""),
        )


def privilege(word: str) -> sql.SQL:
    """Return a privilege's name as SQL; DatabaseFailed for one that this code does not know."""
    known = next((one for one in _PRIVILEGES if one == word), None)
    if known is None:
        raise DatabaseFailed("The server knows a privilege that cannot be handed over.")
    return sql.SQL(known)


def hand_over(connection: Connection, holders: Sequence[str], group: str, version: int) -> None:
    """Grant the group what the holders were granted on objects and it lacks; in `fixed`, both roles' rights at hand.

    DatabaseFailed when the session may not hand a right on.
    """
    held = [oid for (oid,) in connection.execute(_ROLES, (list(holders),)).fetchall()]
    (taker,) = (oid for (oid,) in connection.execute(_ROLES, ([group],)).fetchall())
    concerned = {catalog for (catalog,) in connection.execute(_CONCERNED, (held,)).fetchall()}
    kinds = {
        number: kind
        for number, kind in enumerate(_KINDS)
        if version >= kind.since and _DEPENDS_AS.get(kind.catalog, kind.catalog) in concerned
    }
    for grant in _missing(connection, [*held, taker], taker, kinds):
        with heard(connection):
            connection.execute(grant.statement(group))
        changed = connection.execute(_composed(_CHANGED, grant.kind), (grant.key, grant.part)).fetchone()
        if changed != (True,):
            raise DatabaseFailed("An object was renamed while grants on it were handed over.")


def _missing(
    connection: Connection, roles: Sequence[int], taker: int, kinds: Mapping[int, _Kind]
) -> list[_Grant]:
    if not kinds:
        return []
    asked = [_composed(_GRANTED, kind, number=sql.Literal(number)) for number, kind in kinds.items()]
    rows = connection.execute(sql.SQL(" UNION ALL ").join(asked), {"roles": list(roles)}).fetchall()
    present: dict[_Right, bool] = defaultdict(bool)
    wanted: dict[_Right, _Grant] = {}
    for grant in map(_Grant._make, rows):
        if grant.grantee == taker:
            present[grant.right] |= grant.grantable
        elif grant.right not in wanted or grant.grantable:
            wanted[grant.right] = grant
    return [
        grant
        for right, grant in wanted.items()
        if right not in present or (grant.grantable and not present[right])
    ]


def _composed(query: LiteralString, kind: _Kind, **more: sql.Composable) -> sql.Composed:
    parts: dict[str, Any] = {
        name: sql.SQL(getattr(kind, name))
        for name in ("acl", "names", "join", "types", "column", "key", "part")
    }
    return sql.SQL(query).format(catalog=sql.Identifier(kind.catalog), **parts, **more)


@contextmanager
def heard(connection: Connection) -> Iterator[None]:
    """DatabaseFailed when the server only warns that it granted nothing, as it does to whoever has a right without handing it on."""
    refused: list[str] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        if notice.sqlstate in _NOT_GRANTED:
            refused.append(str(notice.message_primary))

    connection.add_notice_handler(hear)
    try:
        yield
    finally:
        connection.remove_notice_handler(hear)
    if refused:
        raise DatabaseFailed(f"A grant to the users could not be handed over: {refused[0]}")
