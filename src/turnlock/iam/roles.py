"""Roles and their trust policies."""

from __future__ import annotations

from typing import Final

from turnlock.accounts import (
    PREFIXES,
    AbsentPrincipal,
    Identity,
    Kind,
    delete_identity,
    draw_unique_id,
    insert_identity,
    save_identity,
    saved_policy,
)
from turnlock.core.action import Action, Answer, Request, no_resource
from turnlock.core.call import Call
from turnlock.errors import DeleteConflictException, MalformedPolicyDocumentException
from turnlock.iam.instance_profiles import profiles_of
from turnlock.iam.lookup import check_policy, identity_subject, named_identity, new_identity_subject, tags_in
from turnlock.iam.policies.documents import check_trust_policy
from turnlock.iam.shown import identity_members
from turnlock.iam.users import list_identities
from turnlock.policies import Form
from turnlock.storage import Unit

_HOUR: Final = 3_600
"""Seconds of a session at most, where the role says nothing (IAM API reference, CreateRole)."""


def create_role(call: Call, request: Request, unit: Unit) -> Answer:
    """CreateRole. Raises EntityAlreadyExistsException, MalformedPolicyDocumentException for a trust policy that is none."""
    trust = _saved(unit, request["AssumeRolePolicyDocument"])
    boundary = request.get("PermissionsBoundary")
    if boundary is not None:
        check_policy(unit, call.account_id, boundary)
    role = Identity(
        account_id=call.account_id,
        kind=Kind.ROLE,
        id=draw_unique_id(unit.entropy, PREFIXES[Kind.ROLE]),
        name=request["RoleName"],
        path=request.get("Path", "/"),
        created_at=unit.now,
        boundary=boundary,
        tags=tags_in(request),
        trust_policy=trust,
        description=request.get("Description"),
        max_session_seconds=request.get("MaxSessionDuration", _HOUR),
    )
    insert_identity(unit, role)
    return {"Role": identity_members(unit, role)}


def get_role(call: Call, request: Request, unit: Unit) -> Answer:
    """GetRole."""
    return {"Role": identity_members(unit, named_identity(call, request, unit, Kind.ROLE))}


def list_roles(call: Call, request: Request, unit: Unit) -> Answer:
    """ListRoles: those whose path begins with PathPrefix, by name; without tags and boundary (API reference)."""
    return list_identities(call, request, unit, Kind.ROLE)


def update_role(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateRole: another description, another longest session; what is not given stays.

    The API reference says that the longest session falls to its default; AWS keeps it (Ansible's tests of `iam_role`).
    """
    role = named_identity(call, request, unit, Kind.ROLE)
    fields = {"MaxSessionDuration": "max_session_seconds", "Description": "description"}
    changed = {field: request[member] for member, field in fields.items() if member in request}
    save_identity(unit, role, role.evolve(**changed))
    return {}


def update_role_description(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateRoleDescription: UpdateRole's forerunner, which answers with the role."""
    role = named_identity(call, request, unit, Kind.ROLE)
    described = role.evolve(description=request["Description"])
    save_identity(unit, role, described)
    return {"Role": identity_members(unit, described)}


def update_assume_role_policy(call: Call, request: Request, unit: Unit) -> Answer:
    """UpdateAssumeRolePolicy: who may assume the role from now on. Raises MalformedPolicyDocumentException."""
    role = named_identity(call, request, unit, Kind.ROLE)
    trust = _saved(unit, request["PolicyDocument"])
    save_identity(unit, role, role.evolve(trust_policy=trust))
    return {}


def delete_role(call: Call, request: Request, unit: Unit) -> Answer:
    """DeleteRole; its sessions can do nothing any more. Raises DeleteConflictException while it has policies or is in an instance profile."""
    role = named_identity(call, request, unit, Kind.ROLE)
    if role.inline:
        raise DeleteConflictException("Cannot delete entity, must delete policies first.")
    if role.attached:
        raise DeleteConflictException("Cannot delete entity, must detach all policies first.")
    if profiles_of(unit, role):
        raise DeleteConflictException("Cannot delete entity, must remove roles from instance profile first.")
    delete_identity(unit, role)
    return {}


def _saved(unit: Unit, text: str) -> str:
    """Return a trust policy as it is saved. Raises MalformedPolicyDocumentException, LimitExceededException."""
    check_trust_policy(text)
    try:
        return saved_policy(unit, text, Form.TRUST)
    except AbsentPrincipal as absent:
        raise MalformedPolicyDocumentException(f"Invalid principal in policy: {absent}") from None


_NAMED: Final = identity_subject(Kind.ROLE)

ACTIONS: Final = (
    Action(name="CreateRole", handler=create_role, subject=new_identity_subject(Kind.ROLE), mutates=True),
    Action(name="DeleteRole", handler=delete_role, subject=_NAMED, mutates=True),
    Action(name="GetRole", handler=get_role, subject=_NAMED, mutates=False),
    Action(name="ListRoles", handler=list_roles, subject=no_resource, mutates=False),
    Action(name="UpdateAssumeRolePolicy", handler=update_assume_role_policy, subject=_NAMED, mutates=True),
    Action(name="UpdateRole", handler=update_role, subject=_NAMED, mutates=True),
    Action(name="UpdateRoleDescription", handler=update_role_description, subject=_NAMED, mutates=True),
)
