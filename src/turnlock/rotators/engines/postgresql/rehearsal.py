"""What PostgreSQL is asked before a password change; every statement is a SELECT, in a transaction that can only read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, LiteralString

from turnlock.rotators.engines.engine import DatabaseFailed, Twin
from turnlock.rotators.engines.postgresql import attributes
from turnlock.rotators.engines.postgresql import twins as postgresql_twins
from turnlock.rotators.engines.postgresql.login import Connection
from turnlock.rotators.engines.postgresql.memberships import exists, is_superuser
from turnlock.rotators.engines.postgresql.transaction import OWN_GRANTS_SINCE, Defaults, defaults, fixed
from turnlock.rotators.rehearsal import Change, Finding, Outcome

_SERVER: LiteralString = """
SELECT pg_catalog.pg_is_in_recovery(),
       coalesce(pg_catalog.current_setting('rds.restrict_password_commands', true), 'off') OPERATOR(pg_catalog.=) 'on',
       coalesce((SELECT s.setting FROM pg_catalog.pg_settings s
                 WHERE s.name OPERATOR(pg_catalog.=) 'shared_preload_libraries'), 'unseen')
"""
_USER: LiteralString = """
SELECT pg_catalog.isfinite(r.rolvaliduntil), r.rolvaliduntil::pg_catalog.text, r.rolconnlimit,
       (SELECT pg_catalog.count(*) FROM pg_catalog.pg_stat_activity a
        WHERE a.usename OPERATOR(pg_catalog.=) r.rolname)
FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""
_RIGHTS: LiteralString = """
SELECT r.rolsuper, r.rolcreaterole, r.rolreplication FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) session_user
"""
_ADMIN: LiteralString = """
SELECT pg_catalog.pg_has_role(session_user, %s::pg_catalog.name, 'MEMBER WITH ADMIN OPTION')
"""
_FORBIDDEN: LiteralString = """
SELECT s.name FROM pg_catalog.pg_settings s
WHERE pg_catalog.lower(s.name) OPERATOR(pg_catalog.=) ANY (%s::pg_catalog.text[])
  AND (s.context OPERATOR(pg_catalog.=) 'superuser' OR s.context OPERATOR(pg_catalog.=) 'superuser-backend')
"""
_ALLOWED: LiteralString = "SELECT pg_catalog.has_parameter_privilege(%s, 'SET')"

_JUDGES = ("passwordcheck", "credcheck", "pg_password_policy")
"""Extensions that judge passwords and that nobody can ask beforehand."""

_PARAMETERS_SINCE = 150000


def look(connection: Connection, change: Change, *, by_master: bool) -> Iterator[Finding]:
    """Yield what the server says; psycopg's errors when it does not."""
    found = defaults(connection)
    with fixed(connection, read_only=True):
        yield from _server(connection, found)
        yield from _encryption(found)
        yield from _user(connection, change.username)
        if by_master:
            yield from _master(connection, change, found.version)
        else:
            yield _itself(connection, found.version)


def _server(connection: Connection, found: Defaults) -> Iterator[Finding]:
    replica, restricted, libraries = _row(connection, _SERVER)
    if replica:
        yield Finding("server", Outcome.PROBLEM, "it is a read replica, which takes no password")
    elif found.server_reads_only:
        yield Finding("server", Outcome.PROBLEM, "the server's default_transaction_read_only is on")
    else:
        yield Finding("server", Outcome.OK, "it takes writes")
    if restricted:
        yield Finding("password policy", Outcome.WARNING, "only members of rds_password change passwords")
    judges = [library for library in _JUDGES if library in libraries]
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


def _encryption(found: Defaults) -> Iterator[Finding]:
    if found.encryption == "md5":
        yield Finding(
            "password encryption",
            Outcome.WARNING,
            "password_encryption is md5, and stays so: whoever reads the server's list of passwords can log in",
        )
    if found.encryption_of_database:
        yield Finding(
            "password encryption",
            Outcome.WARNING,
            "the database has another password_encryption than the server, and it is not heeded: scram-sha-256 is used",
        )


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


def _itself(connection: Connection, version: int) -> Finding:
    superuser, _, replicates = _row(connection, _RIGHTS)
    if replicates and not superuser and version < OWN_GRANTS_SINCE:
        words = (
            "it has REPLICATION: before PostgreSQL 16 only a superuser changes the password of such a role"
        )
        return Finding("privileges", Outcome.PROBLEM, words)
    return Finding("privileges", Outcome.OK, "a role may change its own password")


def _master(connection: Connection, change: Change, version: int) -> Iterator[Finding]:
    superuser, may_create, _ = _row(connection, _RIGHTS)
    there = exists(connection, change.username)
    if not (superuser or may_create):
        yield Finding("privileges", Outcome.PROBLEM, "the master user has no CREATEROLE")
    elif there and not superuser and not _administers(connection, change.username, version):
        yield Finding(
            "privileges", Outcome.PROBLEM, f"the master user has no ADMIN option on {change.username}"
        )
    else:
        yield Finding("privileges", Outcome.OK, "the master user may make and change the role")
    if change.twin is not None:
        yield _twin(connection, change.twin, version, there=there)
        yield from _not_carried(connection, change.twin, version, superuser=superuser)


def _administers(connection: Connection, role: str, version: int) -> bool:
    return version < OWN_GRANTS_SINCE or _row(connection, _ADMIN, role) == (True,)


def _twin(connection: Connection, twin: Twin, version: int, *, there: bool) -> Finding:
    try:
        postgresql_twins.require_ours(connection, twin, version)
    except DatabaseFailed as failure:
        return Finding("twin", Outcome.PROBLEM, str(failure))
    if there:
        return Finding("twin", Outcome.OK, f"{twin.username} is there and belongs to the pair")
    return Finding("twin", Outcome.OK, f"{twin.username} is not there yet and would be made")


def _not_carried(connection: Connection, twin: Twin, version: int, *, superuser: bool) -> Iterator[Finding]:
    """Say what the twin would not get, and which of its model's settings the master user may not make."""
    model, name = twin.model.user, twin.username
    if is_superuser(connection, model):
        yield Finding("twin", Outcome.WARNING, f"{model} is a superuser, and its twin would be none")
    named = {setting.name for setting in attributes.settings(connection, model)}
    for setting in sorted(named & attributes.LEFT_OUT):
        if not (twin.acts_as_group and setting == "role"):
            yield Finding(
                "settings", Outcome.WARNING, f"the setting {setting} of {model} is not carried over"
            )
    missing = sorted({setting.name for setting in attributes.missing(connection, model, name)})
    if superuser or not missing:
        return
    for (setting,) in connection.execute(_FORBIDDEN, ([one.lower() for one in missing],)).fetchall():
        if version < _PARAMETERS_SINCE or _row(connection, _ALLOWED, setting) != (True,):
            words = f"the master user may not give {name} the setting {setting}: let a superuser do that once"
            yield Finding("settings", Outcome.PROBLEM, words)


def _row(connection: Connection, query: LiteralString, *values: str) -> tuple[Any, ...]:
    row = connection.execute(query, values).fetchone()
    if row is None:
        raise DatabaseFailed("The role that logged in is not in the catalogue.")
    return row
