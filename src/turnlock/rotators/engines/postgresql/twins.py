"""Two PostgreSQL roles that may do the same: what the master user does so that neither ownership nor a grant is lost.

Rights belong to one role, the group: the first of the two (its twin is a member and inherits them), or an owner role of which
both are members and as which both act. Whatever one of them was granted or came to own by itself since the last rotation is
handed over to the group, in the secret's database. All of it is one transaction of `postgresql_transaction`.
"""

from __future__ import annotations

from psycopg import sql

from turnlock.rotators.engines.engine import DatabaseFailed, Twin
from turnlock.rotators.engines.postgresql import attributes, grants, memberships
from turnlock.rotators.engines.postgresql import defaults as default_privileges
from turnlock.rotators.engines.postgresql.login import LONGEST_NAME, Connection
from turnlock.rotators.engines.postgresql.memberships import exists
from turnlock.rotators.engines.postgresql.transaction import OWN_GRANTS_SINCE


def renew(connection: Connection, twin: Twin, verifier: str, version: int) -> None:
    """Inside a transaction: make the twin if there is none, hand rights over to the group, set the password last.

    Raises psycopg's errors; DatabaseFailed for a model that has gone, and for roles that are somebody else's.
    """
    model, name, group = twin.model.user, twin.username, twin.group
    me = connection.pgconn.user.decode()
    if not exists(connection, model):
        raise DatabaseFailed("The role that readers use is not there any more.")
    require_ours(connection, twin, version)
    _make(connection, twin, version)
    holders = [role for role in (model, name) if role != group]
    with memberships.borrowed(connection, me, [model, name, group]):
        # Grants first: an owner needs the right to create in the schema of what it comes to own.
        grants.hand_over(connection, holders, group, version)
        default_privileges.hand_over(connection, me, holders, group)
        default_privileges.carry(connection, me, model, group if twin.acts_as_group else name)
        memberships.hand_over(connection, holders, group, version)
        for holder in holders:
            connection.execute(
                sql.SQL("REASSIGN OWNED BY {} TO {}").format(sql.Identifier(holder), sql.Identifier(group))
            )
        attributes.carry(connection, model, name)
        for member in holders:
            memberships.join(connection, member, group, version)
            if twin.acts_as_group:
                connection.execute(
                    sql.SQL("ALTER ROLE {} SET role TO {}").format(sql.Identifier(member), sql.Literal(group))
                )
        connection.execute(
            sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier))
        )


def _make(connection: Connection, twin: Twin, version: int) -> None:
    """Make the roles that are not there."""
    if version >= OWN_GRANTS_SINCE:  # else the database's owner could have the master keep what it makes
        connection.execute("SELECT pg_catalog.set_config('createrole_self_grant', '', true)")
    for role, login in ((twin.group, not twin.acts_as_group), (twin.username, True)):
        if not exists(connection, role):
            create = sql.SQL("CREATE ROLE {} LOGIN" if login else "CREATE ROLE {} NOLOGIN")
            connection.execute(create.format(sql.Identifier(role)))


def require_ours(connection: Connection, twin: Twin, version: int) -> None:
    """DatabaseFailed where a role of the wanted name is somebody else's: its password, or its rights, would change hands.

    A role is ours when it does not exist yet, when AWSPREVIOUS logs in as it, or when its membership says so: whoever makes it
    beforehand grants that. That the model may act as it is enough; that it is a member of the model, or of the group, only where
    somebody granted that who could have changed its password as well. Roles of the system, and superusers beside ordinary users, are
    nobody's twins.
    """
    model, name, group = twin.model.user, twin.username, twin.group
    for role in (model, name, group):
        if len(role.encode()) > LONGEST_NAME:
            raise DatabaseFailed(f"A role's name would be longer than {LONGEST_NAME} bytes.")
        if role.startswith("pg_"):
            raise DatabaseFailed("A role of the system can be neither a twin nor an owner role.")
    if _is_above(connection, twin, version):
        raise DatabaseFailed("A superuser can be neither an ordinary user's twin nor one of an owner role.")
    if (
        twin.acts_as_group
        and exists(connection, group)
        and not memberships.acts_as(connection, model, group, version)
    ):
        raise DatabaseFailed("The owner role is somebody else's: grant it to the user first.")
    if exists(connection, name) and not _belongs(connection, twin, version):
        raise DatabaseFailed(
            "The twin is somebody else's: make one of the two users a member of the other first,"
            " as the master user or a superuser."
        )


def _is_above(connection: Connection, twin: Twin, version: int) -> bool:
    """Tell whether the twin is a superuser that its model may not become, or anyone of an owner role's is one."""
    model, name = twin.model.user, twin.username
    if twin.acts_as_group:
        return any(memberships.is_superuser(connection, role) for role in (model, name, twin.group))
    may_become = memberships.acts_as(connection, model, name, version)
    return memberships.is_superuser(connection, name) and not may_become


def _belongs(connection: Connection, twin: Twin, version: int) -> bool:
    model, name = twin.model.user, twin.username
    if memberships.acts_as(connection, model, name, version):
        return True
    vouched = any(memberships.vouched_for(connection, name, role, version) for role in (model, twin.group))
    return vouched or twin.is_proven()
