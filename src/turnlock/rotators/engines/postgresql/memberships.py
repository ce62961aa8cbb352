"""Who is a member of whom, with which options: memberships that are handed over, borrowed, and taken as a proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import LiteralString, NamedTuple

from psycopg import sql

from turnlock.rotators.engines.postgresql.login import Connection
from turnlock.rotators.engines.postgresql.transaction import OWN_GRANTS_SINCE

_MEMBERSHIPS: LiteralString = """
SELECT r.rolname::pg_catalog.text, m.admin_option, {inherit}, {set}
FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) m.roleid
JOIN pg_catalog.pg_roles u ON u.oid OPERATOR(pg_catalog.=) m.member
WHERE u.rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""
_CAN: LiteralString = "SELECT pg_catalog.pg_has_role(%s::pg_catalog.name, %s::pg_catalog.name, %s)"
_GRANTORS: LiteralString = """
SELECT g.rolsuper, g.rolcreaterole, t.rolsuper, pg_catalog.pg_has_role(g.oid, t.oid, 'MEMBER WITH ADMIN OPTION')
FROM pg_catalog.pg_auth_members m
JOIN pg_catalog.pg_roles g ON g.oid OPERATOR(pg_catalog.=) m.grantor
JOIN pg_catalog.pg_roles t ON t.oid OPERATOR(pg_catalog.=) m.member
JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) m.roleid
WHERE t.rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name
  AND r.rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""
_EXISTS: LiteralString = """
SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname OPERATOR(pg_catalog.=) %s::pg_catalog.name
"""


class _Options(NamedTuple):
    """What a membership lets its holder do; before PostgreSQL 16 the last two are the role's own affair, and true here."""

    admin: bool
    inherit: bool
    set: bool

    def __or__(self, other: object) -> _Options:
        assert isinstance(other, _Options)
        return _Options(*(mine or theirs for mine, theirs in zip(self, other, strict=True)))


def exists(connection: Connection, role: str) -> bool:
    """Tell whether there is such a role."""
    return connection.execute(_EXISTS, (role,)).fetchone() is not None


def is_superuser(connection: Connection, role: str) -> bool:
    """Tell whether there is such a role and it is a superuser."""
    return connection.execute(_EXISTS, (role,)).fetchone() == (True,)


def acts_as(connection: Connection, member: str, role: str, version: int) -> bool:
    """Tell whether the member was made one of the role, and may act as it by SET ROLE: not by way of a third role."""
    options = _memberships(connection, member, version).get(role)
    return options is not None and options.set


def vouched_for(connection: Connection, member: str, role: str, version: int) -> bool:
    """Tell whether the member was made one by somebody who may change the member's own password.

    A role's administrator may make anyone a member of it: that alone says nothing about the member.
    """
    for superuser, creates, of_superuser, administers in connection.execute(_GRANTORS, (member, role)):
        if superuser or (creates and not of_superuser and (administers or version < OWN_GRANTS_SINCE)):
            return True
    return False


def hand_over(connection: Connection, holders: Sequence[str], group: str, version: int) -> None:
    """Make the group a member of what the holders are members of, with their options."""
    present = _memberships(connection, group, version)
    for holder in holders:
        for role, options in _memberships(connection, holder, version).items():
            if role in {group, *holders}:
                continue
            wanted = options | present.get(role, options)
            if present.get(role) != wanted:
                connection.execute(_grant(role, group, wanted, version))
                present[role] = wanted


def join(connection: Connection, member: str, group: str, version: int) -> None:
    """Make the member one of the group, with its rights, unless it may act as the group already."""
    if not acts_as(connection, member, group, version):
        connection.execute(_grant(group, member, _Options(admin=False, inherit=True, set=True), version))


@contextmanager
def borrowed(connection: Connection, me: str, roles: Sequence[str]) -> Iterator[None]:
    """Have the roles' rights inside the block: who is no superuser hands over only what it could take."""
    lent = [sql.Identifier(role) for role in dict.fromkeys(roles) if not _uses(connection, me, role)]
    for role in lent:
        connection.execute(sql.SQL("GRANT {} TO {}").format(role, sql.Identifier(me)))
    yield
    for role in lent:
        connection.execute(sql.SQL("REVOKE {} FROM {}").format(role, sql.Identifier(me)))


def _uses(connection: Connection, member: str, role: str) -> bool:
    return connection.execute(_CAN, (member, role, "USAGE")).fetchone() == (True,)


def _memberships(connection: Connection, member: str, version: int) -> dict[str, _Options]:
    own = version >= OWN_GRANTS_SINCE
    query = sql.SQL(_MEMBERSHIPS).format(
        inherit=sql.SQL("m.inherit_option" if own else "true"), set=sql.SQL("m.set_option" if own else "true")
    )
    found: dict[str, _Options] = {}
    for role, *options in connection.execute(query, (member,)).fetchall():
        found[role] = _Options(*options) | found.get(role, _Options(*options))
    return found


def _grant(role: str, member: str, options: _Options, version: int) -> sql.Composed:
    if version >= OWN_GRANTS_SINCE:
        given = sql.SQL(" WITH ADMIN {}, INHERIT {}, SET {}").format(*map(sql.Literal, options))
    else:
        given = sql.SQL(" WITH ADMIN OPTION" if options.admin else "").format()
    return sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(member)) + given
