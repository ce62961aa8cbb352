"""Groups and who is in them."""

from __future__ import annotations

from typing import Final

from turnlock.accounts import (
    ATTACHMENTS,
    PREFIXES,
    Identity,
    Kind,
    delete_identity,
    draw_unique_id,
    has_members,
    identities_by_id,
    insert_identity,
    save_identity,
    section_of_members,
    spoken,
)
from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.errors import DeleteConflictException, LimitExceededException
from turnlock.iam.lookup import PAGES, identity_subject, named_identity, new_identity_subject
from turnlock.iam.shown import identity_members
from turnlock.iam.users import list_identities, rename
from turnlock.storage import Unit


def create_group(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateGroup. Raises EntityAlreadyExistsException."""
    group = Identity(
        account_id=call.account_id,
        kind=Kind.GROUP,
        id=draw_unique_id(unit.entropy, PREFIXES[Kind.GROUP]),
        name=request["GroupName"],
        path=request.get("Path", "/"),
        created_at=unit.now,
    )
    insert_identity(unit, group)
    return {"Group": identity_members(unit, group)}


def get_group(call: Call, request: Request, unit: Unit) -> Answer:
    """GetGroup: the group and a page of its users."""
    group = named_identity(call, request, unit, Kind.GROUP)
    users = PAGES.page_of_sections(
        request,
        [section_of_members(unit, group)],
        member="Users",
        show=lambda _, one: identity_members(unit, one, whole=False),
        keep=lambda one: group.id in one.groups,
    )
    return {"Group": identity_members(unit, group), **users}


def update_group(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateGroup: another name, another path, or both."""
    rename(call, request, unit, named_identity(call, request, unit, Kind.GROUP))
    return {}


def delete_group(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteGroup. Raises DeleteConflictException while it has users or policies."""
    group = named_identity(call, request, unit, Kind.GROUP)
    if has_members(unit, group):
        raise DeleteConflictException("Cannot delete entity, must remove users from group first.")
    if group.inline:
        raise DeleteConflictException("Cannot delete entity, must delete policies first.")
    if group.attached:
        raise DeleteConflictException("Cannot delete entity, must detach all policies first.")
    delete_identity(unit, group)
    return {}


def list_groups(call: Call, request: Request, unit: Unit) -> Answer:
    """ListGroups: those whose path begins with PathPrefix, by name."""
    return list_identities(call, request, unit, Kind.GROUP)


def add_user_to_group(call: Call, request: Request, unit: Unit) -> Answer:
    """AddUserToGroup; a user who is in it already is no error. Raises LimitExceededException for an eleventh group."""
    group = named_identity(call, request, unit, Kind.GROUP)
    user = named_identity(call, request, unit, Kind.USER)
    if group.id in user.groups:
        return {}
    if len(user.groups) >= ATTACHMENTS:
        raise LimitExceededException(f"Cannot exceed quota for GroupsPerUser: {ATTACHMENTS}")
    save_identity(unit, user, user.evolve(groups=(*user.groups, group.id)))
    return {}


def remove_user_from_group(call: Call, request: Request, unit: Unit) -> Answer:
    """RemoveUserFromGroup; a user who is not in it is no error."""
    group = named_identity(call, request, unit, Kind.GROUP)
    user = named_identity(call, request, unit, Kind.USER)
    save_identity(unit, user, user.evolve(groups=tuple(one for one in user.groups if one != group.id)))
    return {}


def list_groups_for_user(call: Call, request: Request, unit: Unit) -> Answer:
    """ListGroupsForUser."""
    user = named_identity(call, request, unit, Kind.USER)
    groups = identities_by_id(unit, call.account_id, user.groups)
    return PAGES.page(
        request, groups, lambda one: spoken(one.name), "Groups", lambda one: identity_members(unit, one)
    )


_NAMED: Final = identity_subject(Kind.GROUP)

ACTIONS: Final = (
    Action(name="AddUserToGroup", handler=add_user_to_group, subject=_NAMED, mutates=True),
    Action(name="CreateGroup", handler=create_group, subject=new_identity_subject(Kind.GROUP), mutates=True),
    Action(name="DeleteGroup", handler=delete_group, subject=_NAMED, mutates=True),
    Action(name="GetGroup", handler=get_group, subject=_NAMED, mutates=False),
    Action(name="ListGroups", handler=list_groups, subject=no_resource, mutates=False),
    Action(
        name="ListGroupsForUser",
        handler=list_groups_for_user,
        subject=identity_subject(Kind.USER),
        mutates=False,
    ),
    Action(name="RemoveUserFromGroup", handler=remove_user_from_group, subject=_NAMED, mutates=True),
    Action(name="UpdateGroup", handler=update_group, subject=_NAMED, mutates=True),
)
