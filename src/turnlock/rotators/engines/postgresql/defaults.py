"""Default privileges: what the two roles get on objects that others will make, and what others get on theirs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import LiteralString, NamedTuple

from psycopg import sql

from turnlock.rotators.engines.engine import DatabaseFailed
from turnlock.rotators.engines.postgresql.grants import heard, privilege
from turnlock.rotators.engines.postgresql.login import Connection
from turnlock.rotators.engines.postgresql.memberships import borrowed

_DEFAULTS: LiteralString = """
SELECT m.rolname::pg_catalog.text, d.defaclnamespace, n.nspname::pg_catalog.text, d.defaclobjtype::pg_catalog.text,
       g.rolname::pg_catalog.text, e.privilege_type, e.is_grantable
FROM pg_catalog.pg_default_acl d
JOIN pg_catalog.pg_roles m ON m.oid OPERATOR(pg_catalog.=) d.defaclrole
LEFT JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) d.defaclnamespace
LEFT JOIN LATERAL pg_catalog.aclexplode(d.defaclacl) e ON true
LEFT JOIN pg_catalog.pg_roles g ON g.oid OPERATOR(pg_catalog.=) e.grantee
"""
"""A row without a privilege is of a list that is empty; a privilege without a grantee is PUBLIC's."""

_CHANGED: LiteralString = """
SELECT pg_catalog.age(d.xmin) OPERATOR(pg_catalog.=) 0
FROM pg_catalog.pg_default_acl d JOIN pg_catalog.pg_roles m ON m.oid OPERATOR(pg_catalog.=) d.defaclrole
WHERE m.rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name AND d.defaclnamespace OPERATOR(pg_catalog.=) %s
  AND d.defaclobjtype OPERATOR(pg_catalog.=) %s::pg_catalog."char"
"""

_OBJECTS: Mapping[str, LiteralString] = MappingProxyType(
    {"r": "TABLES", "S": "SEQUENCES", "f": "ROUTINES", "T": "TYPES", "n": "SCHEMAS", "L": "LARGE OBJECTS"}
)
_OPEN: Mapping[str, str] = MappingProxyType({"f": "EXECUTE", "T": "USAGE"})
"""What PUBLIC has on a new object unless a role's default privileges take it away."""


class Place(NamedTuple):
    """One list of default privileges: whose objects, in which schema (0: in any), of which kind."""

    maker: str
    schema: int
    schema_name: str | None
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Default:
    """One entry of such a list."""

    place: Place
    grantee: str | None
    """None: PUBLIC."""
    privilege: str
    grantable: bool


def hand_over(connection: Connection, me: str, holders: Collection[str], group: str) -> None:
    """Give the group what the holders are to get on objects of others and it is not; in `fixed`."""
    _places, entries = _read(connection)
    for entry in entries:
        if entry.grantee in holders and entry.place.maker not in {entry.grantee, group}:
            _grant(connection, me, replace(entry, grantee=group), entries)


def carry(connection: Connection, me: str, model: str, maker: str) -> None:
    """Give what `maker` will make the default privileges that `model` has for what it makes; in `fixed`."""
    places, entries = _read(connection)
    for entry in entries:
        if entry.place.maker == model and entry.grantee not in {model, maker}:
            _grant(connection, me, replace(entry, place=entry.place._replace(maker=maker)), entries)
    for place in places:
        public = {(one.place, one.privilege) for one in entries if one.grantee is None}
        there, opened = place._replace(maker=maker), _OPEN.get(place.kind)
        if place.maker != model or place.schema or opened is None or (place, opened) in public:
            continue
        if there not in places or (there, opened) in public:
            verb = sql.SQL("REVOKE {} ON {} FROM PUBLIC")
            _change(connection, me, there, verb.format(privilege(opened), sql.SQL(_OBJECTS[place.kind])))


def _read(connection: Connection) -> tuple[set[Place], list[_Default]]:
    places, entries = set[Place](), list[_Default]()
    for maker, schema, name, kind, grantee, word, grantable in connection.execute(_DEFAULTS).fetchall():
        place = Place(maker, schema, name, kind)
        places.add(place)
        if word is not None:
            entries.append(_Default(place=place, grantee=grantee, privilege=word, grantable=grantable))
    return places, entries


def _grant(connection: Connection, me: str, wanted: _Default, entries: list[_Default]) -> None:
    """Grant it and remember it in `entries`, unless it is there."""
    if wanted in entries or replace(wanted, grantable=True) in entries:
        return
    statement = sql.SQL("GRANT {} ON {} TO {}{}").format(
        privilege(wanted.privilege),
        sql.SQL(_OBJECTS[wanted.place.kind]),
        sql.SQL("PUBLIC") if wanted.grantee is None else sql.Identifier(wanted.grantee),
        sql.SQL(" WITH GRANT OPTION" if wanted.grantable else ""),
    )
    _change(connection, me, wanted.place, statement)
    entries.append(wanted)


def _change(connection: Connection, me: str, place: Place, statement: sql.Composed) -> None:
    schema = (
        sql.SQL("")
        if place.schema_name is None
        else sql.SQL("IN SCHEMA {} ").format(sql.Identifier(place.schema_name))
    )
    whole = sql.SQL("ALTER DEFAULT PRIVILEGES FOR ROLE {} {}").format(sql.Identifier(place.maker), schema)
    with borrowed(connection, me, [place.maker]), heard(connection):
        connection.execute(whole + statement)
    changed = connection.execute(_CHANGED, (place.maker, place.schema, place.kind)).fetchone()
    if changed != (True,):
        raise DatabaseFailed("A schema was renamed while default privileges in it were handed over.")
