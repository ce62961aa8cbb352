"""Identities and managed policies in their tables, and the questions asked of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from sqlalchemy import ColumnElement, Table, bindparam, delete, func, insert, or_, select

from turnlock.accounts.entities.model import Identity, Kind, ManagedPolicy, PolicyVersion, spoken
from turnlock.accounts.entities.tables import (
    group_memberships,
    identities,
    managed_policies,
    managed_policy_versions,
    policy_attachments,
)
from turnlock.core.arn import AccountId
from turnlock.core.pages import Section
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
    """Return an account's identities of a kind, by name: all of them, however many there are."""
    return IDENTITIES.all(unit, identities.c.account_id == account_id, identities.c.kind == kind.value)


def section_of_identities(
    unit: Unit, account_id: AccountId, kind: Kind, *where: ColumnElement[bool]
) -> Section[Identity]:
    """Return an account's identities of a kind that meet `where`, by name, for a page."""
    column = identities.c.name_key
    mine = identities.c.account_id == account_id, identities.c.kind == kind.value, *where
    return Section(
        name=kind.value,
        read=lambda after, most: IDENTITIES.behind(unit, column, after, most, *mine),
        key=lambda one: spoken(one.name),
    )


def count_identities(unit: Unit, account_id: AccountId, kind: Kind) -> int:
    """Return how many identities of a kind an account has."""
    return IDENTITIES.count(unit, identities.c.account_id == account_id, identities.c.kind == kind.value)


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


def section_of_members(unit: Unit, group: Identity) -> Section[Identity]:
    """Return the users that may be in a group, by name, for a page: a user's own `groups` say whether it is."""
    found = select(group_memberships.c.user_id).where(
        group_memberships.c.account_id == group.account_id, group_memberships.c.group_id == group.id
    )
    return section_of_identities(unit, group.account_id, Kind.USER, identities.c.id.in_(found))


def has_members(unit: Unit, group: Identity) -> bool:
    """Tell whether a group has users."""
    section, after = section_of_members(unit, group), None
    while some := section.read(after, 100):
        if any(group.id in user.groups for user in some):
            return True
        after = section.key(some[-1])
    return False


def holders(account_id: AccountId, arn: str) -> ColumnElement[bool]:
    """Return what identities meet that may hold a managed policy: `holds` says whether one does."""
    found = select(policy_attachments.c.owner_id).where(
        policy_attachments.c.account_id == account_id, policy_attachments.c.policy_arn == arn
    )
    return identities.c.id.in_(found)


def holds(one: Identity, arn: str, use: str) -> bool:
    """Tell whether an identity holds a managed policy for a use."""
    return (use, arn) in _uses(one)


def anyone_holds(unit: Unit, account_id: AccountId, arn: str) -> bool:
    """Tell whether anyone holds a managed policy, for whichever use."""
    for kind in Kind:
        section, after = section_of_identities(unit, account_id, kind, holders(account_id, arn)), None
        while some := section.read(after, 100):
            if any(holds(one, arn, use) for one in some for use in (POLICY_USE, BOUNDARY_USE)):
                return True
            after = section.key(some[-1])
    return False


def count_uses(unit: Unit, account_id: AccountId, arns: Collection[str]) -> Mapping[tuple[str, str], int]:
    """Return how many hold each of some managed policies, by (use, ARN); those that nobody holds are left out.

    By the index alone, whose rows are under no MAC: it is shown, and decides nothing.
    """
    columns = policy_attachments.c
    statement = (
        select(columns.use, columns.policy_arn, func.count())
        .where(columns.account_id == account_id, columns.policy_arn.in_(arns))
        .group_by(columns.use, columns.policy_arn)
    )
    return {(use, arn): count for use, arn, count in unit.connection.execute(statement)}


def find_policy(unit: Unit, account_id: AccountId, arn: str) -> ManagedPolicy | None:
    """Return an account's own managed policy, or None."""
    return POLICIES.find(unit, account_id=account_id, arn=arn)


def section_of_policies(unit: Unit, account_id: AccountId) -> Section[ManagedPolicy]:
    """Return an account's own managed policies, by name, for a page."""
    column, mine = managed_policies.c.name_key, managed_policies.c.account_id == account_id
    return Section(
        name="Policy",
        read=lambda after, most: POLICIES.behind(unit, column, after, most, mine),
        key=lambda one: spoken(one.name),
    )


def count_policies(unit: Unit, account_id: AccountId) -> int:
    """Return how many managed policies of its own an account has."""
    return POLICIES.count(unit, managed_policies.c.account_id == account_id)


def count_versions(unit: Unit, account_id: AccountId) -> int:
    """Return how many versions an account's own managed policies have in all."""
    return VERSIONS_KEPT.count(unit, managed_policy_versions.c.account_id == account_id)


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
