"""What PostgreSQL is asked before a password change; every statement is a SELECT."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg

from turnlock.rotators import postgresql_twins
from turnlock.rotators.engine import DatabaseFailed
from turnlock.rotators.rehearsal import Change, Finding, Outcome

Connection = psycopg.Connection[tuple[Any, ...]]

_SERVER: LiteralString = """
SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on',
       coalesce(current_setting('rds.restrict_password_commands', true), 'off') = 'on',
       coalesce((SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries'), 'unseen'), current_setting('server_version_num')::int
"""
_USER: LiteralString = """
SELECT rolvaliduntil IS NOT NULL AND rolvaliduntil <> 'infinity', rolvaliduntil::text, rolconnlimit,
       (SELECT count(*) FROM pg_stat_activity WHERE usename = rolname)
FROM pg_roles WHERE rolname = %s
"""
_RIGHTS: LiteralString = "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = session_user"
_ADMIN: LiteralString = "SELECT pg_has_role(session_user, %s, 'MEMBER WITH ADMIN OPTION')"
_EXISTS: LiteralString = "SELECT count(*) FROM pg_roles WHERE rolname = %s"

_JUDGES = ("passwordcheck", "credcheck", "pg_password_policy")
"""Extensions that judge passwords and that nobody can ask beforehand."""

_ADMIN_NEEDED = 160000
"""From PostgreSQL 16 on CREATEROLE changes only roles that it has the ADMIN option on."""


def look(connection: Connection, change: Change, *, by_master: bool) -> Iterator[Finding]:
    """Yield what the server says; psycopg's errors when it does not."""
    yield from _server(connection)
    yield from _user(connection, change.username)
    if by_master:
        yield from _master(connection, change)
    else:
        yield Finding("privileges", Outcome.OK, "a role may change its own password")


def _server(connection: Connection) -> Iterator[Finding]:
    replica, read_only, restricted, libraries, _version = _row(connection, _SERVER)
    if replica:
        yield Finding("server", Outcome.PROBLEM, "it is a read replica, which takes no password")
    elif read_only:
        yield Finding("server", Outcome.PROBLEM, "default_transaction_read_only is on")
    else:
        yield Finding("server", Outcome.OK, "it takes writes")
    if restricted:
        yield Finding("password policy", Outcome.WARNING, "only members of rds_password change passwords")
    judges = [name for name in _JUDGES if name in str(libraries)]
    if judges:
        yield Finding(
            "password policy", Outcome.WARNING, f"{judges[0]} judges passwords, and cannot be asked"
        )
    elif not restricted:
        seen = libraries != "unseen"
        words = (
            "nothing judges new passwords" if seen else "none seen (its libraries are a superuser's to see)"
        )
        yield Finding("password policy", Outcome.OK, words)


def _user(connection: Connection, username: str) -> Iterator[Finding]:
    row = connection.execute(_USER, (username,)).fetchone()
    if row is None:
        return
    expires, until, limit, sessions = row
    if expires:
        yield Finding("user", Outcome.WARNING, f"its password is VALID UNTIL {until}, the new one too")
    if limit >= 0 and sessions >= limit:
        yield Finding(
            "user", Outcome.WARNING, f"all of its {limit} connections are used: the test's login would fail"
        )


def _master(connection: Connection, change: Change) -> Iterator[Finding]:
    superuser, may_create = _row(connection, _RIGHTS)
    there = _row(connection, _EXISTS, change.username) == (1,)
    if not (superuser or may_create):
        yield Finding("privileges", Outcome.PROBLEM, "the master user has no CREATEROLE")
    elif there and not superuser and not _administers(connection, change.username):
        yield Finding(
            "privileges", Outcome.PROBLEM, f"the master user has no ADMIN option on {change.username}"
        )
    else:
        yield Finding("privileges", Outcome.OK, "the master user may make and change the role")
    if change.twin is not None:
        yield _twin(connection, change, there=there)


def _administers(connection: Connection, role: str) -> bool:
    if int(_row(connection, _SERVER)[4]) < _ADMIN_NEEDED:
        return True
    return _row(connection, _ADMIN, role) == (True,)


def _twin(connection: Connection, change: Change, *, there: bool) -> Finding:
    assert change.twin is not None
    try:
        postgresql_twins.require_ours(connection, change.twin)
    except DatabaseFailed as failure:
        return Finding("twin", Outcome.PROBLEM, str(failure))
    if there:
        return Finding("twin", Outcome.OK, f"{change.username} is there and belongs to the pair")
    return Finding("twin", Outcome.OK, f"{change.username} is not there yet and would be made")


def _row(connection: Connection, query: LiteralString, *values: str) -> tuple[Any, ...]:
    row = connection.execute(query, values).fetchone()
    if row is None:
        raise DatabaseFailed("The role that logged in is not in the catalogue.")
    return row
