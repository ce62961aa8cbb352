"""Two PostgreSQL roles that may do the same: what the master user does so that neither ownership nor a grant is lost.

Rights belong to one role, the group: the first of the two (its twin is a member and inherits them), or an owner role of which
both are members and as which both act. Whatever one of them was granted or came to own by itself since the last rotation is
handed over to the group, in the secret's database. All of it is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from turnlock.rotators.engine import DatabaseFailed, Twin

Connection = psycopg.Connection[tuple[Any, ...]]

_NOT_GRANTED = frozenset({"01007", "01006"})
"""privilege_not_granted and privilege_not_revoked (PostgreSQL, Appendix A), which are warnings."""

_GRANTS: LiteralString = """
WITH held AS (SELECT oid FROM pg_roles WHERE rolname = ANY(%(holders)s)),
takes AS (SELECT oid FROM pg_roles WHERE rolname = %(group)s),
concerned AS (SELECT oid FROM held UNION SELECT oid FROM takes),
acls (words, target, acl) AS (
  SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text, relacl FROM pg_class
  UNION ALL SELECT 'SCHEMA', quote_ident(nspname), nspacl FROM pg_namespace
  UNION ALL SELECT 'DATABASE', quote_ident(datname), datacl FROM pg_database
  UNION ALL SELECT 'ROUTINE', oid::regprocedure::text, proacl FROM pg_proc
  UNION ALL SELECT CASE typtype WHEN 'd' THEN 'DOMAIN' ELSE 'TYPE' END, oid::regtype::text, typacl FROM pg_type
  UNION ALL SELECT 'LANGUAGE', quote_ident(lanname), lanacl FROM pg_language
  UNION ALL SELECT 'FOREIGN DATA WRAPPER', quote_ident(fdwname), fdwacl FROM pg_foreign_data_wrapper
  UNION ALL SELECT 'FOREIGN SERVER', quote_ident(srvname), srvacl FROM pg_foreign_server
  UNION ALL SELECT 'LARGE OBJECT', oid::text, lomacl FROM pg_largeobject_metadata
), granted AS (
  SELECT words, target, one.privilege_type AS privilege, '' AS of_columns, one.is_grantable, one.grantee
  FROM acls, aclexplode(acl) AS one WHERE acl IS NOT NULL AND one.grantee IN (SELECT oid FROM concerned)
  UNION ALL
  SELECT 'TABLE', attrelid::regclass::text, one.privilege_type, ' (' || quote_ident(attname) || ')', one.is_grantable, one.grantee
  FROM pg_attribute, aclexplode(attacl) AS one
  WHERE attacl IS NOT NULL AND NOT attisdropped AND one.grantee IN (SELECT oid FROM concerned)
)
SELECT 'GRANT ' || privilege || of_columns || ' ON ' || words || ' ' || target || ' TO ' || quote_ident(%(group)s)
       || CASE WHEN is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM granted AS theirs
WHERE grantee IN (SELECT oid FROM held) AND NOT EXISTS (
  SELECT 1 FROM granted AS ours
  WHERE ours.grantee IN (SELECT oid FROM takes)
    AND (ours.words, ours.target, ours.privilege, ours.of_columns)
        = (theirs.words, theirs.target, theirs.privilege, theirs.of_columns)
    AND (ours.is_grantable OR NOT theirs.is_grantable)
)
UNION ALL
SELECT 'ALTER DEFAULT PRIVILEGES FOR ROLE ' || quote_ident(pg_get_userbyid(defaclrole))
       || CASE WHEN defaclnamespace = 0 THEN '' ELSE ' IN SCHEMA ' || defaclnamespace::regnamespace::text END
       || ' GRANT ' || one.privilege_type || ' ON '
       || CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'ROUTINES'
                             WHEN 'T' THEN 'TYPES' ELSE 'SCHEMAS' END
       || ' TO ' || quote_ident(%(group)s) || CASE WHEN one.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
FROM pg_default_acl, aclexplode(defaclacl) AS one
WHERE one.grantee IN (SELECT oid FROM held) AND one.grantee <> defaclrole
UNION ALL
SELECT 'GRANT ' || quote_ident(pg_get_userbyid(roleid)) || ' TO ' || quote_ident(%(group)s)
       || CASE WHEN admin_option THEN ' WITH ADMIN OPTION' ELSE '' END
FROM pg_auth_members
WHERE member IN (SELECT oid FROM held) AND pg_get_userbyid(roleid) <> %(group)s AND roleid NOT IN (SELECT oid FROM held)
"""
"""Statements that give the group what its members were granted by name (PostgreSQL, "Privileges": aclexplode)."""

_ATTRIBUTES: LiteralString = """
SELECT 'ALTER ROLE ' || quote_ident(%(twin)s)
       || CASE WHEN m.rolcreatedb <> t.rolcreatedb THEN CASE WHEN m.rolcreatedb THEN ' CREATEDB' ELSE ' NOCREATEDB' END ELSE '' END
       || CASE WHEN m.rolcreaterole <> t.rolcreaterole
               THEN CASE WHEN m.rolcreaterole THEN ' CREATEROLE' ELSE ' NOCREATEROLE' END ELSE '' END
       || CASE WHEN m.rolbypassrls <> t.rolbypassrls
               THEN CASE WHEN m.rolbypassrls THEN ' BYPASSRLS' ELSE ' NOBYPASSRLS' END ELSE '' END
       || CASE WHEN m.rolreplication <> t.rolreplication
               THEN CASE WHEN m.rolreplication THEN ' REPLICATION' ELSE ' NOREPLICATION' END ELSE '' END
       || ' CONNECTION LIMIT ' || m.rolconnlimit
FROM pg_roles m, pg_roles t WHERE m.rolname = %(model)s AND t.rolname = %(twin)s
UNION ALL
SELECT 'ALTER ROLE ' || quote_ident(%(twin)s) || coalesce(' IN DATABASE ' || quote_ident(d.datname), '')
       || ' SET ' || quote_ident(split_part(line, '=', 1)) || ' TO '
       || CASE WHEN lower(split_part(line, '=', 1)) IN ('search_path', 'temp_tablespaces', 'session_preload_libraries',
                                                        'local_preload_libraries')
               THEN substr(line, strpos(line, '=') + 1)
               ELSE quote_literal(substr(line, strpos(line, '=') + 1)) END
FROM pg_db_role_setting s JOIN pg_roles m ON m.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase,
     unnest(s.setconfig) AS line
WHERE m.rolname = %(model)s AND split_part(line, '=', 1) <> 'role' AND NOT EXISTS (
  SELECT 1 FROM pg_db_role_setting kept JOIN pg_roles t ON t.oid = kept.setrole
  WHERE t.rolname = %(twin)s AND kept.setdatabase = s.setdatabase AND line = ANY(kept.setconfig)
)
"""
"""Statements that give the twin what is not inherited: its model's attributes and settings. Lists stand as they are kept, quoted."""


def renew(connection: Connection, twin: Twin, verifier: str) -> None:
    """Inside a transaction: make the twin if there is none, hand rights over to the group, set the password last.

    Raises psycopg's errors; DatabaseFailed for a model that has gone.
    """
    model, name = twin.model.user, twin.username
    roles = [model, name] if twin.acts_as_group else [twin.group]
    if not _exists(connection, model):
        raise DatabaseFailed("The role that readers use is not there any more.")
    require_ours(connection, twin)
    for role, login in ((twin.group, not twin.acts_as_group), (name, True)):
        if not _exists(connection, role):
            create = sql.SQL("CREATE ROLE {} LOGIN" if login else "CREATE ROLE {} NOLOGIN")
            connection.execute(create.format(sql.Identifier(role)))
    with _membership(connection, [model, name, twin.group]):
        _hand_over(connection, [role for role in (model, name) if role != twin.group], twin.group)
        for statement in _rows(connection, _ATTRIBUTES, model=model, twin=name):
            connection.execute(statement)
        members = roles if twin.acts_as_group else [role for role in (model, name) if role != twin.group]
        for member in members:
            _join(connection, member, twin)
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier))
        )


def require_ours(connection: Connection, twin: Twin) -> None:
    """DatabaseFailed where a role of the wanted name is somebody else's: its password, or its rights, would change hands.

    A role is ours when it does not exist yet, or when its membership says so: whoever makes it beforehand grants that.
    """
    model, name, group = twin.model.user, twin.username, twin.group
    if twin.acts_as_group and _exists(connection, group) and not _is_member(connection, model, group):
        raise DatabaseFailed("The owner role is somebody else's: grant it to the user first.")
    if _exists(connection, name):
        bonds = ((name, model), (model, name), (name, group))
        known = [(member, of) for member, of in bonds if member != of and _exists(connection, of)]
        if not any(_is_member(connection, member, of) for member, of in known):
            raise DatabaseFailed(
                "The twin is somebody else's: make one of the two users a member of the other first."
            )


def _is_member(connection: Connection, member: str, role: str) -> bool:
    query = "SELECT pg_has_role(%s, %s, 'MEMBER')"
    return connection.execute(query, (member, role)).fetchone() == (True,)


def _join(connection: Connection, member: str, twin: Twin) -> None:
    group = sql.Identifier(twin.group)
    connection.execute(sql.SQL("GRANT {} TO {}").format(group, sql.Identifier(member)))
    if twin.acts_as_group:
        connection.execute(sql.SQL("ALTER ROLE {} SET role TO {}").format(sql.Identifier(member), group))


def _hand_over(connection: Connection, holders: Sequence[str], group: str) -> None:
    """Give the group what the holders own in this database, and what they were granted by name."""
    # Grants first: an owner needs the right to create in the schema of what it comes to own.
    with _no_warnings(connection):
        for statement in _rows(connection, _GRANTS, holders=list(holders), group=group):
            connection.execute(statement)
    for holder in holders:
        connection.execute(
            sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(holder), sql.Identifier(group))
        )


@contextmanager
def _no_warnings(connection: Connection) -> Iterator[None]:
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


def _rows(connection: Connection, query: LiteralString, **values: Any) -> list[sql.SQL]:
    """Return the statements that a query of the catalogue has put together; it quotes every name."""
    return [sql.SQL(row[0]) for row in connection.execute(query, values).fetchall()]


def _exists(connection: Connection, role: str) -> bool:
    return connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is not None


@contextmanager
def _membership(connection: Connection, roles: Sequence[str]) -> Iterator[None]:
    """Be a member of the roles inside the block: who is no superuser hands over only what it could take."""
    lent = [
        sql.Identifier(role)
        for role in dict.fromkeys(roles)
        if connection.execute("SELECT pg_has_role(%s, 'USAGE')", (role,)).fetchone() == (False,)
    ]
    for role in lent:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))
    yield
    for role in lent:
        connection.execute(sql.SQL("REVOKE {} FROM CURRENT_USER").format(role))
