"""How a gain of rights in a PostgreSQL server is seen: what everybody may do before and after, and what others' code has logged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.engines.hostile_postgresql import AT_LOGIN, CANARY, Hostile, Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Rights:
    """Who may do what, as a superuser sees it."""

    attributes: dict[str, tuple[Any, ...]]
    passwords: dict[str, str | None]
    members: dict[tuple[str, str], tuple[bool, bool, bool]]
    """(member, role) to ADMIN, INHERIT, SET, of all grantors together."""
    grants: frozenset[tuple[str, str, str]]
    """(grantee, object, privilege, with a star where it may be handed on); not those of an owner on its own."""
    owners: dict[str, str]


_ATTRIBUTES = "SELECT rolname, rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin, rolpassword FROM pg_authid"
_ACLS = tuple(
    (catalog, acl, owner)
    for catalog, acl, owner in (
        ("pg_class", "relacl", "relowner"), ("pg_proc", "proacl", "proowner"), ("pg_namespace", "nspacl", "nspowner"),
        ("pg_type", "typacl", "typowner"), ("pg_database", "datacl", "datdba"), ("pg_language", "lanacl", "lanowner"),
        ("pg_tablespace", "spcacl", "spcowner"), ("pg_largeobject_metadata", "lomacl", "lomowner"),
        ("pg_foreign_server", "srvacl", "srvowner"), ("pg_foreign_data_wrapper", "fdwacl", "fdwowner"),
    )
)  # fmt: skip


def rights(root: Session) -> Rights:
    """Read them all, in a superuser's session with the hostile database."""
    rows = root.execute(_ATTRIBUTES).fetchall()
    options = "inherit_option, set_option" if root.info.server_version >= 160000 else "true, true"
    members: dict[tuple[str, str], tuple[bool, bool, bool]] = {}
    query = f"SELECT u.rolname, r.rolname, admin_option, {options} FROM pg_auth_members m JOIN pg_roles u ON u.oid = m.member JOIN pg_roles r ON r.oid = m.roleid"
    for member, role, *given in root.execute(query.encode()).fetchall():
        old = members.get((member, role), (False, False, False))
        members[member, role] = tuple(map(max, old, given))
    grants, owners = set[tuple[str, str, str]](), dict[str, str]()
    for catalog, acl, owner in _ACLS:
        query = (
            f"SELECT o.oid, pg_get_userbyid({owner}), coalesce(g.rolname, 'PUBLIC'), e.privilege_type, e.is_grantable,"
            f" e.grantee = {owner} FROM {catalog} o LEFT JOIN LATERAL aclexplode({acl}) e ON true"
            " LEFT JOIN pg_roles g ON g.oid = e.grantee WHERE o.oid >= 16384 OR e.privilege_type IS NOT NULL"
        )
        for oid, holder, grantee, privilege, grantable, own in root.execute(query.encode()).fetchall():
            owners[f"{catalog} {oid}"] = holder
            if privilege and not own:
                grants.add((grantee, f"{catalog} {oid}", privilege + "*" * grantable))
    columns = (
        "SELECT coalesce(g.rolname, 'PUBLIC'), attrelid, attnum, e.privilege_type, e.is_grantable FROM pg_attribute,"
        " aclexplode(attacl) e LEFT JOIN pg_roles g ON g.oid = e.grantee"
    )
    for grantee, table, column, privilege, grantable in root.execute(columns.encode()).fetchall():
        grants.add((grantee, f"pg_class {table} {column}", privilege + "*" * grantable))
    return Rights(
        attributes={name: tuple(flags) for name, *flags, _ in rows},
        passwords={name: password for name, *_, password in rows},
        members=members,
        grants=frozenset(grants),
        owners=owners,
    )


def gains(hostile: Hostile, before: Rights, after: Rights) -> list[str]:
    """Say what anybody may do now and could not before; the pair's roles together are one."""
    found = [*_roles(hostile, before, after), *_members(hostile, before, after)]
    pair = hostile.pair
    for grantee, thing, privilege in after.grants:
        kind, oid, *_ = thing.split(" ")
        owned = grantee in pair and before.owners.get(f"{kind} {oid}") in pair
        several = pair if grantee in pair else {grantee}
        if not owned and not any((one, thing, privilege) in before.grants for one in several):
            found.append(f"{grantee} has {privilege} on {thing}")
    for thing, owner in after.owners.items():
        if owner != before.owners.get(thing) and not {owner, before.owners.get(thing)} <= pair:
            found.append(f"{thing} belongs to {owner}, before to {before.owners.get(thing)}")
    return found


def _roles(hostile: Hostile, before: Rights, after: Rights) -> Iterator[str]:
    pair = hostile.pair
    for role, flags in after.attributes.items():
        several = pair if role in pair else {role}
        known = [before.attributes[one] for one in several if one in before.attributes]
        if any(has and not any(one[place] for one in known) for place, has in enumerate(flags)):
            yield f"{role} has {flags}, had {known}"
        if role in pair:
            continue
        if role not in before.attributes:
            yield f"{role} was made"
        if before.passwords.get(role) != after.passwords[role]:
            yield f"{role} has another password"


def _members(hostile: Hostile, before: Rights, after: Rights) -> Iterator[str]:
    pair = hostile.pair
    for (member, role), options in after.members.items():
        # Whoever makes a role administers it; who belongs to the pair is its own affair.
        if role in pair and member in {*pair, hostile.master}:
            continue
        several = pair if member in pair else {member}
        had = [before.members[one, role] for one in several if (one, role) in before.members]
        if any(has and not any(one[place] for one in had) for place, has in enumerate(options)):
            yield f"{member} is a member of {role} with {options}, before with {had}"


def canaries(hostile: Hostile, log: bytes) -> list[str]:
    """Return the lines of others' code that ran, but for that of a user's own login."""
    found = list[str]()
    for line in log.decode(errors="replace").splitlines():
        own_login = AT_LOGIN in line and line.endswith((f" {hostile.app}", f" {hostile.clone}"))
        if "LOG:" in line and (CANARY in line or AT_LOGIN in line) and not own_login:
            found.append(line)
    return found
