"""Users: CreateUser, GetUser, UpdateUser, DeleteUser, ListUsers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from turnlock.accounts import (
    PREFIXES,
    Identity,
    Kind,
    delete_identity,
    draw_unique_id,
    insert_identity,
    save_identity,
    section_of_identities,
)
from turnlock.accounts import store as access_keys
from turnlock.core.action import Action, Answer, Request, Subject, no_resource
from turnlock.core.call import Call, PrincipalKind
from turnlock.errors import DeleteConflictException
from turnlock.iam.login_profiles import find_profile
from turnlock.iam.lookup import (
    PAGES,
    check_policy,
    conditions,
    identity_subject,
    named_identity,
    new_identity_subject,
    tags_in,
)
from turnlock.iam.mfa.store import devices_of
from turnlock.iam.permissions import require_permission
from turnlock.iam.shown import identity_members
from turnlock.storage import Unit

Leftover = Callable[[Unit, Identity], bool]

_LEFTOVERS: Final[list[tuple[str, Leftover]]] = [
    (
        "delete access keys",
        lambda unit, user: bool(access_keys.access_keys_of(unit, user.account_id, user.id)),
    ),
    ("delete policies", lambda _unit, user: bool(user.inline)),
    ("detach all policies", lambda _unit, user: bool(user.attached)),
    ("delete login profile", lambda unit, user: find_profile(unit, user) is not None),
    ("deactivate MFA device", lambda unit, user: bool(devices_of(unit, user.account_id, user.id))),
    ("remove users from group", lambda _unit, user: bool(user.groups)),
]
"""What must be gone before a user can go, in AWS's words."""


def create_user(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateUser. Raises EntityAlreadyExistsException, NoSuchEntityException for a boundary that is not there."""
    boundary = request.get("PermissionsBoundary")
    if boundary is not None:
        check_policy(unit, call.account_id, boundary)
    user = Identity(
        account_id=call.account_id,
        kind=Kind.USER,
        id=draw_unique_id(unit.entropy, PREFIXES[Kind.USER]),
        name=request["UserName"],
        path=request.get("Path", "/"),
        created_at=unit.now,
        boundary=boundary,
        tags=tags_in(request),
    )
    insert_identity(unit, user)
    return {"User": identity_members(unit, user)}


def get_user(call: Call, request: Request, unit: Unit) -> Answer:
    """GetUser: the user named, or the caller; the account's root user too, by its own credentials."""
    if "UserName" not in request and call.principal.kind is PrincipalKind.ROOT:
        return {"User": _root(call, unit)}
    return {"User": identity_members(unit, named_identity(call, request, unit, Kind.USER))}


def update_user(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateUser: another name, another path, or both; the unique id, the keys and the policies stay."""
    user = named_identity(call, request, unit, Kind.USER)
    rename(call, request, unit, user)
    return {}


def rename(call: Call, request: Request, unit: Unit, one: Identity) -> None:
    """Give a user or a group the name and the path that UpdateUser or UpdateGroup asks for.

    The caller needs the right over what it will be, too (API reference, UpdateUser): conditions on `aws:PrincipalArn` and
    variables such as `${aws:username}` go by name. Raises AccessDeniedException, EntityAlreadyExistsException.
    """
    name, path = request.get(f"New{one.kind.value}Name", one.name), request.get("NewPath", one.path)
    renamed = one.evolve(name=name, path=path)
    if renamed.arn != one.arn:
        subject = Subject(
            arn=renamed.arn,
            named=f"{one.kind.noun} {name}",
            conditions=lambda: conditions(request, one.tags, boundary=one.boundary),
        )
        require_permission(unit, call, f"iam:{call.action}", subject)
    save_identity(unit, one, renamed)


def delete_user(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteUser. Raises DeleteConflictException while the user still holds anything."""
    user = named_identity(call, request, unit, Kind.USER)
    for what, holds in _LEFTOVERS:
        if holds(unit, user):
            raise DeleteConflictException(f"Cannot delete entity, must {what} first.")
    delete_identity(unit, user)
    return {}


def list_users(call: Call, request: Request, unit: Unit) -> Answer:
    """ListUsers: those whose path begins with PathPrefix, by name; without tags and boundary (API reference)."""
    return list_identities(call, request, unit, Kind.USER)


def list_identities(call: Call, request: Request, unit: Unit, kind: Kind) -> Answer:
    """Return a page of the account's identities of a kind."""
    prefix = request.get("PathPrefix", "/")
    return PAGES.page_of_sections(
        request,
        [section_of_identities(unit, call.account_id, kind)],
        member=f"{kind.value}s",
        show=lambda _, one: identity_members(unit, one, whole=False),
        keep=lambda one: one.path.startswith(prefix),
    )


def _root(call: Call, unit: Unit) -> dict[str, Any]:
    created = access_keys.account_created_at(unit, call.account_id)
    arn = call.principal.arn
    return {"Path": "/", "UserName": None, "UserId": call.account_id, "Arn": arn, "CreateDate": created}


_NAMED: Final = identity_subject(Kind.USER)

ACTIONS: Final = (
    Action(name="CreateUser", handler=create_user, subject=new_identity_subject(Kind.USER), mutates=True),
    Action(name="DeleteUser", handler=delete_user, subject=_NAMED, mutates=True),
    Action(name="GetUser", handler=get_user, subject=_NAMED, mutates=False),
    Action(name="ListUsers", handler=list_users, subject=no_resource, mutates=False),
    Action(name="UpdateUser", handler=update_user, subject=_NAMED, mutates=True),
)
