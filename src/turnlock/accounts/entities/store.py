"""Identities and managed policies in their tables, and the questions asked of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from sqlalchemy import Table, bindparam, delete, insert, or_, select

from turnlock.accounts.entities.model import Identity, Kind, ManagedPolicy, PolicyVersion, spoken
from turnlock.accounts.entities.tables import (
    group_memberships,
    identities,
    managed_policies,
    managed_policy_versions,
    policy_attachments,
)
from turnlock.core.arn import AccountId
from turnlock.errors import EntityAlreadyExistsException
from turnlock.root_keys import Records
from turnlock.storage import HotQuery, Unit

POLICY_USE: Final = "policy"
BOUNDARY_USE: Final = "boundary"

IDENTITIES: Final = Records(
    identities,
    Identity,
    lambda one: {
        "account_id": one.account_id,
        "kind": one.kind.value,
        "name_key": spoken(one.name),
        "id": one.id,
    },
)
POLICIES: Final = Records(
    managed_policies,
    ManagedPolicy,
    lambda one: {
        "account_id": one.account_id,
        "name_key": spoken(one.name),
        "id": one.id,
        "arn": one.arn,
        "default_version": one.default_version,
    },
)
VERSIONS_KEPT: Final = Records(
    managed_policy_versions,
    PolicyVersion,
    lambda one: {"account_id": one.account_id, "policy_id": one.policy_id, "number": one.number},
)

GROUPS_OF: Final = select(group_memberships.c.group_id).where(
    group_memberships.c.account_id == bindparam("account_id"), group_memberships.c.user_id == bindparam("id")
)
_HELD: Final = HotQuery(
    select(identities.c.id, identities.c.body, identities.c.mac).where(
        identities.c.account_id == bindparam("account_id"),
        or_(identities.c.id == bindparam("id"), identities.c.id.in_(GROUPS_OF)),
    )
)


def find_identity(unit: Unit, account_id: AccountId, kind: Kind, name: str) -> Identity | None:
    """Return the identity of this name, whatever the case of its letters, or None."""
    return IDENTITIES.find(unit, account_id=account_id, kind=kind.value, name_key=spoken(name))


def identities_named(unit: Unit, account_id: AccountId, kind: Kind, names: Collection[str]) -> list[Identity]:
    """Return the identities of a kind with these names, whatever the case of their letters, by one query."""
    spoken_names = sorted({spoken(name) for name in names if "\0" not in name})
    return IDENTITIES.all(
        unit,
        identities.c.account_id == account_id,
        identities.c.kind == kind.value,
        identities.c.name_key.in_(spoken_names),
    )


def identities_of(unit: Unit, account_id: AccountId, kind: Kind) -> list[Identity]:
    """Return an account's identities of a kind, by name."""
    return IDENTITIES.all(unit, identities.c.account_id == account_id, identities.c.kind == kind.value)


def keys_of(unit: Unit, account_id: AccountId, kind: Kind) -> list[str]:
    """Return the names of an account's identities of a kind as `spoken` writes them, without reading what is in them."""
    where = identities.c.account_id == account_id, identities.c.kind == kind.value
    return list(unit.connection.execute(select(identities.c.name_key).where(*where)).scalars())


def held_identities(unit: Unit, account_id: AccountId, identity_id: str) -> Mapping[str, Identity]:
    """Return the role with this id, or the user and its groups, by id; nothing for one that is gone. On the hot path.

    A unit that only reads asks the store once: its snapshot is the same throughout.
    """

    def read() -> Mapping[str, Identity]:
        rows = _HELD.rows(unit, {"account_id": account_id, "id": identity_id})
        return {
            row[0]: IDENTITIES.read(unit, row[1], row[2], account_id=account_id, id=row[0]) for row in rows
        }

    return unit.derived(("held identities", account_id, identity_id), read)


def identities_by_id(unit: Unit, account_id: AccountId, ids: Collection[str]) -> list[Identity]:
    """Return the identities with these ids, by kind and name."""
    return IDENTITIES.all(unit, identities.c.account_id == account_id, identities.c.id.in_(ids))


def insert_identity(unit: Unit, one: Identity) -> None:
    """Insert an identity with what it holds. Raises EntityAlreadyExistsException when its name is taken."""
    taken = EntityAlreadyExistsException(f"{one.kind.value} with name {one.name} already exists.")
    IDENTITIES.insert(unit, one, taken=taken)
    _index(unit, one)


def save_identity(unit: Unit, before: Identity, after: Identity) -> None:
    """Write an identity, read before, as it is now.

    Raises EntityAlreadyExistsException when its name changed to one that is taken.
    """
    if spoken(before.name) != spoken(after.name):
        IDENTITIES.delete(unit, before)
        insert_identity(unit, after)
        return
    IDENTITIES.replace(unit, before, after)
    if (before.attached, before.boundary, before.groups) != (after.attached, after.boundary, after.groups):
        _index(unit, after)


def delete_identity(unit: Unit, one: Identity) -> None:
    """Delete an identity."""
    IDENTITIES.delete(unit, one)
    _unindex(unit, one)


def members_of(unit: Unit, group: Identity) -> list[Identity]:
    """Return a group's users, by name."""
    found = select(group_memberships.c.user_id).where(
        group_memberships.c.account_id == group.account_id, group_memberships.c.group_id == group.id
    )
    ids = list(unit.connection.execute(found).scalars())
    return [user for user in identities_by_id(unit, group.account_id, ids) if group.id in user.groups]


def users_of_policy(unit: Unit, account_id: AccountId, arn: str, use: str) -> list[Identity]:
    """Return the identities that hold a managed policy for a use, by kind and name."""
    found = select(policy_attachments.c.owner_id).where(
        policy_attachments.c.account_id == account_id,
        policy_attachments.c.policy_arn == arn,
        policy_attachments.c.use == use,
    )
    ids = list(unit.connection.execute(found).scalars())
    return [one for one in identities_by_id(unit, account_id, ids) if (use, arn) in _uses(one)]


def find_policy(unit: Unit, account_id: AccountId, arn: str) -> ManagedPolicy | None:
    """Return an account's own managed policy, or None."""
    return POLICIES.find(unit, account_id=account_id, arn=arn)


def policies_of(unit: Unit, account_id: AccountId) -> list[ManagedPolicy]:
    """Return an account's own managed policies, by name."""
    return POLICIES.all(unit, managed_policies.c.account_id == account_id)


def versions_of(unit: Unit, policy: ManagedPolicy) -> list[PolicyVersion]:
    """Return a managed policy's versions, the oldest first."""
    return VERSIONS_KEPT.all(
        unit,
        managed_policy_versions.c.account_id == policy.account_id,
        managed_policy_versions.c.policy_id == policy.id,
    )


def _uses(one: Identity) -> set[tuple[str, str]]:
    """Return (use, ARN of the policy) of every managed policy that an identity holds."""
    boundary = set() if one.boundary is None else {(BOUNDARY_USE, one.boundary)}
    return {(POLICY_USE, arn) for arn in one.attached} | boundary


def _index(unit: Unit, one: Identity) -> None:
    _unindex(unit, one)
    owner = {"account_id": one.account_id}
    _insert(
        unit,
        policy_attachments,
        ({**owner, "policy_arn": arn, "use": use, "owner_id": one.id} for use, arn in _uses(one)),
    )
    _insert(
        unit, group_memberships, ({**owner, "group_id": group, "user_id": one.id} for group in one.groups)
    )


def _insert(unit: Unit, table: Table, rows: Iterable[dict[str, str]]) -> None:
    listed = list(rows)
    if listed:
        unit.connection.execute(insert(table), listed)


def _unindex(unit: Unit, one: Identity) -> None:
    attached, member = policy_attachments.c, group_memberships.c
    unit.connection.execute(
        delete(policy_attachments).where(attached.account_id == one.account_id, attached.owner_id == one.id)
    )
    unit.connection.execute(
        delete(group_memberships).where(member.account_id == one.account_id, member.user_id == one.id)
    )
